"""Who runs where: FIFO within priority, each gang on whole free nodes of one pool."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from reconciler.model.ids import ObjectId
from reconciler.model.moment import Moment
from reconciler.model.plan import Because, Reason


class Priority(IntEnum):
    """Priority classes; a higher one goes first."""

    LOW = 0
    NORMAL = 1
    HIGH = 2


@dataclass(frozen=True, slots=True)
class Waiting:
    """A job that may start now: what it needs and its place in the order."""

    job: ObjectId
    pool: str
    priority: Priority
    entered: Moment
    nodes: int
    gpus_per_node: int

    @property
    def order(self) -> tuple[int, float, str, str]:
        """The sort key: priority first, then age, then identity so that no two are equal."""
        return (-self.priority, self.entered.wall.timestamp(), self.job.team, self.job.name)


@dataclass(frozen=True, slots=True)
class Room:
    """A pool as the queue sees it: nodes in service, and those of them that nothing holds."""

    cluster: str
    in_service: int
    free: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Placement:
    """The answer for every waiting job: the nodes it gets, or why it gets none; and the order in each pool."""

    admitted: Mapping[ObjectId, tuple[str, ...]] = field(default_factory=dict)
    blocked: Mapping[ObjectId, Because] = field(default_factory=dict)
    order: Mapping[str, tuple[ObjectId, ...]] = field(default_factory=dict)


def place(waiting: Iterable[Waiting], rooms: Mapping[str, Room], slots: Mapping[str, int]) -> Placement:
    """Admit jobs in order while they fit.

    `slots` is how many more attempts each cluster's head may run. The first job of a pool that does not fit keeps
    its turn: none behind it in that pool starts, so that a large gang does not starve. A job that is larger than
    what its pool has in service keeps nobody waiting. Pools do not wait for each other.
    """
    free = {pool: list(room.free) for pool, room in rooms.items()}
    left = dict(slots)
    admitted: dict[ObjectId, tuple[str, ...]] = {}
    blocked: dict[ObjectId, Because] = {}
    order: dict[str, list[ObjectId]] = {}
    turn: dict[str, ObjectId] = {}
    for job in sorted(waiting, key=lambda each: each.order):
        order.setdefault(job.pool, []).append(job.job)
        because = _blocked(job, rooms[job.pool], free[job.pool], left, turn.get(job.pool))
        if because is None:
            admitted[job.job] = tuple(free[job.pool][: job.nodes])
            del free[job.pool][: job.nodes]
            left[rooms[job.pool].cluster] -= 1
        else:
            blocked[job.job] = because
            if because.reason is not Reason.TOO_LARGE_NOW:
                turn.setdefault(job.pool, job.job)
    return Placement(admitted, blocked, {pool: tuple(jobs) for pool, jobs in order.items()})


def _blocked(
    job: Waiting, room: Room, free: list[str], left: Mapping[str, int], turn: ObjectId | None
) -> Because | None:
    if job.nodes > room.in_service:
        text = f"needs {job.nodes} nodes of {job.pool}, {room.in_service} are in service"
        return Because(Reason.TOO_LARGE_NOW, text, (("needs", job.nodes), ("inService", room.in_service)))
    if turn is not None:
        return Because(Reason.BEHIND_OTHERS, f"waits its turn in {job.pool}; {turn} is first")
    if left[room.cluster] <= 0:
        return Because(Reason.HEAD_FULL, f"cluster {room.cluster} runs as many jobs as maxRunningJobs allows")
    if job.nodes > len(free):
        text = f"needs {job.nodes} free nodes of {job.pool}, {len(free)} of {room.in_service} are free"
        return Because(Reason.WAITS_FOR_NODES, text, (("needs", job.nodes), ("free", len(free))))
    return None
