"""Where a job stands in the queue of its pool, and who is ahead of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.cli.names import JOB
from reconciler.cli.seen import Seen, rows_of, table_of
from reconciler.cli.status import StatusTree
from reconciler.cli.text import ordinal
from reconciler.model.ids import ObjectId

# More names than these are not read; the rest is a number.
AHEAD_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Needs:
    """What a job occupies once it runs."""

    nodes: int
    gpus_per_node: int

    @property
    def gpus(self) -> int:
        """All GPUs together."""
        return self.nodes * self.gpus_per_node

    def __str__(self) -> str:
        nodes = f"{self.nodes} node" + ("" if self.nodes == 1 else "s")
        return f"{self.gpus} GPUs ({self.nodes}×{self.gpus_per_node})" if self.gpus else nodes

    @property
    def short(self) -> str:
        """The same in the narrowest form: GPUs where there are any, else nodes."""
        return str(self.gpus) if self.gpus else f"{self.nodes}n"


@dataclass(frozen=True, slots=True)
class Entry:
    """One job in a queue."""

    job: str
    needs: Needs


@dataclass(frozen=True, slots=True)
class Place:
    """A job's place in a queue, counted from 1."""

    pool: str
    position: int
    length: int
    needs: Needs
    ahead: tuple[Entry, ...]

    def sentence(self) -> str:
        """Return the place as people say it: `3rd of 9 in h20`."""
        return f"{ordinal(self.position)} of {self.length} in {self.pool}"

    def before(self) -> str:
        """Return who is ahead, with what they need, the next ones first to go."""
        names = [f"{entry.job} ({entry.needs.short})" for entry in self.ahead[:AHEAD_SHOWN]]
        more = self.ahead[AHEAD_SHOWN:]
        if more:
            names.append(f"and {len(more)} more ({sum(entry.needs.gpus for entry in more)} GPUs)")
        return ", ".join(names)

    def plain(self) -> dict[str, Any]:
        """Return the place as JSON values."""
        ahead = [{"job": entry.job, "nodes": entry.needs.nodes, "gpus": entry.needs.gpus} for entry in self.ahead]
        return {"pool": self.pool, "position": self.position, "length": self.length, "ahead": ahead}


def needs_of(value: Any) -> Needs:
    """Return what a status document says that a job needs."""
    needs = table_of(value)
    return Needs(_count(needs.get("nodes"), 1), _count(needs.get("gpusPerNode"), 0))


def places_in(tree: StatusTree, pool: str) -> dict[str, Place]:
    """Return the place of every job that waits for a pool and is listed; a long queue lists its first ones only."""
    queue = tree.other(f"queue/{pool}.json")
    order = tuple(
        Entry(str(row.get("job", "?")), needs_of(row.get("needs"))) for row in rows_of(queue.get("order"))
    )
    length = len(order) + _count(queue.get("orderOmitted"), 0)
    return {
        entry.job: Place(pool, index + 1, length, entry.needs, order[:index]) for index, entry in enumerate(order)
    }


def place_of(tree: StatusTree, job: Seen) -> Place | None:
    """Return where a job waits, or None when it does not."""
    pool = job.detail.get("pool")
    if job.id.kind != JOB or not isinstance(pool, str):
        return None
    return places_in(tree, pool).get(f"{job.id.team}/{job.id.name}")


def all_places(tree: StatusTree) -> Mapping[ObjectId, Place]:
    """Return the place of every waiting job, from one look at each queue."""
    found = {}
    for name in tree.files.list("queue"):
        if name.endswith(".json"):
            pool = name.removesuffix(".json")
            for job, place in places_in(tree, pool).items():
                team, _, short = job.partition("/")
                found[ObjectId(JOB, team, short)] = place
    return found


def _count(value: Any, fallback: int) -> int:
    return value if isinstance(value, int) and value >= 0 else fallback
