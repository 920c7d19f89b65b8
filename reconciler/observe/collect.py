"""Look at everything in parallel; a target that hangs delays only itself."""

import threading
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Executor, Future, wait
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from reconciler.clock import Clock
from reconciler.kind import Doors, Look
from reconciler.model.moment import Moment
from reconciler.model.sighting import Sighting, Unreachable
from reconciler.model.world import Observed

# The pause before a silent target is looked at again: it doubles up to the cap, so that a dead host costs little
# and one that comes back is noticed within half a minute.
FIRST_PAUSE = timedelta(seconds=1)
LONGEST_PAUSE = timedelta(seconds=30)
# What keeps us from asking at all is on our side and soon over: a token is put back, a child has started.
MOST_UNASKED = 3
# No look takes longer than this: what ended before can make no answer outdated any more.
LONGEST_LOOK = timedelta(minutes=10)
# Passes further apart leave a gap in what was watched: the daemon was paused, or its machine, or a disk hung. It
# sleeps half as long at most.
LONGEST_GAP = timedelta(minutes=1)
MANY_TARGETS = 1000


@dataclass(frozen=True, slots=True)
class _Breaker:
    """A target that did not answer: how often, since when it rests, and what was seen instead."""

    failures: int
    last: Moment
    answer: Unreachable

    def rests_until(self) -> Moment:
        pause: timedelta = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self.failures - 1, 10))
        return self.last + pause


@dataclass(frozen=True, slots=True)
class Begun:
    """Looks of one pass: those it began itself, and of these the ones that are worth waiting for."""

    looks: list[Look]
    started: list[Future[Sighting[Any]]] = field(default_factory=list)
    awaited: list[Future[Sighting[Any]]] = field(default_factory=list)


class Collector:
    """Looks at the world through the doors.

    One pass waits for a look at most `patience`, and not at all for a target that failed before: its answer is used
    by the pass after it came. Without a pool every look is done at once, in order. Machines have threads of their
    own, so that many of them that hang keep no look at a head or a job directory waiting.
    """

    def __init__(
        self,
        doors: Doors,
        clock: Clock,
        pool: Executor | None,
        patience: timedelta,
        wake: Callable[[], None] = lambda: None,
        machines: Executor | None = None,
    ) -> None:
        self._doors = doors
        self._clock = clock
        self._pool = pool
        self._machines = machines or pool
        self._patience = patience
        self._wake = wake
        self._breakers: dict[str, _Breaker] = {}
        self._running: dict[tuple[str, Any], Future[Sighting[Any]]] = {}
        # Answers that came late and that the look before this one did not ask for.
        self._unwanted: set[tuple[str, Any]] = set()
        self._settled: dict[str, Moment] = {}
        self._pass = self._watched = clock.now()
        self._lock = threading.Lock()
        self.looked = 0

    def begin(self, looks: Iterable[Look], in_flight: Collection[str], now: Moment) -> Begun:
        """Begin the looks of a pass that began `now`, but those at what an effect in flight is about to change."""
        if now.since(self._pass) > LONGEST_GAP:
            self._watched = now
        self._pass = now
        begun = Begun([look for look in looks if look.about not in in_flight])
        for look in begun.looks:
            key = (look.table, look.key)
            if key not in self._running and not self._resting(look):
                future = self._running[key] = self._start(look)
                begun.started.append(future)
                if look.target not in self._breakers:
                    begun.awaited.append(future)
        return begun

    def observe(self, begun: Begun, before: Observed) -> Observed:
        """Return the sightings from before with the answers to these looks added."""
        tables: dict[str, dict[Any, Sighting[Any]]] = {
            name: dict(getattr(before, name)) for name in ("heads", "slots", "attempts", "claims")
        }
        answers = self._answers(begun)
        for look in begun.looks:
            answer = answers.get((look.table, look.key)) or self._no_answer(look)
            if not self._outdated(look, answer):
                tables[look.table][look.key] = answer
        return replace(before, **tables)

    def settled(self, target: str) -> None:
        """Hear that an effect on `target` has ended: what was seen of it before is no answer any more.

        Nor does it rest any longer for silences before it: it may be another head by now.
        """
        now = self._clock.now()
        with self._lock:
            self._breakers.pop(target, None)
        if len(self._settled) > MANY_TARGETS:
            self._settled = {each: when for each, when in self._settled.items() if now.since(when) < LONGEST_LOOK}
        self._settled[target] = now

    def _outdated(self, look: Look, answer: Sighting[Any]) -> bool:
        settled = self._settled.get(look.about)
        return settled is not None and answer.as_of.is_before(settled)

    @property
    def watched(self) -> Moment:
        """Since when passes have followed each other without a gap."""
        return self._watched

    @property
    def wake_at(self) -> Moment | None:
        """When the next resting target may be looked at again.

        One that had rested when the pass began was asked by it, or nobody wants it: then it must not wake us.
        """
        with self._lock:
            moments = [breaker.rests_until() for breaker in self._breakers.values()]
        future = [moment for moment in moments if self._pass.is_before(moment)]
        return min(future, key=lambda moment: moment.ticks, default=None)

    def _start(self, look: Look) -> Future[Sighting[Any]]:
        pool = self._machines if look.by_gate else self._pool
        if pool is not None:
            return pool.submit(self._see, look)
        done: Future[Sighting[Any]] = Future()
        done.set_result(self._see(look))
        return done

    def _answers(self, begun: Begun) -> dict[tuple[str, Any], Sighting[Any]]:
        wait(begun.awaited, timeout=self._patience.total_seconds())
        for future in begun.started:
            # Only an answer that this pass does not use asks for another pass.
            if not future.done():
                future.add_done_callback(lambda _: self._wake())
        ended = {key for key, future in self._running.items() if future.done()}
        wanted = {(look.table, look.key) for look in begun.looks}
        # A pass looks twice: only what neither of two looks in a row asks for is wanted by nobody any more.
        unwanted = ended - wanted
        for key in unwanted & self._unwanted:
            del self._running[key]
        self._unwanted = unwanted
        return {key: self._running.pop(key).result() for key in ended & wanted}

    def _see(self, look: Look) -> Sighting[Any]:
        self.looked += 1
        answer = look.see(self._doors)
        with self._lock:
            if isinstance(answer, Unreachable):
                failures = self._breakers[look.target].failures + 1 if look.target in self._breakers else 1
                most = 1 if look.eagerly else failures if answer.asked else MOST_UNASKED
                self._breakers[look.target] = _Breaker(min(failures, most), self._clock.now(), answer)
            else:
                self._breakers.pop(look.target, None)
        return answer

    def _resting(self, look: Look) -> bool:
        breaker = self._breakers.get(look.target)
        return breaker is not None and self._clock.now().is_before(breaker.rests_until())

    def _no_answer(self, look: Look) -> Unreachable:
        breaker = self._breakers.get(look.target)
        now = self._clock.now()
        if breaker is None:
            return Unreachable("no answer yet", now, asked=False)
        return replace(breaker.answer, as_of=now)
