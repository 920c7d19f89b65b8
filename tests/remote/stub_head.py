"""A server on loopback that answers whatever a test wants, byte by byte."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import Event, Thread

from reconciler.model.ray import HeadAddress

Behaviour = Callable[[socket.socket, Event], None]


@dataclass
class StubHead:
    """Answers each request with the next behaviour; the last one goes on. Remembers the requests."""

    behaviours: list[Behaviour]
    listener: socket.socket
    requests: list[bytes] = field(default_factory=list)
    peers: list[socket.socket] = field(default_factory=list)
    over: Event = field(default_factory=Event)

    @property
    def connections(self) -> int:
        return len(self.peers)

    @property
    def port(self) -> int:
        return int(self.listener.getsockname()[1])

    def head(self, gcs_port: int = 1) -> HeadAddress:
        return HeadAddress("main", "127.0.0.1", gcs_port, self.port, 1)

    def serve(self) -> None:
        threads = []
        while not self.over.is_set():
            try:
                peer, _ = self.listener.accept()
            except OSError:
                break
            self.peers.append(peer)
            threads.append(Thread(target=self._converse, args=(peer,)))
            threads[-1].start()
        for thread in threads:
            thread.join()

    def _converse(self, peer: socket.socket) -> None:
        with peer:
            try:
                while request := read_request(peer):
                    self.requests.append(request)
                    behaviour = self.behaviours[min(len(self.requests), len(self.behaviours)) - 1]
                    behaviour(peer, self.over)
            except OSError:
                pass


@contextmanager
def stub_head(*behaviours: Behaviour) -> Iterator[StubHead]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stub = StubHead(list(behaviours), listener)
        thread = Thread(target=stub.serve)
        thread.start()
        try:
            yield stub
        finally:
            stub.over.set()
            listener.shutdown(socket.SHUT_RDWR)
            for peer in stub.peers:
                with suppress(OSError):  # it is closed already
                    peer.shutdown(socket.SHUT_RDWR)
            thread.join()


def says(status: str, body: bytes = b"", *headers: str) -> Behaviour:
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""])
    return sends(head.encode("latin-1") + body)


def sends(answer: bytes, *, then_close: bool = False) -> Behaviour:
    def behave(peer: socket.socket, _over: Event) -> None:
        peer.sendall(answer)
        if then_close:
            peer.shutdown(socket.SHUT_RDWR)

    return behave


def drips(answer: bytes, seconds: float = 0.05) -> Behaviour:
    def behave(peer: socket.socket, over: Event) -> None:
        for byte in answer:
            peer.sendall(bytes([byte]))
            if over.wait(seconds):
                return

    return behave


def keeps_silent(peer: socket.socket, over: Event) -> None:
    over.wait(10)


def hangs_up(peer: socket.socket, _over: Event) -> None:
    peer.shutdown(socket.SHUT_RDWR)


def read_request(peer: socket.socket) -> bytes:
    """Return the next whole request, nothing once the peer has hung up."""
    peer.settimeout(10)
    request = b""
    while b"\r\n\r\n" not in request:
        piece = peer.recv(1 << 16)
        if not piece:
            return b""
        request += piece
    start, _, body = request.partition(b"\r\n\r\n")
    length = next(
        (int(line[15:]) for line in start.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
    )
    while len(body) < length:
        body += peer.recv(1 << 16)
    return start + b"\r\n\r\n" + body
