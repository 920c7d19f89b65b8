"""What a pass gets to see while machines hang."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta
from threading import Event
from typing import Any, cast

import pytest

from reconciler.clock import Clock, SystemClock
from reconciler.execute.runner import Runner
from reconciler.kind import Doors, Look
from reconciler.model.effect import BurnClaim, Effect, StopSlot
from reconciler.model.ids import ObjectId
from reconciler.model.machine import Machine
from reconciler.model.outcome import Done, Outcome
from reconciler.model.plan import Action, Because, Reason, Weight
from reconciler.model.sighting import Present, Sighting, Unreachable
from reconciler.model.world import Observed
from reconciler.observe.collect import Collector
from tests.fakes.clock import FakeClock

CLOCK = SystemClock()
DOORS = cast(Doors, None)  # these looks and effects go through no door
THREADS = 2
MANY = 20
LONG = 20.0


class Scene:
    """Threads for machines and for the rest, and machines that hang until they are let go."""

    def __init__(self, stack: ExitStack) -> None:
        self.let_go = Event()
        self.pool, self.machines = (stack.enter_context(ThreadPoolExecutor(THREADS)) for _ in range(2))

    def hang(self) -> None:
        assert self.let_go.wait(LONG)

    def hung_look(self, number: int) -> Look:
        def see(_: Doors) -> Sighting[Any]:
            self.hang()
            return Unreachable("no answer", CLOCK.now())

        return Look("slots", number, f"machine:{number}", see, by_gate=True)

    def slow_look(self) -> Look:
        def see(_: Doors) -> Sighting[Any]:
            self.hang()
            return Present("answers", CLOCK.now())

        return Look("heads", "main", "head:main", see)


def looked(collector: Collector, looks: list[Look], clock: Clock = CLOCK) -> Observed:
    return collector.observe(collector.begin(looks, (), clock.now()), Observed())


@pytest.fixture
def scene() -> Iterator[Scene]:
    with ExitStack() as stack:
        made = Scene(stack)
        yield made
        # The threads are joined next.
        made.let_go.set()


def test_machines_that_hang_keep_no_head_and_no_job_directory_waiting(scene: Scene) -> None:
    collector = Collector(DOORS, CLOCK, scene.pool, timedelta(seconds=0.2), machines=scene.machines)
    hung = [scene.hung_look(number) for number in range(MANY)]
    head = Look("heads", "main", "head:main", lambda _: Present("answers", CLOCK.now()))
    looked(collector, hung)
    seen = looked(collector, [*hung, head])
    assert isinstance(seen.heads["main"], Present)
    assert all(isinstance(sighting, Unreachable) for sighting in seen.slots.values())
    assert len(seen.slots) == MANY


@pytest.mark.parametrize(("asked", "eagerly", "rests"), [(True, False, 30), (False, False, 4), (True, True, 1)])
def test_what_is_soon_over_is_soon_asked_again(*, asked: bool, eagerly: bool, rests: int) -> None:
    clock = FakeClock()
    answers = [True] * 8 + [asked]

    def see(_: Doors) -> Sighting[Any]:
        return Unreachable("no answer", clock.now(), answers.pop(0))

    look = Look("heads", "main", "head:main", see, eagerly=eagerly)
    collector = Collector(DOORS, clock, None, timedelta())
    while answers:
        looked(collector, [look], clock)
        clock.advance(timedelta(seconds=30))
    clock.advance(-timedelta(seconds=30))
    assert collector.wake_at is not None
    assert collector.wake_at.since(clock.now()) == timedelta(seconds=rests)


def test_what_may_still_be_answered_proves_nothing(scene: Scene) -> None:
    collector = Collector(DOORS, CLOCK, scene.pool, timedelta(seconds=0.01))
    sighting = looked(collector, [scene.slow_look()]).heads["main"]
    assert isinstance(sighting, Unreachable)
    assert not sighting.asked


def test_what_is_watched_begins_anew_after_a_pause_and_only_then() -> None:
    clock = FakeClock()
    collector, born = Collector(DOORS, clock, None, timedelta()), clock.now()
    for seconds in (30, 60, 60):
        clock.advance(timedelta(seconds=seconds))
        looked(collector, [], clock)
        assert collector.watched == born
    clock.advance(timedelta(seconds=61))
    looked(collector, [], clock)
    assert collector.watched == clock.now()


def test_after_an_effect_its_target_is_asked_at_once() -> None:
    clock = FakeClock()
    asked: list[int] = []

    def see(_: Doors) -> Sighting[Any]:
        asked.append(1)
        return Unreachable("no answer", clock.now())

    look = Look("heads", "main", "head:main", see)
    collector = Collector(DOORS, clock, None, timedelta())
    for _ in range(8):
        looked(collector, [look], clock)
        clock.advance(timedelta(seconds=30))
    before = len(asked)
    looked(collector, [look], clock)
    looked(collector, [look], clock)
    assert len(asked) == before + 1, "it rests"
    collector.settled("head:main")
    looked(collector, [look], clock)
    assert len(asked) == before + 2


def test_a_target_that_nobody_asks_for_any_more_wakes_nobody() -> None:
    clock = FakeClock()
    gone = Look("slots", "n1", "machine:n1", lambda _: Unreachable("no answer", clock.now()), by_gate=True)
    collector = Collector(DOORS, clock, None, timedelta())
    looked(collector, [gone], clock)
    assert collector.wake_at == clock.now() + timedelta(seconds=1)
    clock.advance(timedelta(seconds=1))
    looked(collector, [], clock)
    assert collector.wake_at is None


def test_an_answer_in_time_asks_for_no_other_pass_and_a_late_one_does(scene: Scene) -> None:
    woken = Event()
    collector = Collector(DOORS, CLOCK, scene.pool, timedelta(seconds=LONG), woken.set)
    head = Look("heads", "main", "head:main", lambda _: Present("answers", CLOCK.now()))
    for _ in range(MANY):
        assert isinstance(looked(collector, [head]).heads["main"], Present)
    assert not woken.is_set()
    hasty = Collector(DOORS, CLOCK, scene.pool, timedelta(), woken.set)
    hung = [scene.hung_look(0)]
    (unseen,) = looked(hasty, hung).slots.values()
    assert isinstance(unseen, Unreachable)
    assert not woken.is_set()
    scene.let_go.set()
    assert woken.wait(LONG)


@pytest.mark.parametrize("asked_first", [True, False])
def test_an_answer_that_came_late_is_used_by_the_pass_after_it(scene: Scene, *, asked_first: bool) -> None:
    woken = Event()
    collector = Collector(DOORS, CLOCK, scene.pool, timedelta(), woken.set)
    late: list[Look] = [scene.slow_look()]

    def one_pass() -> Observed:
        first = looked(collector, late if asked_first else [])
        second = looked(collector, [] if asked_first else late)
        return first if asked_first else second

    (unseen,) = one_pass().heads.values()
    assert isinstance(unseen, Unreachable)
    scene.let_go.set()
    assert woken.wait(LONG)
    (seen,) = one_pass().heads.values()
    assert isinstance(seen, Present)


def test_a_late_answer_that_nobody_asks_for_any_more_is_forgotten(scene: Scene) -> None:
    woken = Event()
    collector = Collector(DOORS, CLOCK, scene.pool, timedelta(), woken.set)
    looked(collector, [scene.slow_look()])
    scene.let_go.set()
    assert woken.wait(LONG)
    for _ in range(3):
        looked(collector, [])
    assert not collector._running


def test_what_was_seen_before_an_effect_is_no_answer_after_it(scene: Scene) -> None:
    woken = Event()
    collector = Collector(DOORS, CLOCK, scene.pool, timedelta(), woken.set)
    began = CLOCK.now()

    def see(_: Doors) -> Sighting[Any]:
        scene.hang()
        return Present("as it was", began)

    look = Look("attempts", "a", "head:main", see, about="attempt:a")
    (unseen,) = looked(collector, [look]).attempts.values()
    assert isinstance(unseen, Unreachable)
    collector.settled("attempt:a")
    scene.let_go.set()
    assert woken.wait(LONG)
    assert looked(collector, [look]).attempts == {}


def test_what_an_effect_is_about_to_change_is_not_looked_at() -> None:
    clock = FakeClock()
    look = Look("attempts", "a", "head:main", lambda _: Present("answers", clock.now()), about="attempt:a")
    collector = Collector(DOORS, clock, None, timedelta())
    begun = collector.begin([look], {"attempt:a"}, clock.now())
    assert (collector.observe(begun, Observed()).attempts, collector.looked) == ({}, 0)
    assert isinstance(looked(collector, [look], clock).attempts["a"], Present)


def test_machines_that_hang_keep_no_other_effect_waiting(scene: Scene) -> None:
    done = Event()

    def hangs(_: Doors, __: object) -> Outcome:
        scene.hang()
        return Done()

    def burns(_: Doors, __: object) -> Outcome:
        done.set()
        return Done()

    effects: dict[type[Effect], Any] = {StopSlot: hangs, BurnClaim: burns}
    runner = Runner(DOORS, effects, scene.pool, machines=scene.machines)
    for number in range(MANY):
        machine = Machine(f"10.0.0.{number}", "ray")
        runner.start([_action(StopSlot("main", "worker", f"n{number}", machine, 1, timedelta()), f"node:{number}")])
    runner.start([_action(BurnClaim("rl.a-00000000-1"), "attempt:rl.a-00000000-1")])
    assert done.wait(LONG)
    assert len(runner.in_flight) >= MANY


def _action(effect: Effect, pace: str) -> Action:
    because = Because(Reason.NEW, "for the test")
    return Action(ObjectId("Job", "rl", "a"), effect, because, (), Weight.NONE, pace)
