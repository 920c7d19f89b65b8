"""Open connections, one kept per machine, shared by concurrent calls and closed when idle."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from threading import Lock
from typing import Generic, Protocol, TypeVar

from reconciler.clock import Clock
from reconciler.model.machine import Machine
from reconciler.model.outcome import FailureKind
from reconciler.remote.wire import NotSent

# sshd's MaxSessions is 10 (sshd_config(5)); one more would be refused.
SESSIONS = 8


class Line(Protocol):
    """A connection, as far as keeping it needs to know."""

    @property
    def alive(self) -> bool:
        """Whether nobody has noticed an end yet."""

    def hang_up(self) -> None:
        """End it at once; whoever waits on it is woken with an error."""


LineT = TypeVar("LineT", bound=Line)


@dataclass(eq=False, slots=True)
class Lent(Generic[LineT]):
    """A line while calls use it; `fresh` until it has served a call."""

    line: LineT
    users: int = 0
    fresh: bool = True
    last_used: float = 0.0


class Lines(Generic[LineT]):
    """Keeps at most one line per machine; a second one that was needed meanwhile ends with its call."""

    def __init__(self, clock: Clock, idle: timedelta) -> None:
        self._clock = clock
        self._idle = idle.total_seconds()
        self._lock = Lock()
        self._kept: dict[Machine, Lent[LineT]] = {}
        self._turns: dict[Machine, Lock] = {}
        self._next_sweep = 0.0
        self.closed = False

    def kept(self, machine: Machine, accept: Callable[[LineT], bool]) -> Lent[LineT] | None:
        """Borrow the kept line of a machine, unless there is none that lives, has room and is acceptable."""
        self._sweep()
        with self._lock:
            lent = self._kept.get(machine)
            if lent is None or not lent.line.alive or lent.users >= SESSIONS:
                return None
            if accept(lent.line):
                lent.users += 1
                return lent
            del self._kept[machine]
            unused = lent.users == 0
        if unused:
            lent.line.hang_up()
        return None

    @contextmanager
    def dialling(self, machine: Machine, patience: float) -> Iterator[None]:
        """Let one caller at a time open a line to a machine, since sshd drops some of ten that are not yet proven.

        Raises NotSent after `patience` seconds (sshd_config(5), MaxStartups 10:30:100).
        """
        with self._lock:
            turn = self._turns.setdefault(machine, Lock())
        if not turn.acquire(timeout=max(0.0, patience)):
            raise NotSent(FailureKind.TRANSIENT, "other calls were still connecting to it")
        try:
            yield
        finally:
            turn.release()

    def add(self, machine: Machine, line: LineT) -> Lent[LineT]:
        """Borrow a line that was just opened, and keep it if the machine has no living one."""
        lent = Lent(line, users=1)
        old = None
        with self._lock:
            kept = self._kept.get(machine)
            if not self.closed and (kept is None or not kept.line.alive):
                self._kept[machine], old = lent, kept
        if old is not None:
            old.line.hang_up()
        return lent

    def give_back(self, machine: Machine, lent: Lent[LineT], *, usable: bool) -> None:
        """End a borrowing; a line that is not usable any more, or not kept, ends with its last user."""
        with self._lock:
            lent.users -= 1
            lent.fresh = False
            lent.last_used = self._clock.now().ticks
            is_kept = self._kept.get(machine) is lent
            if is_kept and not usable:
                del self._kept[machine]
            unused = lent.users == 0 and not (is_kept and usable)
        if unused:
            lent.line.hang_up()

    def close(self) -> None:
        """Hang up on everybody."""
        with self._lock:
            self.closed = True
            ended = list(self._kept.values())
            self._kept.clear()
        for lent in ended:
            lent.line.hang_up()

    def _sweep(self) -> None:
        now = self._clock.now().ticks
        with self._lock:
            if now < self._next_sweep:
                return
            # A tenth is precise enough, and a call must not look at a thousand lines each time.
            self._next_sweep = now + self._idle / 10
            idle = [m for m, lent in self._kept.items() if lent.users == 0 and now - lent.last_used > self._idle]
            ended = [self._kept.pop(machine) for machine in idle]
        for lent in ended:
            lent.line.hang_up()
