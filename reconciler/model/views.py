"""Readings of the world that several kinds need: is a cluster ready, which nodes are up, who is held."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from operator import attrgetter

from reconciler.model.cluster import Cluster
from reconciler.model.derived import Derived, Paired
from reconciler.model.desired import Loaded
from reconciler.model.ids import ObjectId
from reconciler.model.ledger import Attempt, HeadRecord, JobRecord, Known, Ledger, NodeRecord, node_key
from reconciler.model.nodepool import NodePool, shape_digest
from reconciler.model.plan import Because, Reason
from reconciler.model.ray import HeadAddress, HeadSeen
from reconciler.model.sighting import Absent, Present, Unreachable
from reconciler.model.world import World


def head_address(cluster: str, head: HeadRecord) -> HeadAddress:
    """Return how to reach a recorded head."""
    gcs, dashboard, client = head.ports
    return HeadAddress(cluster, head.machine.host, gcs, dashboard, client)


@dataclass(frozen=True, slots=True)
class ClusterView:
    """A cluster as others see it: usable only while its published head answers with the recorded session."""

    name: str
    epoch: int
    head: HeadAddress | None
    seen: HeadSeen | None
    because: Because

    @property
    def ready(self) -> bool:
        """Whether work may be sent there now."""
        return self.seen is not None


def cluster_view(world: World, name: str) -> ClusterView:
    """Read one cluster; `because` says why it is not ready, or that it is."""
    record = world.ledger.clusters.get(name)
    if record is None or record.head is None:
        because = Because(Reason.CLUSTER_NOT_READY, f"cluster {name} has no head yet")
        return ClusterView(name, record.epoch if record else 0, None, None, because)
    head = record.head
    address = head_address(name, head)
    match world.observed.heads.get(name):
        case Present(seen=seen) if head.published and seen.session == head.session and seen.token_required:
            ok = Because(Reason.AS_DESIRED, f"head {head.node} answers", (("epoch", record.epoch),))
            return ClusterView(name, record.epoch, address, seen, ok)
        case Present():
            because = Because(
                Reason.CLUSTER_NOT_READY, f"head {head.node} of {name} is not verified and published yet"
            )
        case Absent():
            because = Because(Reason.HEAD_UNREACHABLE, f"head {head.node} of {name} refuses connections")
        case Unreachable(reason=text):
            because = Because(Reason.HEAD_UNREACHABLE, f"head {head.node} of {name} does not answer: {text}")
        case None:
            because = Because(Reason.CLUSTER_NOT_READY, f"head {head.node} of {name} was not looked at yet")
    return ClusterView(name, record.epoch, address, None, because)


def live_attempts(ledger: Ledger) -> Iterator[tuple[ObjectId, JobRecord, Attempt]]:
    """Return every attempt that may run, in the order of its job's identity. Unknown counts as running."""
    live = _LIVE.of(ledger.jobs)
    for key in sorted(live):
        yield live[key]


def attempts_in_ray(ledger: Ledger, cluster: str) -> tuple[str, ...]:
    """Return the submission ids that a head may still have a record of, live or ended."""
    records = _IN_RAY.of(ledger.jobs)
    return tuple(each.submission_id for key in sorted(records) for each in records[key] if each.cluster == cluster)


def _live(key: str, record: JobRecord) -> tuple[str, tuple[ObjectId, JobRecord, Attempt]] | None:
    live = record.live
    return (key, (job_id(key), record, live)) if live is not None else None


def _in_ray(key: str, record: JobRecord) -> tuple[str, tuple[Attempt, ...]] | None:
    attempts = tuple(attempt for attempt in record.attempts if not attempt.cleaned)
    return (key, attempts) if attempts else None


_LIVE = Derived(_live)
_IN_RAY = Derived(_in_ray)


def job_id(key: str) -> ObjectId:
    """Return the identity behind a ledger key of the job table."""
    _, team, name = key.split("/")
    return ObjectId("Job", team, name)


def object_id(key: str) -> ObjectId:
    """Return the identity behind a ledger key of the known table: `Kind/team/name`, team may be empty."""
    kind, team, name = key.split("/")
    return ObjectId(kind, team, name)


def known_key(identity: ObjectId) -> str:
    """Return the ledger key of an object in the known table."""
    return f"{identity.kind}/{identity.team}/{identity.name}"


def departed(world: World) -> list[str]:
    """Return the known keys of objects that are not desired any more, in order."""
    return sorted(_DEPARTED.of(_DIGESTS.of(world.desired.objects), world.ledger.known))


def unknown(world: World) -> Mapping[str, str]:
    """Return by known key the digests of objects that are not known as they are desired, or known as leaving."""
    return _UNKNOWN.of(_DIGESTS.of(world.desired.objects), world.ledger.known)


def _unknown(_: str, digest: str | None, known: Known | None) -> str | None:
    return digest if known is None or known.digest != digest or known.released else None


_DIGESTS: Derived[ObjectId, Loaded, str] = Derived(
    lambda identity, loaded: (known_key(identity), loaded.digest),
)
_UNKNOWN = Paired(_unknown)
_DEPARTED: Paired[str, str, Known, bool] = Paired(
    lambda _, digest, known: True if digest is None and known is not None else None
)


def holders(world: World) -> dict[str, dict[str, str]]:
    """Return for each cluster the nodes that attempts hold, with the submission id that holds each.

    One pass over all jobs: ask once and look up, never once per node or pool.
    """
    held: dict[str, dict[str, str]] = {}
    for _, _, attempt in live_attempts(world.ledger):
        held.setdefault(attempt.cluster, {}).update(dict.fromkeys(attempt.nodes, attempt.submission_id))
    return held


def documents(world: World, kind: str) -> Iterator[tuple[ObjectId, object, str]]:
    """Return the desired objects of one kind with their digests, in the order of identity."""
    objects = world.desired.objects if kind == "Job" else _FEW.of(world.desired.objects)
    for loaded in sorted((each for each in objects.values() if each.id.kind == kind), key=attrgetter("id")):
        yield loaded.id, loaded.document, loaded.digest


# Jobs are nearly all there is; whoever asks for another kind does not go through them.
_FEW: Derived[ObjectId, Loaded, Loaded] = Derived(
    lambda identity, loaded: (known_key(identity), loaded) if identity.kind != "Job" else None
)


def shapes(world: World) -> Mapping[str, str]:
    """Return by pool the digest of what each of its nodes runs with."""
    return _SHAPES.of(_FEW.of(world.desired.objects))


_SHAPES: Derived[str, Loaded, str] = Derived(
    lambda _, loaded: (loaded.id.name, shape_digest(loaded.document.spec)) if loaded.id.kind == "NodePool" else None
)


def node_names(world: World) -> Mapping[str, frozenset[str]]:
    """Return by pool the names of its nodes."""
    return _NODE_NAMES.of(_FEW.of(world.desired.objects))


def _node_names(_: str, loaded: Loaded) -> tuple[str, frozenset[str]] | None:
    if loaded.id.kind != "NodePool":
        return None
    return loaded.id.name, frozenset(node.name for node in loaded.document.spec.nodes)


_NODE_NAMES = Derived(_node_names)


def pool_of(world: World, name: str) -> NodePool | None:
    """Return a desired pool by name."""
    loaded = world.desired.objects.get(ObjectId("NodePool", "", name))
    return loaded.document if loaded is not None and isinstance(loaded.document, NodePool) else None


def cluster_of(world: World, name: str) -> Cluster | None:
    """Return a desired cluster by name."""
    loaded = world.desired.objects.get(ObjectId("Cluster", "", name))
    return loaded.document if loaded is not None and isinstance(loaded.document, Cluster) else None


def node_record(world: World, cluster: str, node: str) -> NodeRecord | None:
    """Return what the ledger holds of a node."""
    return world.ledger.nodes.get(node_key(cluster, node))


def frozen_because(world: World, identity: ObjectId) -> Because | None:
    """Say why no action may be taken on an object: it is suspended, or something about it cannot be right."""
    loaded = world.desired.objects.get(identity)
    if loaded is None:
        return None
    if loaded.document.spec.suspend:
        return Because(Reason.SUSPENDED, "suspend is set: nothing is done to it until that is removed")
    if problems := world.desired.problems.get(identity):
        return Because(Reason.INVALID, "; ".join(problems))
    return None
