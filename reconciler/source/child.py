"""Waiting for a child process within bounds, and ending it with all that it started."""

import os
import selectors
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from subprocess import Popen

from reconciler.clock import Clock
from reconciler.model.moment import Moment

# How often the growth of the disk is looked at while a fetch runs: a fast disk writes about 100 MB meanwhile.
LOOK = timedelta(milliseconds=100)

# A killed process is gone at once, unless it hangs in the kernel (dead network share): then it is left behind.
GONE = timedelta(seconds=2)

# The end of an error text says what went wrong.
ERROR_TAIL = 4096

_CHUNK = 1 << 16


class Cut(StrEnum):
    """Why a child was ended before it was done."""

    TIME = "time"
    OUTPUT = "output"
    DISK = "disk"
    CALLED_OFF = "called off"


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one child may use. `disk_full` and `called_off` are asked while the child runs."""

    time: timedelta
    output_bytes: int = 1 << 20
    disk_full: Callable[[], bool] | None = None
    called_off: Callable[[], bool] | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """A child that is no more. `code` has a meaning only if it was not `cut`."""

    code: int
    out: bytes
    error: str
    cut: Cut | None = None

    @property
    def well(self) -> bool:
        """Say whether the child did what it was asked."""
        return self.cut is None and self.code == 0


def finish(child: Popen[bytes], bounds: Bounds, clock: Clock) -> Ended:
    """Collect the child's output until it ends or exceeds its bounds; leave none of its process group alive.

    The child must be the leader of its own session.
    """
    out, error = bytearray(), bytearray()
    try:
        cut = _collect(child, bounds, clock, out, error)
    finally:
        end(child)
    text = bytes(error[-ERROR_TAIL:]).decode("utf-8", "replace")
    return Ended(child.returncode if child.returncode is not None else -signal.SIGKILL, bytes(out), text, cut)


def end(child: Popen[bytes]) -> None:
    """Kill what is left of the child's process group, reap the child and close its pipes."""
    if child.returncode is None:
        # Not reaped yet, so the number of the group still belongs to the child, dead or alive.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        with suppress(TimeoutError), _Exit(child) as exited:
            exited.wait(GONE)
            child.wait()
    for pipe in (child.stdin, child.stdout, child.stderr):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()


def _collect(child: Popen[bytes], bounds: Bounds, clock: Clock, out: bytearray, error: bytearray) -> Cut | None:
    assert child.stdout is not None
    assert child.stderr is not None
    deadline = clock.now() + bounds.time
    with _Exit(child) as exited, selectors.DefaultSelector() as events:
        for pipe, into in ((child.stdout, out), (child.stderr, error)):
            os.set_blocking(pipe.fileno(), False)
            events.register(pipe, selectors.EVENT_READ, into)
        events.register(exited, selectors.EVENT_READ, None)
        while True:
            ready = [key for key, _ in events.select(_next_look(deadline, bounds, clock))]
            for key in ready:
                if key.data is not None and not _drain(key.fd, key.data, bounds.output_bytes):
                    events.unregister(key.fileobj)
            del error[: -ERROR_TAIL * 2]
            if len(out) > bounds.output_bytes:
                return Cut.OUTPUT
            if any(key.data is None for key in ready):
                # It has ended; others may hold its pipes open (a shared SSH connection does), so no end of file is
                # waited for: what it wrote is there already.
                _drain(child.stdout.fileno(), out, bounds.output_bytes)
                _drain(child.stderr.fileno(), error, ERROR_TAIL * 2)
                return Cut.OUTPUT if len(out) > bounds.output_bytes else None
            if bounds.disk_full is not None and bounds.disk_full():
                return Cut.DISK
            if bounds.called_off is not None and bounds.called_off():
                return Cut.CALLED_OFF
            if not clock.now().is_before(deadline):
                return Cut.TIME


def _next_look(deadline: Moment, bounds: Bounds, clock: Clock) -> float:
    left = deadline.since(clock.now()).total_seconds()
    watched = bounds.disk_full is not None or bounds.called_off is not None
    return min(left, LOOK.total_seconds()) if watched else left


def _drain(descriptor: int, into: bytearray, limit: int) -> bool:
    """Read what is there, at most a little over `limit` in all; say whether more may come."""
    while len(into) <= limit:
        try:
            chunk = os.read(descriptor, _CHUNK)
        except BlockingIOError:
            return True
        if not chunk:
            return False
        into += chunk
    return True


class _Exit:
    """A descriptor that becomes readable when the child has ended, without reaping it."""

    def __init__(self, child: Popen[bytes]) -> None:
        self._descriptor = os.pidfd_open(child.pid)

    def __enter__(self) -> "_Exit":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def fileno(self) -> int:
        return self._descriptor

    def wait(self, limit: timedelta) -> None:
        with selectors.DefaultSelector() as events:
            events.register(self, selectors.EVENT_READ)
            if not events.select(limit.total_seconds()):
                raise TimeoutError
