"""Give waiting jobs their places: the rooms of pools as the queue sees them, and what it answers."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from reconciler.kinds.job.case import Case
from reconciler.kinds.job.submit import admit
from reconciler.model.ids import ObjectId
from reconciler.model.ledger import NodeRecord, node_key
from reconciler.model.nodepool import Node, NodePoolSpec, shape_digest
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
    ray_nodes,
)
from reconciler.model.world import World
from reconciler.queue.placement import Placement, Priority, Room, Waiting, place

_PRIORITIES = {"low": Priority.LOW, "normal": Priority.NORMAL, "high": Priority.HIGH}


def waiting(case: Case) -> Waiting:
    """Return what a job that may start asks of the queue."""
    assert case.job is not None, "only desired jobs wait"
    spec = case.job.spec
    needs = spec.resources
    priority = _PRIORITIES[spec.priority]
    return Waiting(case.id, spec.pool, priority, case.record.entered, needs.nodes, needs.gpus_per_node)


def answers(world: World, jobs: list[Waiting]) -> Iterator[Decision]:
    """Return for every waiting job the action that starts it, or why it waits on."""
    if not jobs:
        return
    placement = placed(world, jobs)
    views: dict[str, ClusterView] = {}
    for each in jobs:
        nodes = placement.admitted.get(each.job)
        if nodes is None:
            yield Hold(each.job, placement.blocked[each.job])
            continue
        pool = pool_of(world, each.pool)
        assert pool is not None, "only a pool of the repo has room"
        if pool.spec.cluster not in views:
            views[pool.spec.cluster] = cluster_view(world, pool.spec.cluster)
        job, record = world.desired.objects[each.job].document, world.ledger.jobs[str(each.job)]
        yield admit(world, job, record, each.job, views[pool.spec.cluster], nodes)


def placed(world: World, jobs: list[Waiting]) -> Placement:
    """Return what the queue says to every waiting job; a pool that cannot be used blocks only its own."""
    by_pool: dict[str, list[Waiting]] = {}
    for each in jobs:
        by_pool.setdefault(each.pool, []).append(each)
    held, live = holders(world), Counter(attempt.cluster for _, _, attempt in live_attempts(world))
    rooms: dict[str, Room] = {}
    blocked: dict[ObjectId, Because] = {}
    order: dict[str, tuple[ObjectId, ...]] = {}
    alive: dict[str, Mapping[str, RayNode]] = {}
    for pool in sorted(by_pool):
        room = _room(world, pool, held, alive)
        if isinstance(room, Room):
            rooms[pool] = room
            continue
        order[pool] = tuple(each.job for each in sorted(by_pool[pool], key=lambda each: each.order))
        blocked.update(dict.fromkeys(order[pool], room))
    slots = {room.cluster: _slots(world, room.cluster, live) for room in rooms.values()}
    answer = place((each for pool in rooms for each in by_pool[pool]), rooms, slots)
    return Placement(answer.admitted, {**answer.blocked, **blocked}, {**answer.order, **order})


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
        alive[cluster.name] = ray_nodes(cluster.seen)
    gang = _Pool(name, pool.spec, shape_digest(pool.spec), cluster, alive[cluster.name])
    busy = held.get(cluster.name, {})
    drained = {drain.node for drain in pool.spec.drain}
    in_service, free = 0, []
    for node in pool.spec.nodes:
        record = world.ledger.nodes.get(node_key(cluster.name, node.name))
        if record is None or node.name in drained or not gang.serves(record):
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
    return None


@dataclass(frozen=True, slots=True)
class _Pool:
    """What decides whether a node of a pool may get work."""

    name: str
    spec: NodePoolSpec
    shape: str
    cluster: ClusterView
    alive: Mapping[str, RayNode]

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
        # Work that somebody started by hand holds GPUs that our own arithmetic does not know.
        return ray.available.get("GPU", 0.0) >= ray.total.get("GPU", 0.0)
