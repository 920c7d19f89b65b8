"""Ask the machines of nodes that Ray does not show as expected."""

from collections.abc import Iterator

from reconciler.kind import Look
from reconciler.model.ledger import NodeRecord, node_key
from reconciler.model.machine import Machine
from reconciler.model.nodepool import NodePool
from reconciler.model.views import ClusterView, cluster_view, documents
from reconciler.model.world import Role, SlotId, World
from reconciler.remote.slots import see_slot


def looks_then(world: World) -> Iterator[Look]:
    """Ask machines only where something is to be started, is leaving or stopping, or is missing in Ray."""
    views: dict[str, tuple[ClusterView, frozenset[str]]] = {}
    in_service = _in_service(world)
    nodes: dict[str, tuple[Machine, NodeRecord | None]] = {key: (m, None) for key, m in in_service.items()}
    nodes.update({key: (record.machine, record) for key, record in world.ledger.nodes.items()})
    for key, (machine, record) in sorted(nodes.items()):
        cluster, _, node = key.partition("/")
        if cluster not in views:
            view = cluster_view(world, cluster)
            views[cluster] = (view, frozenset(view.seen.living) if view.seen is not None else frozenset())
        view, alive = views[cluster]
        stopping = record is not None and record.stopping is not None
        wanted = view.ready or key not in in_service
        if stopping or (wanted and (record is None or node not in alive)):
            yield _slot_look(machine, SlotId(cluster, Role.WORKER, node))


def _in_service(world: World) -> dict[str, Machine]:
    nodes: dict[str, Machine] = {}
    for _, document, _ in documents(world, "NodePool"):
        assert isinstance(document, NodePool)
        drained = {drain.node for drain in document.spec.drain}
        for node in document.spec.nodes:
            if node.name not in drained:
                nodes[node_key(document.spec.cluster, node.name)] = node.machine
    return nodes


def _slot_look(machine: Machine, slot: SlotId) -> Look:
    return Look(
        "slots",
        slot,
        f"machine:{machine}",
        lambda doors: see_slot(doors.ask, machine, slot, doors.clock.now()),
        f"node:{node_key(slot.cluster, slot.node)}",
        by_gate=True,
    )
