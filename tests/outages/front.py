"""A front before a real HTTP server: it passes every request on, until a test lets it do something else."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import Event, Thread

from tests.remote.stub_head import Behaviour, read_request

# A head that swaps answers late; a front that gives up first would be a fault that no test asked for.
PATIENCE_SECONDS = 60.0

Place = tuple[str, int]
Listen = Callable[[Place], socket.socket]


@dataclass
class Front:
    """Listens at `place` for the server at `server`, and remembers what it was asked.

    `fault` is what it does instead of passing a request on, for those requests that `concerns` names, and then it
    hangs up; with `delivers` the server gets the request nevertheless, and only its answer is lost.
    """

    place: Place
    server: Place
    listen: Listen = socket.create_server
    requests: list[bytes] = field(default_factory=list)
    fault: Behaviour | None = None
    concerns: bytes = b""
    delivers: bool = False
    over: Event = field(default_factory=Event)
    peers: list[socket.socket] = field(default_factory=list)
    listener: socket.socket | None = None
    threads: list[Thread] = field(default_factory=list)

    def open(self) -> None:
        """Begin to listen."""
        self.over, self.listener = Event(), self.listen(self.place)
        self.threads = [Thread(target=self._serve, args=(self.listener,), daemon=True)]
        self.threads[0].start()

    def close(self) -> None:
        """Refuse connections, and end those that are open."""
        self.over.set()
        if self.listener is not None:
            self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()
            self.listener = None
        for peer in self.peers:
            with suppress(OSError):  # it is closed already
                peer.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join()
        self.peers.clear()

    @contextmanager
    def gone(self) -> Iterator[None]:
        """Refuse connections meanwhile."""
        self.close()
        try:
            yield
        finally:
            self.open()

    @contextmanager
    def faulty(self, fault: Behaviour, *, concerns: bytes = b"", delivers: bool = False) -> Iterator[None]:
        """Misbehave meanwhile, towards requests whose first line holds `concerns`."""
        self.concerns, self.delivers, self.fault = concerns, delivers, fault
        try:
            yield
        finally:
            self.fault = None
            # Whoever is kept waiting need not wait any longer.
            self.over.set()
            self.over = Event()

    def asked(self, line: bytes) -> int:
        """Return how many requests began like this."""
        return sum(1 for request in self.requests if request.startswith(line))

    def _serve(self, listener: socket.socket) -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            self.peers.append(peer)
            self.threads.append(Thread(target=self._converse, args=(peer,), daemon=True))
            self.threads[-1].start()

    def _converse(self, peer: socket.socket) -> None:
        with peer, suppress(OSError):
            while request := read_request(peer):
                self.requests.append(request)
                fault, over = self.fault, self.over
                concerned = fault is not None and self.concerns in request.partition(b"\r\n")[0]
                if not concerned or self.delivers:
                    answer = self._passed_on(request)
                if fault is not None and concerned:
                    fault(peer, over)
                    return
                peer.sendall(answer)

    def _passed_on(self, request: bytes) -> bytes:
        first, _, rest = request.partition(b"\r\n")
        with socket.create_connection(self.server, timeout=PATIENCE_SECONDS) as link:
            link.sendall(first + b"\r\nConnection: close\r\n" + rest)
            answer = b""
            while piece := link.recv(1 << 16):
                answer += piece
            return answer
