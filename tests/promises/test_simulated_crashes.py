"""A daemon that dies at any step of one whole story loses nothing and repeats nothing."""

from collections.abc import Callable
from functools import cache, partial

import pytest

from tests.fakes.files import FakeFiles
from tests.simulator.events import Event
from tests.simulator.run import FIRST_SECONDS, play
from tests.simulator.world import World

SEED = 4
STORY = (
    Event("new_job", 7, 1, wait=30),
    Event("edit_job", 0, 1, wait=10),
    Event("edit_job", 1, 2, wait=20),
    Event("kill_head", 0, 0, wait=40),
    Event("remove_job", 0, 0, wait=5),
    Event("rename_job", 1, 0, wait=20),
    Event("drain_node", 0, 1, wait=60),
)
# Of all steps, so many are tried each time; the story has some hundreds at doors and at disks.
TRIES = 40

Doom = Callable[[World, int], None]


def at_door(world: World, step: int) -> None:
    world.fate.die_at = step


def at_disk(name: str) -> Doom:
    def doom(world: World, step: int) -> None:
        files: FakeFiles = getattr(world, name)
        # What the world itself wrote to furnish a site is no step of the daemon.
        files.die_at = files.steps + step

    return doom


@cache
def steps(where: str) -> int:
    """Return how many steps the story takes at a place when nobody dies."""
    world = World(SEED)
    furnished = 0 if where == "door" else getattr(world, where).steps
    world.live(FIRST_SECONDS)
    for event in STORY:
        event.happen(world)
    return (world.fate.points if where == "door" else int(getattr(world, where).steps)) - furnished


@pytest.mark.parametrize("power_fails", [False, True], ids=["process dies", "power fails"])
@pytest.mark.parametrize("where", ["door", "state", "shared", "status"])
def test_a_daemon_that_dies_at_any_step_loses_and_repeats_nothing(where: str, *, power_fails: bool) -> None:
    doom = at_door if where == "door" else at_disk(where)
    count = steps(where)
    for step in range(1, count, max(1, count // TRIES)):
        found, world = play(SEED, STORY, partial(_doomed, doom, step, power_fails))
        assert found is None, f"dead at step {step} of {count} at the {where}: {found}"
        assert world.lives > 1


def _doomed(doom: Doom, step: int, power_fails: bool, world: World) -> None:
    world.power_fails = power_fails
    doom(world, step)
