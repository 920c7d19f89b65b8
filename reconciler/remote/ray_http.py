"""HTTP to a head's dashboard: one budget per call, no retries, no redirects, no proxies, bounded answers."""

import errno
import http.client
import socket
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any, TypeAlias

import urllib3
from urllib3.connection import HTTPConnection
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError

from reconciler.clock import Clock
from reconciler.model.ray import HeadAddress
from reconciler.remote.budget import Budget
from reconciler.remote.names import Names

# No answer that we ask for is larger: a job record carries at most 20,000 characters of log.
ANSWER_LIMIT = 4 << 20
# A machine on the same network answers a connect within milliseconds; one lost SYN is sent again after 1 s.
CONNECT_SECONDS = 3.0
# What keeps us from even trying: too many open files, no memory, no port left.
_OURS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EADDRNOTAVAIL})
# Heads of a site, with room; the one that was not asked for the longest time loses its kept connections.
POOLS = 256


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer, whatever it says."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class NotSent:
    """Nothing of the request left; `refused` when the other side actively refused the connection.

    `ours` when we could not even try: that says nothing about the other side.
    """

    reason: str
    refused: bool = False
    ours: bool = False


@dataclass(frozen=True, slots=True)
class Cut:
    """The request may have arrived and no whole answer came back."""

    reason: str


Reply: TypeAlias = Answer | NotSent | Cut


class HeadHttp:
    """Sends requests to heads over kept connections."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._names = Names()
        self._lock = Lock()
        self._pools: OrderedDict[tuple[str, int], urllib3.HTTPConnectionPool] = OrderedDict()

    def call(
        self,
        head: HeadAddress,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes | None,
        budget: Budget,
    ) -> Reply:
        """Send one request and return what became of it within the budget."""
        address = self._names.address(head.host, budget)
        if address is None:
            return NotSent(f"the name {head.host} could not be resolved in time", ours=True)
        left = budget.left()
        if left <= 0:
            return NotSent("no time was left to ask")
        pool = self._pool(address, head.dashboard_port)
        try:
            response = pool.urlopen(
                method,
                path,
                body=body,
                headers=dict(headers),
                retries=False,
                redirect=False,
                timeout=urllib3.Timeout(total=left, connect=min(left, CONNECT_SECONDS)),
                preload_content=False,
                decode_content=False,
            )
            return _whole(response)
        except (ConnectTimeoutError, NewConnectionError) as error:
            return _no_connection(error.__cause__)
        except (HTTPError, http.client.HTTPException, OSError, ValueError) as error:
            return Cut(f"no whole answer ({type(error).__name__})")

    def refuses(self, host: str, port: int, budget: Budget) -> bool:
        """Say whether a port actively refuses connections."""
        address = self._names.address(host, budget)
        if address is None or budget.left() <= 0:
            return False
        try:
            with socket.create_connection((address, port), timeout=min(budget.left(), CONNECT_SECONDS)):
                return False
        except ConnectionRefusedError:
            return True
        except OSError:
            return False

    def close(self) -> None:
        """Close all kept connections."""
        with self._lock:
            for pool in self._pools.values():
                pool.close()
            self._pools.clear()

    def _pool(self, address: str, port: int) -> urllib3.HTTPConnectionPool:
        with self._lock:
            pool = self._pools.pop((address, port), None)
            if pool is None:
                pool = urllib3.HTTPConnectionPool(address, port, maxsize=4, clock=self._clock)
                pool.ConnectionCls = _Connection
            self._pools[address, port] = pool
            if len(self._pools) > POOLS:
                self._pools.popitem(last=False)[1].close()
            return pool


def _no_connection(cause: BaseException | None) -> NotSent:
    if isinstance(cause, ConnectionRefusedError):
        return NotSent("connection refused", refused=True)
    if isinstance(cause, OSError) and cause.errno in _OURS:
        return NotSent(f"no connection could be made from here: {cause.strerror}", ours=True)
    return NotSent("no connection")


def _whole(response: urllib3.BaseHTTPResponse) -> Reply:
    body = bytearray()
    try:
        while piece := response.read1(1 << 16):
            body += piece
            if len(body) > ANSWER_LIMIT:
                return Cut(f"an answer of more than {ANSWER_LIMIT} bytes")
        response.release_conn()
        return Answer(response.status, bytes(body))
    finally:
        response.close()


class _PunctualSocket(socket.socket):
    """A socket whose time-out covers all that is received until the next `settimeout`, not each piece.

    http.client asks for pieces until a line or a body is whole: a peer that drips one byte per second would hold
    a call for hours with a time-out of two seconds (seen with a stub server).
    """

    clock: Clock
    ends: float | None = None

    def settimeout(self, value: float | None, /) -> None:
        self.ends = None if value is None else self.clock.now().ticks + value
        super().settimeout(value)

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        if self.ends is not None:
            left = self.ends - self.clock.now().ticks
            if left <= 0:
                raise TimeoutError("the time for the whole answer is over")
            super().settimeout(left)
        return super().recv_into(*args, **kwargs)


class _Connection(HTTPConnection):
    """A connection over a punctual socket."""

    def __init__(self, *args: Any, clock: Clock, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._clock = clock

    def _new_conn(self) -> socket.socket:
        plain = super()._new_conn()
        left = plain.gettimeout()
        punctual = _PunctualSocket(plain.family, plain.type, plain.proto, fileno=plain.detach())
        punctual.clock = self._clock
        punctual.settimeout(left)
        return punctual
