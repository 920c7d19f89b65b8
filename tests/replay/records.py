"""The recorded worlds with their plans: one JSON document a line, compressed together: they are much alike."""

import lzma
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import orjson

from reconciler.kinds import ALL
from reconciler.loop import settled_plan
from reconciler.model.json import Json, canonical
from reconciler.model.world import World
from tests.replay import plans, worlds
from tests.replay.plans import PlanDocument

FILE = Path(__file__).with_name("worlds.jsonl.xz")

# Sorts of changes to be told with an example; the rest is counted.
MOST = 20


@dataclass(frozen=True, slots=True)
class Recorded:
    """A world, where it comes from, and the plan that was made of it."""

    origin: str
    world: Json
    plan: PlanDocument


@dataclass(frozen=True, slots=True)
class Changed:
    """A recorded world of which another plan is made now. `number` is its line in the file, from 1."""

    number: int
    origin: str
    differences: tuple[str, ...]


def load(path: Path = FILE) -> list[Recorded]:
    """Return what was recorded."""
    with lzma.open(path) as lines:
        return [Recorded(**orjson.loads(line)) for line in lines]


def save(records: Iterable[Recorded], path: Path = FILE) -> None:
    """Write records in the place of those that were there."""
    lines = [canonical({"origin": each.origin, "world": each.world, "plan": each.plan}) + b"\n" for each in records]
    path.write_bytes(lzma.compress(b"".join(lines), preset=9))


def plan_of(world: World) -> PlanDocument:
    """Return the plan that a pass would make of a world."""
    return plans.written(settled_plan(world, ALL)[0])


def replayed(record: Recorded) -> Recorded:
    """Return the record with the plan that is made of its world now."""
    return replace(record, plan=plan_of(worlds.read(record.world)))


def changes(records: Sequence[Recorded]) -> list[Changed]:
    """Make all plans anew and return where they differ from the recorded ones."""
    found = []
    for number, record in enumerate(records, start=1):
        if differences := _differences(record):
            found.append(Changed(number, record.origin, tuple(differences)))
    return found


def _differences(record: Recorded) -> list[str]:
    try:
        return plans.differences(record.plan, replayed(record).plan)
    except AssertionError as broken:
        return [f"there is no plan any more: {broken}"]
    except ValueError as unlike:
        # The text of a validation error is long; its first lines name the field.
        lines = str(unlike).splitlines()
        return [f"the world is of another shape than the model; record anew: {' '.join(lines[:3])}"]


def report(changed: Sequence[Changed], total: int) -> str:
    """Tell what changed: each sort of change once, in how many worlds, with its first example."""
    sorts: dict[str, list[tuple[Changed, str]]] = defaultdict(list)
    for each in changed:
        for sort, text in {plans.shape(text): text for text in each.differences}.items():
            sorts[sort].append((each, text))
    lines = [f"of {total} recorded worlds, {len(changed)} get another plan now:"]
    told = sorted(sorts.values(), key=len, reverse=True)
    for group in told[:MOST]:
        first, text = group[0]
        lines.append(f"- in {len(group)} of them, first in world {first.number} ({first.origin}): {text}")
    if len(told) > MOST:
        lines.append(f"- and {len(told) - MOST} other sorts of changes")
    return "\n".join(lines)
