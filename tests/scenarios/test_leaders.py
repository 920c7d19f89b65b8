"""Two daemons of one site: the later one leads, and the earlier one keeps its hands off."""

import errno
import json

from tests.simulator.events import Event
from tests.simulator.world import World


def test_a_leader_that_was_overtaken_neither_acts_nor_writes_status() -> None:
    world = World(1)
    world.live(60)
    Event("overtake").happen(world)
    assert world.former is not None
    assert world.former.loop is not None
    assert world.former.loop.overtaken
    Event("edit_job", 0, 1, wait=120).happen(world)
    world.settle()
    for wish in world.people.jobs.values():
        status = json.loads(world.status.read_elsewhere(f"job/{wish.team}/{wish.name}.json") or b"{}")
        assert status["state"] in {"Succeeded", "Failed", "TimedOut"}


def test_a_leader_that_was_overtaken_with_a_write_half_done_leaves_the_ledger_to_its_follower() -> None:
    world = World(1)
    world.live(60)
    assert world.daemon is not None
    former = world.daemon
    assert former.loop is not None
    Event("new_job", 7, 1, wait=0).happen(world)
    while not former.loop.busy:
        world.step()
    world.state.fail(errno.EIO, step="flush", times=1000)
    world.live(3)
    assert former.loop._stages.store._doubt
    world.state.mend()
    Event("overtake", wait=60).happen(world)
    assert world.former is former
    assert world.daemon is not former
    world.settle()
