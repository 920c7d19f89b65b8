"""Signals as events that are waited for: nothing runs in a signal handler, and the sender is known."""

from __future__ import annotations

import signal
from dataclasses import dataclass

STOP = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
_WATCHED = STOP | {signal.SIGCHLD}


@dataclass(frozen=True)
class Arrival:
    """One signal: its number and the pid that sent it."""

    number: int
    sender: int


def hold() -> None:
    """Keep signals back until they are waited for. Call it before the first thread or child exists."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)


def release() -> None:
    """Let signals through again; a child does this before it becomes another program."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _WATCHED)


def wait(seconds: float) -> Arrival | None:
    """Return the next signal, or None when none came within `seconds`."""
    arrival = signal.sigtimedwait(_WATCHED, max(0.0, seconds))
    return None if arrival is None else Arrival(arrival.si_signo, arrival.si_pid)
