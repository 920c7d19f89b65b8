"""Choose worlds from the simulator's stories: as few as show every sort of decision some times."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from reconciler import loop
from reconciler.model.world import World
from tests.kinds.shorthand import cases_in, world_of
from tests.replay import plans, records, worlds
from tests.replay.records import Recorded
from tests.simulator.events import story
from tests.simulator.run import play

CASES = Path(__file__).parents[1] / "kinds"


def record(seeds: Iterable[int], each: int) -> list[Recorded]:
    """Return worlds in which each sort of decision is taken `each` times, as far as anything shows it.

    What no story shows, such as the end of a cluster, is taken from the case files.
    """
    choice = _Choice(each)
    for seed in seeds:
        with _watched(partial(choice.consider, f"seed {seed}")):
            found, _ = play(seed, story(seed))
        assert found is None, f"plans of a broken world are no guard: {found}"
    for folder in sorted(CASES.glob("*/cases")):
        for name, case in cases_in(folder):
            choice.consider(f"case {folder.parent.name}/{name}", world_of(case))
    return list(choice.needed())


class _Choice:
    """The worlds chosen so far."""

    def __init__(self, each: int) -> None:
        self._each = each
        self._shown: Counter[str] = Counter()
        self._chosen: list[Recorded] = []

    def consider(self, origin: str, world: World) -> None:
        """Take a world if any sort of its decisions was not shown often enough."""
        plan = records.plan_of(world)
        sorts = plans.sorts(plan)
        if all(self._shown[sort] >= self._each for sort in sorts):
            return
        document = worlds.written(world)
        assert worlds.read(document) == world, "a world comes back as it was written"
        self._shown.update(sorts)
        self._chosen.append(Recorded(origin, document, plan))

    def needed(self) -> Iterator[Recorded]:
        """Leave out worlds, early ones first, of which all sorts are shown often enough by others."""
        for one in self._chosen:
            sorts = plans.sorts(one.plan)
            if all(self._shown[sort] > self._each for sort in sorts):
                self._shown.subtract(sorts)
            else:
                yield one


@contextmanager
def _watched(seen: Callable[[World], None]) -> Iterator[None]:
    """Tell of every world of which a pass makes a plan."""
    original = loop.settled_plan

    def settled_plan(world: World, kinds: Any) -> Any:
        seen(world)
        return original(world, kinds)

    loop.settled_plan = settled_plan
    try:
        yield
    finally:
        loop.settled_plan = original
