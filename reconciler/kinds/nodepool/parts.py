"""The nodes of pools, part by part: those that a pool has in one cluster share what is read and what is said."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import TypeAlias

from reconciler.kinds.nodepool.case import Case, Pool
from reconciler.model.derived import Grouped, Memo
from reconciler.model.ids import ObjectId
from reconciler.model.ledger import DrainRecord, NodeRecord, node_key
from reconciler.model.moment import Moment
from reconciler.model.nodepool import NodePool, NodePoolSpec
from reconciler.model.occupants import Occupant, Occupants
from reconciler.model.plan import Because, Decision, Hold
from reconciler.model.ray import RayNode
from reconciler.model.shares import held_drains, no_stops
from reconciler.model.sighting import Sighting
from reconciler.model.views import ClusterView, cluster_of, cluster_view, documents, holders, shapes
from reconciler.model.world import Role, SlotSeen, World


@dataclass(frozen=True, slots=True)
class _Up:
    """A cluster and its living nodes: read once per pass, however many pools it has."""

    view: ClusterView
    alive: Mapping[str, RayNode]

    @classmethod
    def of(cls, world: World, name: str) -> "_Up":
        view = cluster_view(world, name)
        return cls(view, view.seen.living if view.seen is not None else {})


Name: TypeAlias = tuple[str, str]
"""A node's name, and its key in the ledger."""


@dataclass(frozen=True, slots=True)
class Part:
    """The nodes that a pool has in one cluster: in the repo, in the ledger, or both."""

    world: World
    pool: Pool
    names: tuple[Name, ...]
    slots: Mapping[str, Sighting[SlotSeen]]
    occupants: Occupants

    @property
    def label(self) -> str:
        """A text for this part that no other has."""
        return f"{self.pool.id.name}/{self.pool.cluster.name}"

    def read(self) -> tuple[object, ...]:
        """Return all that the rules read of these nodes but the time."""
        pool, ledger = self.pool, self.world.ledger
        view, nodes, drains = pool.cluster, ledger.nodes, ledger.drains
        alive, busy, slots = pool.alive, pool.busy, self.slots
        return (
            (
                pool.spec,
                pool.cluster_spec,
                view.name,
                view.epoch,
                view.head,
                view.ready,
                view.because,
                pool.no_stops,
            ),
            self.names,
            [(nodes.get(k), drains.get(k), alive.get(n), busy.get(n), slots.get(k)) for n, k in self.names],
            self._beside(),
        )

    def _beside(self) -> dict[str, Occupant]:
        spec = self.pool.spec
        return self.occupants.beside(self.pool.cluster.name, spec.nodes) if spec else {}

    def cases(self) -> Iterator[Case]:
        """Return each node with everything about it."""
        spec = self.pool.spec
        nodes = {node.name: node for node in spec.nodes} if spec else {}
        drains, beside = {drain.node: drain for drain in spec.drain} if spec else {}, self._beside()
        for name, key in self.names:
            record, drained = self.world.ledger.nodes.get(key), self.world.ledger.drains.get(key)
            node, drain = nodes.get(name), drains.get(name)
            yield Case(self.world, self.pool, name, node, drain, record, drained, beside.get(name))


def decisions(world: World, decide: Callable[[Case], tuple[Decision, ...]]) -> Iterator[Decision]:
    """Return what `decide` says about every node that is desired or remembered."""
    labels = []
    for part in _parts(world):
        labels.append(part.label)
        yield from _decided(part, decide)
    _HELD.forget_all_but(labels)


# Of nodes that all wait, and for no timer, the same is said until what the rules read of them is something else.
_HELD: Memo[tuple[object, ...], tuple[Decision, ...]] = Memo()


def _decided(part: Part, decide: Callable[[Case], tuple[Decision, ...]]) -> tuple[Decision, ...]:
    read = part.read()
    if (known := _HELD.get(part.label, read)) is not None:
        return known
    said = tuple(chain.from_iterable(map(decide, part.cases())))
    if all(isinstance(each, Hold) and each.until is None for each in said):
        return _HELD.keep(part.label, read, said)
    return tuple(_without_passed_timer(each, part.world.now) for each in said)


def _without_passed_timer(decision: Decision, now: Moment) -> Decision:
    if isinstance(decision, Hold) and decision.until is not None and not now.is_before(decision.until):
        return replace(decision, until=None)
    return decision


def _parts(world: World) -> Iterator[Part]:
    """Return every node that is desired or remembered, pool by pool."""
    remembered = _remembered(world)
    pools = [(who, each.spec) for who, each, _ in documents(world, "NodePool") if isinstance(each, NodePool)]
    names_of_clusters = {spec.cluster for _, spec in pools} | {cluster for _, cluster in remembered}
    clusters = {name: _Up.of(world, name) for name in names_of_clusters}
    held, drains = holders(world), held_drains(world)
    occupants = Occupants.of(world, held)
    slots = {
        node_key(slot.cluster, slot.node): seen
        for slot, seen in world.observed.slots.items()
        if slot.role is Role.WORKER
    }
    for identity, spec in pools:
        no_stops_now = no_stops(world, identity, spec.cluster, drains)
        pool = _pool(world, identity, spec, clusters[spec.cluster], held, no_stops_now)
        yield Part(world, pool, _names(pool, remembered.pop((identity.name, spec.cluster), ())), slots, occupants)
    for (pool_name, cluster), nodes in sorted(remembered.items()):
        pool = _pool(world, ObjectId("NodePool", "", pool_name), None, clusters[cluster], held)
        yield Part(world, pool, _names(pool, nodes), slots, occupants)
    _NAMES.forget_all_but([*(f"{who.name}/{spec.cluster}" for who, spec in pools), *map("/".join, remembered)])


def _remembered(world: World) -> dict[tuple[str, str], tuple[str, ...]]:
    """Return what the ledger holds, by pool and cluster: a pool may have moved from one cluster to another."""
    names = dict(_NODES.of(world.ledger.nodes))
    for place, nodes in _DRAINS.of(world.ledger.drains).items():
        names[place] = (*names.get(place, ()), *nodes)
    return names


def _place(key: str, record: NodeRecord | DrainRecord) -> tuple[str, str]:
    return record.pool, key.partition("/")[0]


def _nodes(records: Mapping[str, NodeRecord | DrainRecord]) -> tuple[str, ...]:
    return tuple(key.partition("/")[2] for key in records)


_NODES: Grouped[str, NodeRecord, tuple[str, str], tuple[str, ...]] = Grouped(_place, _nodes)
_DRAINS: Grouped[str, DrainRecord, tuple[str, str], tuple[str, ...]] = Grouped(_place, _nodes)


def _pool(
    world: World,
    identity: ObjectId,
    spec: NodePoolSpec | None,
    up: _Up,
    held: Mapping[str, Mapping[str, str]],
    no_stops_now: Because | None = None,
) -> Pool:
    desired = cluster_of(world, up.view.name)
    shape = shapes(world)[identity.name] if spec is not None else ""
    busy = held.get(up.view.name, {})
    return Pool(identity, spec, shape, up.view, desired.spec if desired else None, up.alive, busy, no_stops_now)


def _names(pool: Pool, remembered: tuple[str, ...]) -> tuple[Name, ...]:
    label, given = f"{pool.id.name}/{pool.cluster.name}", (pool.spec, remembered)
    if (known := _NAMES.get(label, given)) is not None:
        return known
    nodes = {*remembered, *(node.name for node in pool.spec.nodes)} if pool.spec else remembered
    names = tuple((name, node_key(pool.cluster.name, name)) for name in sorted(nodes))
    return _NAMES.keep(label, given, names)


_NAMES: Memo[tuple[NodePoolSpec | None, tuple[str, ...]], tuple[Name, ...]] = Memo()
