"""Decide about a pool's nodes: start, watch, drain, replace, let go."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TypeAlias

from reconciler.model.cluster import ClusterSpec
from reconciler.model.effect import DrainRayNode, StartWorker, StopSlot
from reconciler.model.ids import ObjectId
from reconciler.model.json import digest
from reconciler.model.ledger import Change, DrainRecord, NodeRecord, Table, node_key
from reconciler.model.machine import Machine
from reconciler.model.nodepool import Drain, Node, NodePool, NodePoolSpec
from reconciler.model.plan import Action, Because, Decision, Hold, Note, Reason, Weight
from reconciler.model.ray import RayNode, RayNodeState
from reconciler.model.sighting import Present, Sighting, Unreachable
from reconciler.model.spec import what_runs
from reconciler.model.views import ClusterView, busy_nodes, cluster_of, cluster_view, documents, ray_nodes
from reconciler.model.world import Role, SlotId, SlotSeen, World

NODE_STOP_GRACE = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Pool:
    """What all nodes of one pool share in one pass."""

    id: ObjectId
    spec: NodePoolSpec | None
    shape: str
    cluster: ClusterView
    cluster_spec: ClusterSpec | None
    alive: Mapping[str, RayNode]
    busy: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Case:
    """One node, everything about it side by side. `node` is None when it left the repo."""

    world: World
    pool: Pool
    name: str
    node: Node | None
    drain: Drain | None
    record: NodeRecord | None
    drained: DrainRecord | None

    @property
    def ray(self) -> RayNode | None:
        """The living raylet of this node, None also while the head cannot say."""
        return self.pool.alive.get(self.name)

    @property
    def slot(self) -> Sighting[SlotSeen] | None:
        """What its machine says, None when nobody asked in this pass."""
        return self.world.observed.slots.get(SlotId(self.pool.cluster.name, Role.WORKER, self.name))

    @property
    def key(self) -> str:
        """The ledger key of this node."""
        return node_key(self.pool.cluster.name, self.name)

    @property
    def holder(self) -> str | None:
        """The submission that occupies this node."""
        return self.pool.busy.get(self.name)

    def set(self, record: NodeRecord | None) -> tuple[Change, ...]:
        """Return the ledger change that replaces this node's record."""
        return (Change(Table.NODES, self.key, record),)

    def hold(self, because: Because, wait: timedelta | None = None) -> tuple[Decision, ...]:
        """Return one hold about this node."""
        return (Hold(self.pool.id, because, self.world.now + wait if wait is not None else None, self.name),)

    def note(self, because: Because, changes: tuple[Change, ...]) -> tuple[Decision, ...]:
        """Return one note about this node."""
        return (Note(self.pool.id, because, changes),)


Rule: TypeAlias = Callable[[Case], tuple[Decision, ...] | None]


def plan(world: World) -> Iterator[Decision]:
    """Decide about every node that is desired or remembered."""
    remembered: dict[tuple[str, str], list[str]] = {}
    for key in sorted(world.ledger.nodes):
        cluster, _, node = key.partition("/")
        remembered.setdefault((world.ledger.nodes[key].pool, cluster), []).append(node)
    busy: dict[str, dict[str, str]] = {}
    for identity, document, _ in documents(world, "NodePool"):
        assert isinstance(document, NodePool)
        pool = _pool(world, identity, document.spec, document.spec.cluster, busy)
        names = remembered.pop((identity.name, document.spec.cluster), [])
        yield from _nodes(world, pool, names)
    for (pool_name, cluster), names in sorted(remembered.items()):
        pool = _pool(world, ObjectId("NodePool", "", pool_name), None, cluster, busy)
        yield from _nodes(world, pool, names)


def _pool(
    world: World, identity: ObjectId, spec: NodePoolSpec | None, cluster: str, busy: dict[str, dict[str, str]]
) -> Pool:
    view = cluster_view(world, cluster)
    desired = cluster_of(world, cluster)
    if cluster not in busy:
        busy[cluster] = busy_nodes(world, cluster)
    alive = ray_nodes(view.seen) if view.seen is not None else {}
    shape = shape_digest(spec) if spec is not None else ""
    return Pool(identity, spec, shape, view, desired.spec if desired else None, alive, busy[cluster])


def shape_digest(spec: NodePoolSpec) -> str:
    """Return the digest of what every node of a pool runs with; the list of nodes is no part of it."""
    return digest({key: value for key, value in what_runs(spec).items() if key != "nodes"})


def _nodes(world: World, pool: Pool, remembered: list[str]) -> Iterator[Decision]:
    nodes = {node.name: node for node in pool.spec.nodes} if pool.spec else {}
    drains = {drain.node: drain for drain in pool.spec.drain} if pool.spec else {}
    for name in sorted({*nodes, *remembered}):
        key = node_key(pool.cluster.name, name)
        case = Case(
            world,
            pool,
            name,
            nodes.get(name),
            drains.get(name),
            world.ledger.nodes.get(key),
            world.ledger.drains.get(key),
        )
        yield from next(decisions for rule in RULES if (decisions := rule(case)) is not None)


def _drain_bookkeeping(case: Case) -> tuple[Decision, ...] | None:
    if (case.drain is None or case.node is None) and case.drained is not None:
        because = Because(Reason.CHANGED, f"the drain of {case.name} was taken back")
        return case.note(because, (Change(Table.DRAINS, case.key, None),))
    if case.drain is not None and case.drained is None:
        text = f"draining {case.name}: {case.drain.reason or 'no reason given'}"
        change = Change(Table.DRAINS, case.key, DrainRecord(case.world.now))
        return case.note(Because(Reason.DRAINING, text), (change,))
    return None


def _stopping(case: Case) -> tuple[Decision, ...] | None:
    record = case.record
    if record is None or record.stopping is None:
        return None
    match case.slot:
        case Present(seen=slot) if not slot.state.alive:
            because = Because(Reason.OBSERVED, f"Ray on {case.name} has ended", (("epoch", record.epoch),))
            return case.note(because, case.set(None))
        case Present() if case.world.now.since(record.stopping) >= case.world.tuning.stop_repeat:
            return (_stop(case, record, Because(Reason.STOPPING, f"Ray on {case.name} still runs: asked again")),)
        case Unreachable(reason=text):
            return case.hold(_machine_silent(case, text))
        case _:
            because = Because(Reason.STOPPING, f"waiting for Ray on {case.name} to end")
            return case.hold(because, case.world.tuning.stop_repeat)


def _leaving(case: Case) -> tuple[Decision, ...] | None:
    """Let a node go that left the repo or is drained, once nothing holds it."""
    if case.node is not None and case.drain is None:
        return None
    if case.record is None:
        return _already_out(case)
    if case.holder is not None:
        return _waits_for_job(case, case.holder)
    weight = Weight.REMOVES if case.pool.spec is None else Weight.DRAINS
    because = Because(
        Reason.REMOVED if case.node is None else Reason.DRAINED,
        f"{case.name} is idle and {'left the repo' if case.node is None else 'is drained'}",
    )
    ray, head = case.ray, case.pool.cluster.head
    told = case.drained is not None and case.drained.told_ray
    if ray is not None and head is not None and ray.state is RayNodeState.ALIVE and not told and case.drain:
        effect = DrainRayNode(head, case.name, ray.node_id, case.drain.reason)
        change = Change(Table.DRAINS, case.key, replace(case.drained or DrainRecord(case.world.now), told_ray=True))
        return (Action(case.pool.id, effect, because, (change,), weight, _pace(case)),)
    return (_stop(case, case.record, because, weight),)


def _already_out(case: Case) -> tuple[Decision, ...]:
    if case.drain is None:
        return ()
    return case.hold(Because(Reason.DRAINED, f"{case.name} is out of service: {case.drain.reason}"))


def _waits_for_job(case: Case, holder: str) -> tuple[Decision, ...]:
    if case.node is None:
        text = f"{case.name} left the repo; it goes once {holder} has ended"
        return case.hold(Because(Reason.BUSY, text))
    assert case.drain is not None, "only a drained or removed node leaves"
    if case.drain.after is None or case.drained is None:
        text = f"{case.name} takes no new work and goes once {holder} has ended"
        return case.hold(Because(Reason.DRAINING, text))
    left = max(timedelta(), case.drain.after - case.world.now.since(case.drained.since))
    deadline = case.drained.since.wall + case.drain.after
    text = f"{case.name} takes no new work; {holder} is stopped at {deadline:%Y-%m-%d %H:%M:%S} UTC unless it ends"
    return case.hold(Because(Reason.DRAINING, text), left)


def _cluster_not_ready(case: Case) -> tuple[Decision, ...] | None:
    if case.pool.cluster.ready and case.pool.cluster_spec is not None:
        return None
    return case.hold(case.pool.cluster.because)


def _not_started(case: Case) -> tuple[Decision, ...] | None:
    if case.record is not None or case.node is None:
        return None
    match case.slot:
        case Present(seen=slot) if slot.state.alive:
            text = (
                f"{case.name} already runs Ray for {case.pool.cluster.name} (epoch {slot.epoch}): ending it first"
            )
            record = _fresh(case, case.node)
            return (_stop(case, record, Because(Reason.OTHER_EPOCH, text)),)
        case Present():
            return (_start(case, case.node, Because(Reason.NEW, f"{case.name} does not run Ray yet")),)
        case Unreachable(reason=text):
            return case.hold(_machine_silent(case, text))
        case _:
            return case.hold(Because(Reason.STARTING, f"looking at {case.name} before starting Ray there"))


def _outdated(case: Case) -> tuple[Decision, ...] | None:
    """Start a node afresh that runs with other settings or for an older head, once nothing holds it."""
    record, node = case.record, case.node
    assert record is not None, "rules before this one answer for a node that is not started"
    assert node is not None, "rules before this one answer for a node that left the repo"
    if record.epoch != case.pool.cluster.epoch:
        numbers = (("from", record.epoch), ("to", case.pool.cluster.epoch))
        because = Because(Reason.OTHER_EPOCH, f"{case.name} belongs to an older head", numbers)
        return (_stop(case, record, because),)
    if record.digest == case.pool.shape and record.machine == node.machine:
        return None
    if case.holder is not None:
        return case.hold(Because(Reason.BUSY, f"the edit of {case.name} waits until {case.holder} has ended"))
    return (_stop(case, record, Because(Reason.CHANGED, f"what {case.name} runs with was edited")),)


def _alive(case: Case) -> tuple[Decision, ...] | None:
    record, ray = case.record, case.ray
    if record is None or ray is None:
        return None
    if ray.state is RayNodeState.DRAINING and case.holder is None:
        # Ray cannot take a drain back; a fresh raylet can.
        return (_stop(case, record, Because(Reason.CHANGED, f"{case.name} is back in service and starts afresh")),)
    if record.joined is None or record.missing_since is not None:
        because = Because(Reason.OBSERVED, f"{case.name} has joined {case.pool.cluster.name}")
        joined = replace(record, joined=record.joined or case.world.now, missing_since=None)
        return case.note(because, case.set(joined))
    return ()


def _not_in_ray(case: Case) -> tuple[Decision, ...]:
    record, node = case.record, case.node
    assert record is not None, "rules before this one answer for a node that is not started"
    assert node is not None, "rules before this one answer for a node that left the repo"
    match case.slot:
        case Present(seen=slot) if slot.state.alive and slot.epoch == record.epoch:
            return _alive_but_missing(case, record)
        case Present(seen=slot) if slot.state.alive:
            return (
                _stop(case, record, Because(Reason.OTHER_EPOCH, f"{case.name} runs Ray for epoch {slot.epoch}")),
            )
        case Present(seen=slot) if slot.epoch != record.epoch:
            return (
                _start(case, node, Because(Reason.OUTCOME_UNKNOWN, f"{case.name} never began to start: again")),
            )
        case Present(seen=slot):
            text = f"Ray on {case.name} is {slot.state.value}: {slot.message or 'no message'}"
            reason = Reason.NODE_FAILED if record.joined is None else Reason.NODE_LOST
            return (_start(case, node, Because(reason, text)),)
        case Unreachable(reason=text):
            return case.hold(_machine_silent(case, text))
        case _:
            return case.hold(Because(Reason.JOINING, f"{case.name} is not in Ray; asking its machine"))


def _alive_but_missing(case: Case, record: NodeRecord) -> tuple[Decision, ...]:
    now, tuning = case.world.now, case.world.tuning
    if record.joined is None:
        if now.since(record.started) < tuning.node_join:
            because = Because(Reason.JOINING, f"{case.name} is joining {case.pool.cluster.name}")
            return case.hold(because, tuning.node_join - now.since(record.started))
        seconds = int(tuning.node_join.total_seconds())
        return (_stop(case, record, Because(Reason.NODE_FAILED, f"{case.name} did not join within {seconds} s")),)
    if record.missing_since is None:
        because = Because(Reason.NODE_LOST, f"{case.name} runs Ray but its head does not list it")
        return case.note(because, case.set(replace(record, missing_since=now)))
    missing = now.since(record.missing_since)
    if missing < tuning.node_missing:
        because = Because(Reason.NODE_LOST, f"{case.name} runs Ray but its head does not list it")
        return case.hold(because, tuning.node_missing - missing)
    return (_stop(case, record, Because(Reason.NODE_LOST, f"{case.name} did not come back to its head")),)


# First match wins.
RULES: tuple[Rule, ...] = (
    _drain_bookkeeping,
    _stopping,
    _leaving,
    _cluster_not_ready,
    _not_started,
    _outdated,
    _alive,
    _not_in_ray,
)


def _fresh(case: Case, node: Node) -> NodeRecord:
    return NodeRecord(case.pool.id.name, node.machine, case.pool.cluster.epoch, case.pool.shape, case.world.now)


def _start(case: Case, node: Node, because: Because) -> Action:
    pool, spec, cluster = case.pool, case.pool.spec, case.pool.cluster_spec
    assert spec is not None, "a node in the repo has a pool"
    assert cluster is not None, "a ready cluster is desired"
    assert pool.cluster.head is not None, "a ready cluster has a head"
    effect = StartWorker(
        cluster=pool.cluster.name,
        node=node.name,
        machine=node.machine,
        epoch=pool.cluster.epoch,
        ray_version=cluster.ray.version,
        python=cluster.ray.python,
        head=f"{pool.cluster.head.host}:{pool.cluster.head.gcs_port}",
        gpus=spec.per_node.gpus,
        cpus=spec.per_node.cpus,
        memory_bytes=spec.per_node.memory,
        labels=spec.labels,
        env=spec.env,
    )
    return Action(pool.id, effect, because, case.set(_fresh(case, node)), Weight.NONE, _pace(case))


def _stop(case: Case, record: NodeRecord, because: Because, weight: Weight = Weight.NONE) -> Action:
    machine: Machine = record.machine
    effect = StopSlot(case.pool.cluster.name, Role.WORKER.value, case.name, machine, NODE_STOP_GRACE)
    before = case.set(replace(record, stopping=case.world.now))
    return Action(case.pool.id, effect, because, before, weight, _pace(case))


def _pace(case: Case) -> str:
    return f"node:{case.key}"


def _machine_silent(case: Case, text: str) -> Because:
    return Because(Reason.MACHINE_UNREACHABLE, f"{case.name} cannot be reached: {text}")
