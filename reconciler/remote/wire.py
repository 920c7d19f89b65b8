"""TCP connections below ssh: bounded to open, quick, and cut when the peer is silent."""

import ipaddress
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from threading import Timer

from reconciler.model.machine import Machine
from reconciler.model.outcome import FailureKind
from reconciler.remote.budget import Budget
from reconciler.remote.names import Names

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,62}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,62}[A-Za-z0-9])?)*")
_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}")


class NotSent(Exception):
    """The request certainly did not leave; becomes the `NotDone` of the call."""

    def __init__(self, kind: FailureKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def is_plain(machine: Machine) -> bool:
    """Say whether a machine is a host name or address, a login name and a port, with nothing hidden in them."""
    return (
        bool(_HOST.fullmatch(machine.host) or _is_address(machine.host))
        and len(machine.host) <= 253
        and bool(_USER.fullmatch(machine.user))
        and 1 <= machine.port <= 65_535
    )


def open_socket(machine: Machine, names: Names, limit: Budget, silence: timedelta) -> socket.socket:
    """Connect within the limit; unacknowledged data or unanswered probes for `silence` end the connection."""
    address = names.address(machine.host, limit)
    if address is None:
        raise NotSent(FailureKind.TRANSIENT, "the name server knows no address, or does not answer")
    try:
        # A time-out of zero would mean "do not wait", which fails in a way of its own.
        sock = socket.create_connection((address, machine.port), timeout=max(limit.left(), 0.001))
    except OSError as error:
        raise NotSent(FailureKind.TRANSIENT, f"no connection: {error.strerror or 'timed out'}") from error
    seconds = max(1, int(silence.total_seconds()))
    # Without NODELAY each command waits 40 ms for a delayed acknowledgement (measured).
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, seconds * 1000)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, seconds)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, max(1, seconds // 3))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    return sock


@contextmanager
def limited(sock: socket.socket, seconds: float) -> Iterator[None]:
    """Cut the connection when the block takes longer: some waits of the ssh library have no limit of their own."""
    timer = Timer(seconds, cut, (sock,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def cut(sock: socket.socket) -> None:
    """Shut a socket down: whoever reads or writes it wakes with an error."""
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def _is_address(host: str) -> bool:
    try:
        # A zone (`fe80::1%eth0`) may hold any text at all.
        return "%" not in host and bool(ipaddress.ip_address(host))
    except ValueError:
        return False
