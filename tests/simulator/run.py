"""Run one seed, and tell the shortest story that shows what it found."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.simulator.events import Event, story
from tests.simulator.oracle import Broken
from tests.simulator.world import World

FIRST_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Found:
    """A broken promise: in which world, by which events."""

    seed: int
    events: tuple[Event, ...]
    promise: str
    what: str

    def __str__(self) -> str:
        told = "\n".join(f"    {event}" for event in self.events)
        return f"seed {self.seed} breaks {self.promise}: {self.what}\n  after these events:\n{told}"


def play(
    seed: int, events: Sequence[Event], doom: Callable[[World], None] = lambda _: None
) -> tuple[Found | None, World]:
    """Let the events happen in the world of a seed, then let it settle; return what broke, if anything.

    `doom` may tell the world beforehand when the daemon shall die.
    """
    world = World(seed)
    doom(world)
    try:
        # Until heads are up: a story in which nothing runs yet tells little.
        world.live(FIRST_SECONDS)
        for event in events:
            event.happen(world)
        world.settle()
    except Broken as broken:
        return Found(seed, tuple(events), broken.promise, broken.what), world
    except AssertionError as error:
        return Found(seed, tuple(events), "I48", f"an assertion of ours: {error}"), world
    return None, world


def try_seed(seed: int) -> Found | None:
    """Play the story of a seed; what it finds is told by the shortest story found."""
    found, _ = play(seed, story(seed))
    return shortest(found) if found is not None else None


def shortest(found: Found) -> Found:
    """Leave out events as long as the same promise stays broken: halves first, then one by one."""
    size = max(1, len(found.events) // 2)
    while True:
        smaller = _without_some(found, size)
        if smaller is not None:
            found = smaller
        elif size == 1:
            return found
        else:
            size = max(1, size // 2)


def _without_some(found: Found, size: int) -> Found | None:
    for start in range(0, len(found.events), size):
        events = found.events[:start] + found.events[start + size :]
        if len(events) < len(found.events):
            again, _ = play(found.seed, events)
            if again is not None and again.promise == found.promise:
                return again
    return None
