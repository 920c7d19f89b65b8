"""What people see of clusters."""

from collections.abc import Iterator

from reconciler.model.cluster import Cluster
from reconciler.model.ids import ObjectId
from reconciler.model.ledger import ClusterRecord
from reconciler.model.plan import Plan, Reason
from reconciler.model.projection import Face, Story, conditions, describe, stories
from reconciler.model.sighting import Unreachable
from reconciler.model.states import ClusterState
from reconciler.model.status import Health, ObjectStatus
from reconciler.model.views import cluster_view, documents, live_attempts
from reconciler.model.world import World


def status(world: World, plan: Plan) -> Iterator[ObjectStatus]:
    """Describe every cluster that is desired or still has something live."""
    told = stories(plan)
    desired = {i: d for i, d, _ in documents(world, "Cluster") if isinstance(d, Cluster)}
    kept = {ObjectId("Cluster", "", n) for n, r in world.ledger.clusters.items() if r.head is not None}
    for identity in sorted({*desired, *kept}):
        yield _one(world, identity, desired.get(identity), told.get(identity))


def _one(world: World, identity: ObjectId, document: Cluster | None, story: Story | None) -> ObjectStatus:
    record = world.ledger.clusters.get(identity.name, ClusterRecord())
    view = cluster_view(world, identity.name)
    sight = world.observed.heads.get(identity.name)
    asked = not (isinstance(sight, Unreachable) and not sight.asked)
    state, health = _state(record, story, ready=view.ready, asked=asked)
    running = sum(1 for _, _, attempt in live_attempts(world.ledger) if attempt.cluster == identity.name)
    nodes = [r for k, r in world.ledger.nodes.items() if k.startswith(f"{identity.name}/")]
    head = record.head
    detail = {
        "epoch": record.epoch,
        "head": None
        if head is None
        else {
            "node": head.node,
            "address": f"{head.machine.host}:{head.ports[0]}",
            "dashboard": f"http://{head.machine.host}:{head.ports[1]}",
            "session": head.session,
            "since": head.started.wall,
        },
        "rayVersion": document.spec.ray.version if document is not None else None,
        "nodes": {"online": sum(1 for r in nodes if r.joined is not None), "total": len(nodes)},
        "jobs": {"running": running, "max": document.spec.max_running_jobs if document is not None else None},
    }
    because = view.because
    published = head is not None and head.published
    ready = ("Ready", view.ready, because.reason.value, because.text)
    file = ("HeadFilePublished", published, "Published" if published else "NotYet", f"epoch {record.epoch}")
    return describe(world, identity, story, Face(state.value, health, detail, conditions(ready, file), because))


def _state(record: ClusterRecord, story: Story | None, *, ready: bool, asked: bool) -> tuple[ClusterState, Health]:
    if ready:
        return ClusterState.READY, Health.READY
    if record.head is None:
        return ClusterState.NO_HEAD, Health.FAILED if story is not None and story.faulty else Health.PROGRESSING
    if record.head.stopping is not None:
        return ClusterState.STOPPING, Health.PROGRESSING
    if record.head.session is None:
        return ClusterState.STARTING, Health.PROGRESSING
    if story is not None and (story.reason is Reason.MACHINE_UNREACHABLE or not asked):
        return ClusterState.UNKNOWN, Health.UNKNOWN
    if not record.head.published:
        return ClusterState.VERIFYING, Health.PROGRESSING
    return ClusterState.SILENT, Health.DEGRADED
