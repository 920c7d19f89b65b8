"""The faults of the fake Ray door: what a caller hears, and what really happened."""

from datetime import timedelta

import pytest

from reconciler.clock import SystemClock
from reconciler.model.outcome import Done, NotDone, Outcome, Unknown
from reconciler.model.ray import HeadAddress, RayNodeState, Submission
from reconciler.model.sighting import Absent, Present, Unreachable
from tests.fakes.ray import FakeRay, Fault
from tests.fakes.ray_world import Program, RayWorld

HEAD = HeadAddress("main", "10.0.0.1", 6379, 8265, 10001)
LIMIT = timedelta(seconds=1)
JOB = Submission("a", "exec sleep 100", {}, {}, {})


def world_with_head(program: Program | None = None) -> tuple[RayWorld, FakeRay]:
    world = RayWorld() if program is None else RayWorld(lambda _submission: program)
    world.start_head(HEAD)
    return world, FakeRay(world, SystemClock())


def word(outcome: Outcome) -> str:
    return outcome.kind.value if isinstance(outcome, NotDone) else type(outcome).__name__


@pytest.mark.parametrize(
    ("fault", "heard", "runs"),
    [
        (Fault.NO_CONNECTION, "transient", 0),
        (Fault.LOST_REQUEST, "Unknown", 0),
        (Fault.LOST_REPLY, "Unknown", 1),
        (Fault.DUPLICATE, "Done", 1),
        (Fault.SERVER_ERROR, "Unknown", 0),
        (Fault.RUBBISH, "Unknown", 0),
        (Fault.WRONG_TOKEN, "refused", 0),
    ],
)
def test_a_fault_says_what_a_caller_can_know(fault: Fault, heard: str, runs: int) -> None:
    world, ray = world_with_head()
    ray.fail("submit", fault)
    assert word(ray.submit(HEAD, JOB, LIMIT)) == heard
    world.advance(5)
    assert len(world.running("a")) == runs
    assert isinstance(ray.submit(HEAD, JOB, LIMIT), Done)
    world.advance(5)
    assert len(world.running("a")) == 1


@pytest.mark.parametrize("fault", [each for each in Fault if each is not Fault.DUPLICATE])
def test_a_look_with_a_fault_is_unreachable(fault: Fault) -> None:
    _, ray = world_with_head()
    ray.fail("look", fault)
    assert isinstance(ray.look(HEAD, [], LIMIT), Unreachable)
    assert isinstance(ray.look(HEAD, [], LIMIT), Present)


def test_a_machine_without_power_is_unreachable_and_not_absent() -> None:
    world, ray = world_with_head()
    head = world.head_at(HEAD)
    assert head is not None
    world.kill_head(head)
    assert isinstance(ray.look(HEAD, [], LIMIT), Absent)
    head.machine_gone = True
    assert isinstance(ray.look(HEAD, [], LIMIT), Unreachable)
    outcome = ray.submit(HEAD, JOB, LIMIT)
    assert isinstance(outcome, NotDone | Unknown)


def test_a_driver_outlives_its_head_until_its_raylet_gives_up() -> None:
    world, ray = world_with_head()
    head = world.head_at(HEAD)
    assert head is not None
    world.start_worker(head, "w1")
    ray.submit(HEAD, Submission("a", "exec sleep 1000", {}, {}, {"rayops-node": "w1"}), LIMIT)
    world.advance(5)
    world.kill_head(head)
    world.start_head(HEAD)
    assert ray.submit(HEAD, JOB, LIMIT) == Done({"existed": False})  # the new head runs the id a second time
    world.advance(5)
    assert len(world.running("a")) == 2
    world.advance(60)
    assert len(world.running("a")) == 1


def test_a_driver_that_forked_away_outlives_even_its_raylet() -> None:
    world, ray = world_with_head(Program(outlives_raylet=True))
    head = world.head_at(HEAD)
    assert head is not None
    worker = world.start_worker(head, "w1")
    ray.submit(HEAD, Submission("a", "exec x", {}, {}, {"rayops-node": "w1"}), LIMIT)
    world.advance(5)
    world.kill_node(head, worker)
    world.advance(100)
    assert len(world.running("a")) == 1


def test_a_look_shows_only_the_jobs_that_were_asked_for() -> None:
    _, ray = world_with_head()
    for number in range(5):
        ray.submit(HEAD, Submission(f"j{number}", "exec sleep 9", {}, {}, {}), LIMIT)
    sighting = ray.look(HEAD, ["j1", "j9"], LIMIT)
    assert isinstance(sighting, Present)
    assert set(sighting.seen.jobs) == {"j1"}
    assert all(node.state is RayNodeState.ALIVE for node in sighting.seen.nodes)
