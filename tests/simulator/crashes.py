"""The whole crash model of one story: a daemon that dies in each of its moments, its successor too, or in recovery.

The story is told once in which nobody dies; it gives the moments. Every effect has three: nothing was sent yet, the
request is on its way, all is done and nobody has heard of it. Every write to a disk has as many as it has steps.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from tests.fakes.files import FakeFiles
from tests.simulator.events import Event
from tests.simulator.run import FIRST_SECONDS, Found, play
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
DOOR, DISKS = "door", ("state", "shared", "status")
# What a status file says is nobody's input: of its steps so many are left out between two that are tried.
STATUS_STRIDE = 32
# A new life reads its ledger, takes its term and looks around within so many steps of each place.
RECOVERY = {DOOR: 8, "state": 12, "shared": 8}
RECOVERY_STRIDE = 24
PAIRS = 100


@dataclass(frozen=True, slots=True)
class Doom:
    """In which step at which place a daemon dies, with or without its machine's power, and how its successor."""

    place: str
    step: int
    power_fails: bool = False
    successor: "Doom | None" = None

    def __str__(self) -> str:
        how = " as the power fails" if self.power_fails else ""
        after = f", and the next one {self.successor}" if self.successor is not None else ""
        return f"dies in step {self.step} at the {self.place}{how}{after}"

    def befall(self, world: World) -> None:
        """Let it be so, counted from now on."""
        world.steady()
        world.power_fails = self.power_fails
        if self.place == DOOR:
            world.fate.die_at = world.fate.points + self.step
        else:
            files: FakeFiles = getattr(world, self.place)
            files.die_at = files.steps + self.step
        world.after_death = self.successor.befall if self.successor is not None else None


def survive(doom: Doom) -> tuple[Found | None, World]:
    """Tell the story of a daemon with this doom; return what it breaks, if anything."""
    return play(SEED, STORY, doom.befall)


@cache
def moments() -> Mapping[str, tuple[int, ...]]:
    """Return by place the steps in which something is done, when nobody dies."""
    world = World(SEED)
    world.steady()
    # What the world itself wrote to furnish a site is no step of the daemon.
    furnished = {name: getattr(world, name).steps for name in DISKS}
    world.live(FIRST_SECONDS)
    for event in STORY:
        event.happen(world)
    found = {DOOR: [step for inside in world.fate.inside for step in (inside - 1, inside, inside + 1)]}
    found |= {name: [step - furnished[name] for step in getattr(world, name).changes] for name in DISKS}
    return {place: tuple(step for step in steps if step > 0) for place, steps in found.items()}


def dooms(*, whole: bool = False) -> Iterator[Doom]:
    """Return all dooms of the crash model; without `whole` some that are much like others are left out."""
    for place, steps in moments().items():
        stride = STATUS_STRIDE if place == "status" and not whole else 1
        for step in steps[::stride]:
            # On the share little depends on the power of the daemon's machine: every other step does without.
            ways = (False, True) if whole or place != "shared" else (step % 2 == 0,)
            yield from (Doom(place, step, power_fails) for power_fails in ways)
    yield from _pairs(PAIRS * (10 if whole else 1))
    yield from _in_recovery(1 if whole else RECOVERY_STRIDE)


def _pairs(count: int) -> Iterator[Doom]:
    chance = random.Random("pairs")
    for _ in range(count):
        second = _one(chance, [range(1, 60)] * 4, None)
        yield _one(chance, list(moments().values()), second)


def _one(chance: random.Random, steps: Sequence[Sequence[int]], successor: Doom | None) -> Doom:
    number = chance.randrange(len(steps))
    return Doom((DOOR, *DISKS)[number], chance.choice(steps[number]), chance.random() < 0.3, successor)


def _in_recovery(stride: int) -> Iterator[Doom]:
    for number, first in enumerate(moments()[DOOR][::stride]):
        for place, steps in RECOVERY.items():
            for step in range(1, steps + 1):
                yield Doom(DOOR, first, number % 2 == 0, Doom(place, step, number % 3 == 0))
