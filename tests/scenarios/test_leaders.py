"""Two daemons of one site: the later one leads, and the earlier one keeps its hands off."""

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
