"""The fake gate's mishaps end as the real door's do, and the world sees exactly what arrived."""

from datetime import timedelta

import pytest

from reconciler.model.json import JsonObject
from reconciler.model.machine import Machine
from reconciler.model.outcome import Done, FailureKind, NotDone, Unknown
from tests.fakes.gate import FakeGate, Mishap

ONE, TWO = Machine("one", "ray"), Machine("two", "ray")
TIMEOUT = timedelta(seconds=20)
REQUEST = {"protocol": 1, "verb": "probe", "args": {}}


class World:
    """Counts what reaches each machine."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.passed = timedelta()

    def answer(self, machine: Machine, request: JsonObject) -> JsonObject:
        self.seen.append(machine.host)
        return {"protocol": 1, "ok": True, "result": {"count": len(self.seen)}}

    def pass_time(self, span: timedelta) -> None:
        self.passed += span


@pytest.mark.parametrize(
    ("mishap", "outcome", "arrivals", "takes"),
    [
        (Mishap.UNREACHABLE, FailureKind.TRANSIENT, 0, timedelta()),
        (Mishap.SILENT, FailureKind.TRANSIENT, 0, TIMEOUT),
        (Mishap.AUTH_DENIED, FailureKind.REFUSED, 0, timedelta()),
        (Mishap.HOST_KEY_CHANGED, FailureKind.REFUSED, 0, timedelta()),
        (Mishap.LOST_REQUEST, None, 0, TIMEOUT),
        (Mishap.LOST_REPLY, None, 1, TIMEOUT),
        (Mishap.CUT_REPLY, None, 1, timedelta()),
        (Mishap.LOST_STATUS, None, 1, timedelta()),
    ],
)
def test_a_mishap_has_its_outcome_and_its_truth(
    mishap: Mishap, outcome: FailureKind | None, arrivals: int, takes: timedelta
) -> None:
    world = World()
    gate = FakeGate(world.answer, world.pass_time)
    gate.script(ONE, mishap, times=1)
    got = gate.call(ONE, REQUEST, TIMEOUT)
    assert isinstance(got, Unknown) if outcome is None else isinstance(got, NotDone) and got.kind is outcome
    assert (len(world.seen), world.passed) == (arrivals, takes)
    assert isinstance(gate.call(ONE, REQUEST, TIMEOUT), Done)


def test_a_duplicate_arrives_twice() -> None:
    world = World()
    gate = FakeGate(world.answer)
    gate.script(ONE, Mishap.DUPLICATE)
    assert gate.call(ONE, REQUEST, TIMEOUT) == Done({"count": 2})


def test_mishaps_are_used_up_in_order_and_concern_one_machine() -> None:
    world = World()
    gate = FakeGate(world.answer)
    gate.script(ONE, Mishap.UNREACHABLE, times=2)
    gate.script(ONE, Mishap.AUTH_DENIED)
    kinds = [type(gate.call(ONE, REQUEST, TIMEOUT)) for _ in range(5)]
    assert kinds == [NotDone] * 5
    assert isinstance(gate.call(TWO, REQUEST, TIMEOUT), Done)
    gate.mend(ONE)
    assert isinstance(gate.call(ONE, REQUEST, TIMEOUT), Done)
    assert [machine.host for machine, _ in gate.arrived] == ["two", "one"]


def test_a_machine_that_never_answers_takes_all_the_time() -> None:
    world = World()
    gate = FakeGate(lambda machine, request: None, world.pass_time)
    assert isinstance(gate.call(ONE, REQUEST, TIMEOUT), Unknown)
    assert world.passed == TIMEOUT
