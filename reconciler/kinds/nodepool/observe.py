"""Ask the machines of nodes that Ray does not show as expected."""

from collections.abc import Iterator

from reconciler.kind import Look
from reconciler.model.ledger import NodeRecord, node_key
from reconciler.model.machine import Machine
from reconciler.model.nodepool import NodePool
from reconciler.model.views import ClusterView, cluster_view, documents, ray_nodes
from reconciler.model.world import Role, SlotId, World
from reconciler.remote.slots import see_slot


def looks_then(world: World) -> Iterator[Look]:
    """Ask machines only where something is to be started, is stopping, or is missing in Ray."""
    views: dict[str, tuple[ClusterView, frozenset[str]]] = {}
    for (cluster, node), (machine, record) in sorted(_nodes(world).items()):
        if cluster not in views:
            view = cluster_view(world, cluster)
            views[cluster] = (view, frozenset(ray_nodes(view.seen)) if view.seen is not None else frozenset())
        view, alive = views[cluster]
        stopping = record is not None and record.stopping is not None
        if stopping or (view.ready and (record is None or node not in alive)):
            slot = SlotId(cluster, Role.WORKER, node)
            yield _slot_look(machine, slot)


def _nodes(world: World) -> dict[tuple[str, str], tuple[Machine, NodeRecord | None]]:
    nodes: dict[tuple[str, str], tuple[Machine, NodeRecord | None]] = {}
    for _, document, _ in documents(world, "NodePool"):
        assert isinstance(document, NodePool)
        out_of_service = {drain.node for drain in document.spec.drain}
        for node in document.spec.nodes:
            if node.name not in out_of_service:
                nodes[(document.spec.cluster, node.name)] = (node.machine, None)
    for key, record in world.ledger.nodes.items():
        cluster, _, name = key.partition("/")
        nodes[(cluster, name)] = (record.machine, record)
    return nodes


def _slot_look(machine: Machine, slot: SlotId) -> Look:
    return Look(
        "slots",
        slot,
        f"machine:{machine}",
        lambda doors: see_slot(doors.ask, machine, slot, doors.clock.now()),
        f"node:{node_key(slot.cluster, slot.node)}",
    )
