"""What people see of pools and their nodes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.model.derived import Grouped, Memo
from reconciler.model.ids import ObjectId
from reconciler.model.ledger import NodeRecord
from reconciler.model.nodepool import Node, NodePool
from reconciler.model.plan import Because, Plan, Reason
from reconciler.model.projection import FAULTS, Face, Story, conditions, describe, stories
from reconciler.model.ray import RayNode
from reconciler.model.states import NodeState, PoolState
from reconciler.model.status import Health, ObjectStatus
from reconciler.model.views import cluster_view, documents, frozen_because, holders
from reconciler.model.world import World


def status(world: World, plan: Plan) -> Iterator[ObjectStatus]:
    """Describe every pool that is desired or still has a node."""
    told = stories(plan)
    desired = {i: d for i, d, _ in documents(world, "NodePool") if isinstance(d, NodePool)}
    records = _RECORDS.of(world.ledger.nodes)
    held, alive = holders(world), _alive(world)
    pools = sorted({*desired, *(ObjectId("NodePool", "", name) for name in records)})
    for identity in pools:
        seen = _Seen(world, records.get(identity.name, {}), held, alive)
        document, story = desired.get(identity), told.get(identity)
        read = (
            world.desired.objects.get(identity),
            frozen_because(world, identity),
            story,
            seen.of_nodes(document),
        )
        known = _TOLD.get(identity.name, read)
        yield known or _TOLD.keep(identity.name, read, _one(seen, identity, document, story))
    _TOLD.forget_all_but([identity.name for identity in pools])


_RECORDS: Grouped[str, NodeRecord, str, Mapping[str, NodeRecord]] = Grouped(
    lambda _, record: record.pool, lambda records: records
)
# A pool of which nothing is new is told by the same object, so that whoever writes it need not look into it.
_TOLD: Memo[tuple[object, ...], ObjectStatus] = Memo()


@dataclass(frozen=True, slots=True)
class _Seen:
    """A pool's part of the ledger by key; and for each cluster who holds which nodes, and which live."""

    world: World
    records: Mapping[str, NodeRecord]
    held: Mapping[str, Mapping[str, str]]
    alive: Mapping[str, Mapping[str, RayNode]]

    def clusters(self, document: NodePool | None) -> list[str]:
        """Return the clusters that nodes of the pool are or shall be in."""
        names = {key.partition("/")[0] for key in self.records}
        return sorted(names | {document.spec.cluster} if document is not None else names)

    def of_nodes(self, document: NodePool | None) -> list[object]:
        """Return what can be seen of each of the pool's nodes."""
        names = {key.partition("/")[2] for key in self.records}
        names.update(node.name for node in (document.spec.nodes if document is not None else ()))
        alive = [self.alive.get(cluster, {}) for cluster in self.clusters(document)]
        held = [self.held.get(cluster, {}) for cluster in self.clusters(document)]
        return [self.records, *({name: each[name] for name in names & each.keys()} for each in (*alive, *held))]


def _alive(world: World) -> dict[str, Mapping[str, RayNode]]:
    views = [cluster_view(world, name) for name in world.ledger.clusters]
    return {view.name: view.seen.living for view in views if view.seen is not None}


def _one(seen: _Seen, identity: ObjectId, document: NodePool | None, story: Story | None) -> ObjectStatus:
    rows = list(_rows(seen, document, story))
    online = sum(1 for row in rows if row["state"] == NodeState.ONLINE)
    gpus = document.spec.per_node.gpus if document is not None else 0
    free = sum(1 for row in rows if row["state"] == NodeState.ONLINE and row["job"] is None)
    detail = {
        "cluster": document.spec.cluster if document is not None else None,
        "nodes": rows,
        "gpus": {"total": online * gpus, "free": free * gpus},
    }
    text = f"{online} of {len(rows)} nodes are online"
    ready = ("Ready", online == len(rows), "AllOnline" if online == len(rows) else "SomeMissing", text)
    state, health = _state(rows, document)
    face = Face(state.value, health, detail, conditions(ready), Because(Reason.AS_DESIRED, text))
    return describe(seen.world, identity, story, face)


def _state(rows: list[dict[str, Any]], document: NodePool | None) -> tuple[PoolState, Health]:
    states = {NodeState(row["state"]) for row in rows}
    if document is None:
        return PoolState.LEAVING, Health.PROGRESSING
    if states <= {NodeState.ONLINE}:
        return PoolState.READY, Health.READY
    if states & {NodeState.LOST, NodeState.UNHEALTHY}:
        return PoolState.DEGRADED, Health.DEGRADED
    if states <= {NodeState.ONLINE, NodeState.DRAINING, NodeState.OFFLINE}:
        return PoolState.DRAINING, Health.READY
    return PoolState.JOINING, Health.PROGRESSING


def _rows(seen: _Seen, document: NodePool | None, story: Story | None) -> Iterator[dict[str, Any]]:
    nodes: dict[str, Node] = {node.name: node for node in document.spec.nodes} if document is not None else {}
    drained = {drain.node for drain in document.spec.drain} if document is not None else set()
    # While a pool moves, a node may be remembered in two clusters.
    records = {key.partition("/")[2]: record for key, record in sorted(seen.records.items())}
    alive: dict[str, RayNode] = {}
    busy: dict[str, str] = {}
    for cluster in seen.clusters(document):
        alive.update(seen.alive.get(cluster, {}))
        busy.update(seen.held.get(cluster, {}))
    parts: Mapping[str, Because] = story.parts if story is not None else {}
    for name in sorted({*nodes, *records}):
        record = records.get(name)
        because = parts.get(name)
        state = _node_state(record, alive.get(name), because, out=name in drained or name not in nodes)
        yield {
            "name": name,
            "host": nodes[name].host if name in nodes else (record.machine.host if record is not None else ""),
            "state": state.value,
            "reason": because.reason.value if because is not None else "",
            "message": because.text if because is not None else "",
            "gpus": document.spec.per_node.gpus if document is not None else 0,
            "started": record.started.wall if record is not None else None,
            "job": busy.get(name),
        }


def _node_state(record: NodeRecord | None, ray: RayNode | None, because: Because | None, *, out: bool) -> NodeState:
    faulty = because is not None and because.reason in FAULTS
    if out:
        return NodeState.OFFLINE if record is None else NodeState.DRAINING
    if record is None:
        return NodeState.UNHEALTHY if faulty else NodeState.PENDING
    if ray is not None and record.joined is not None and record.stopping is None:
        return NodeState.ONLINE
    if record.joined is not None and record.stopping is None:
        return NodeState.LOST
    return NodeState.UNHEALTHY if faulty else NodeState.PENDING
