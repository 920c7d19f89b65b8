"""Look at heads: through Ray first, and at their machines where Ray does not answer."""

from collections.abc import Iterator
from dataclasses import replace

from reconciler.kind import Doors, Look
from reconciler.model.cluster import Cluster
from reconciler.model.ledger import ClusterRecord, HeadRecord, Ledger
from reconciler.model.machine import Machine
from reconciler.model.ray import HeadSeen
from reconciler.model.sighting import Present, Sighting
from reconciler.model.views import attempts_in_ray, documents, head_address
from reconciler.model.world import Role, SlotId, World
from reconciler.remote.slots import see_slot


def looks(ledger: Ledger) -> Iterator[Look]:
    """Look at every recorded head, its nodes and its live attempts: one poll per head."""
    for name, record in sorted(ledger.clusters.items()):
        if record.head is not None:
            yield _head_look(name, record.head, attempts_in_ray(ledger, name))


def _head_look(name: str, head: HeadRecord, ids: tuple[str, ...]) -> Look:
    address = head_address(name, head)

    def see(doors: Doors) -> Sighting[HeadSeen]:
        began = doors.clock.now()
        match doors.ray.look(address, ids, doors.site.request_timeout):
            case Present(seen=seen):
                # As old as the question: what happens while Ray answers may be missing in the answer.
                return Present(replace(seen, asked=frozenset(ids)), began)
            case silent:
                return silent

    return Look("heads", name, f"head:{name}", see, eagerly=head.session is None)


def looks_then(world: World) -> Iterator[Look]:
    """Ask the machine of every head that is to be started, is stopping, or does not answer as expected."""
    desired = {i.name: d.spec for i, d, _ in documents(world, "Cluster") if isinstance(d, Cluster)}
    for name in sorted({*desired, *world.ledger.clusters}):
        record = world.ledger.clusters.get(name, ClusterRecord())
        if record.head is not None:
            if not _as_expected(world, name, record.head):
                yield _slot_look(name, record.head.node, record.head.machine)
        elif name in desired:
            candidate = desired[name].head.candidates[0]
            yield _slot_look(name, candidate.name, candidate.machine)


def _as_expected(world: World, name: str, head: HeadRecord) -> bool:
    if head.stopping is not None:
        return False
    match world.observed.heads.get(name):
        case Present(seen=seen):
            return head.session is None or seen.session == head.session
        case _:
            return False


def _slot_look(cluster: str, node: str, machine: Machine) -> Look:
    slot = SlotId(cluster, Role.HEAD, node)
    return Look(
        "slots",
        slot,
        f"machine:{machine}",
        lambda doors: see_slot(doors.ask, machine, slot, doors.clock.now()),
        f"head:{cluster}",
        by_gate=True,
    )
