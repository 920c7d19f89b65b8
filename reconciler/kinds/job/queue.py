"""Give waiting jobs their places: the rooms of pools as the queue sees them, and what it answers."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import TypeAlias

from reconciler.kinds.job.submit import admit
from reconciler.model.derived import Memo
from reconciler.model.ids import ObjectId
from reconciler.model.ledger import NodeRecord, node_key
from reconciler.model.nodepool import Node, NodePoolSpec
from reconciler.model.occupants import workers
from reconciler.model.plan import Because, Decision, Hold, Reason
from reconciler.model.ray import RayNode, RayNodeState
from reconciler.model.views import (
    ClusterView,
    cluster_of,
    cluster_view,
    frozen_because,
    holders,
    live_attempts,
    pool_of,
    shapes,
)
from reconciler.model.world import World
from reconciler.queue.placement import Placement, Room, Waiting, place

Line: TypeAlias = tuple[Waiting, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the queue says to all that wait for one pool, in the order of their turn."""

    order: tuple[ObjectId, ...]
    admitted: Mapping[ObjectId, tuple[str, ...]]
    holds: tuple[Hold, ...]

    @classmethod
    def of(cls, jobs: Line, placement: Placement) -> "Answer":
        """Return one pool's part of a placement."""
        order = tuple(each.job for each in jobs)
        admitted = {job: placement.admitted[job] for job in order if job in placement.admitted}
        return cls(order, admitted, tuple(Hold(j, placement.blocked[j]) for j in order if j not in admitted))


def answers(world: World, lines: Mapping[str, Line]) -> Iterator[Decision]:
    """Return for every waiting job, by pool, the action that starts it, or why it waits on."""
    views: dict[str, ClusterView] = {}
    for name, answer in placed(world, lines).items():
        yield from answer.holds
        for job, nodes in answer.admitted.items():
            pool = pool_of(world, name)
            assert pool is not None, "only a pool of the repo has room"
            if pool.spec.cluster not in views:
                views[pool.spec.cluster] = cluster_view(world, pool.spec.cluster)
            document, record = world.desired.objects[job].document, world.ledger.jobs[str(job)]
            yield admit(world, document, record, job, views[pool.spec.cluster], nodes)


def placed(world: World, lines: Mapping[str, Line]) -> Mapping[str, Answer]:
    """Return what the queue says, by pool; a pool that cannot be used blocks only its own."""
    held, live = holders(world), Counter(attempt.cluster for _, _, attempt in live_attempts(world.ledger))
    alive: dict[str, Mapping[str, RayNode]] = {}
    rooms: dict[str, dict[str, Room]] = {}
    found: dict[str, Answer] = {}
    for pool in sorted(lines):
        room = _room(world, pool, held, alive)
        if isinstance(room, Room):
            rooms.setdefault(room.cluster, {})[pool] = room
        else:
            found[pool] = _by_itself(pool, lines[pool], room)
    for cluster, of_cluster in rooms.items():
        left = _slots(world, cluster, live)
        # All that pools share is how many attempts their head may run. Where that cannot bind, each is by itself.
        if sum(min(len(room.free), len(lines[pool])) for pool, room in of_cluster.items()) < left:
            found.update({pool: _by_itself(pool, lines[pool], room) for pool, room in of_cluster.items()})
        else:
            placement = place(chain.from_iterable(map(lines.__getitem__, of_cluster)), of_cluster, {cluster: left})
            found.update({pool: Answer.of(lines[pool], placement) for pool in of_cluster})
    _ANSWERS.forget_all_but(lines)
    return found


# What was answered last about a pool that is by itself: it holds while who waits and what is free stay.
_ANSWERS: Memo[tuple[Line, Room | Because], Answer] = Memo()


def _by_itself(pool: str, jobs: Line, room: Room | Because) -> Answer:
    if (known := _ANSWERS.get(pool, (jobs, room))) is not None:
        return known
    if isinstance(room, Room):
        placement = place(jobs, {pool: room}, {room.cluster: len(jobs) + 1})
    else:
        placement = Placement(blocked={each.job: room for each in jobs})
    return _ANSWERS.keep(pool, (jobs, room), Answer.of(jobs, placement))


def _slots(world: World, cluster: str, live: Mapping[str, int]) -> int:
    document = cluster_of(world, cluster)
    return (document.spec.max_running_jobs if document is not None else 0) - live.get(cluster, 0)


def _room(
    world: World, name: str, held: Mapping[str, Mapping[str, str]], alive: dict[str, Mapping[str, RayNode]]
) -> Room | Because:
    """Return a pool's room, or why nothing may be placed there; `alive` keeps nodes for the next pool."""
    pool = pool_of(world, name)
    if pool is None:
        return Because(Reason.INVALID, f"pool {name} is not in the repo")
    if (frozen := frozen_because(world, ObjectId("NodePool", "", name))) is not None:
        return Because(frozen.reason, f"pool {name}: {frozen.text}")
    cluster = cluster_view(world, pool.spec.cluster)
    if (closed := _closed(world, cluster)) is not None:
        return closed
    assert cluster.seen is not None, "a ready cluster was seen"
    if cluster.name not in alive:
        alive[cluster.name] = cluster.seen.living
    gang = _Pool(name, pool.spec, shapes(world)[name], cluster, alive[cluster.name], workers(world))
    busy = held.get(cluster.name, {})
    drained = {drain.node for drain in pool.spec.drain}
    in_service, free = 0, []
    for node in pool.spec.nodes:
        if node.name in drained:
            continue
        record = world.ledger.nodes.get(node_key(cluster.name, node.name))
        if record is None or not gang.serves(record):
            continue
        in_service += 1
        if node.name not in busy and gang.takes_work(node, record):
            free.append(node.name)
    return Room(cluster.name, in_service, tuple(sorted(free)))


def _closed(world: World, cluster: ClusterView) -> Because | None:
    """Say why a cluster takes no new work."""
    identity = ObjectId("Cluster", "", cluster.name)
    if not cluster.ready:
        return cluster.because
    if (frozen := frozen_because(world, identity)) is not None:
        return Because(frozen.reason, f"cluster {cluster.name}: {frozen.text}")
    loaded, record = world.desired.objects.get(identity), world.ledger.clusters[cluster.name]
    if loaded is None:
        return Because(Reason.INVALID, f"cluster {cluster.name} is not in the repo")
    if record.head is not None and record.head.digest != loaded.digest:
        # Else new attempts would follow each other for ever, and the edit would wait for all of them.
        return Because(Reason.CLUSTER_NOT_READY, f"cluster {cluster.name} was edited and gets a new head first")
    if record.head is not None and record.head.stopping is not None:
        # However well it answers: it may get the request at any moment, and is asked again.
        return Because(Reason.CLUSTER_NOT_READY, f"the head of cluster {cluster.name} was asked to end")
    return None


@dataclass(frozen=True, slots=True)
class _Pool:
    """What decides whether a node of a pool may get work."""

    name: str
    spec: NodePoolSpec
    shape: str
    cluster: ClusterView
    alive: Mapping[str, RayNode]
    workers: Mapping[str, tuple[str, ...]]

    def serves(self, record: NodeRecord) -> bool:
        """Whether a node counts as part of the pool now."""
        return record.pool == self.name and record.stopping is None and record.epoch == self.cluster.epoch

    def takes_work(self, node: Node, record: NodeRecord) -> bool:
        """Whether a node that no attempt holds is up, runs what the repo says, and is not used by anybody else."""
        ray = self.alive.get(node.name)
        # A node whose settings were edited starts afresh as soon as it is idle: in the same plan, perhaps.
        if ray is None or ray.state is not RayNodeState.ALIVE:
            return False
        if record.digest != self.shape or record.machine != node.machine:
            return False
        # What one of two workers on a machine gives to a job, the other gives to the next one.
        if len(self.workers[record.machine.place(node.name)]) > 1:
            return False
        # Work that somebody started by hand holds GPUs that our own arithmetic does not know.
        return ray.available.get("GPU", 0.0) >= ray.total.get("GPU", 0.0)
