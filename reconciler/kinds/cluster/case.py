"""One cluster, everything about it side by side, for the rules that decide about it."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta

from reconciler.model.cluster import Cluster, ClusterSpec
from reconciler.model.effect import PublishHead, StartHead, StopSlot
from reconciler.model.ids import ObjectId
from reconciler.model.ledger import Change, ClusterRecord, Failed, HeadRecord, Table
from reconciler.model.machine import Machine
from reconciler.model.moment import Moment
from reconciler.model.plan import Action, Because, Decision, Hold, Note, Reason, Weight
from reconciler.model.ray import HeadSeen
from reconciler.model.sighting import Present, Sighting
from reconciler.model.views import documents, head_address, live_attempts
from reconciler.model.world import Role, SlotId, SlotSeen, World

HEAD_STOP_GRACE = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Case:
    """A cluster in one pass. `spec` is None when it left the repo; `attempts` and `nodes` are on it still."""

    world: World
    id: ObjectId
    spec: ClusterSpec | None
    digest: str
    record: ClusterRecord
    sight: Sighting[HeadSeen] | None
    attempts: int
    nodes: int

    @property
    def name(self) -> str:
        """The cluster's name."""
        return self.id.name

    @property
    def head(self) -> HeadRecord | None:
        """The head that the ledger says exists or may exist."""
        return self.record.head

    def slot(self, node: str) -> Sighting[SlotSeen] | None:
        """Return what was seen of the head slot on a node, None when nobody looked in this pass."""
        return self.world.observed.slots.get(SlotId(self.name, Role.HEAD, node))

    @property
    def answered(self) -> bool:
        """Whether anybody could say something about the head: itself, or its machine."""
        return isinstance(self.sight, Present) or (
            self.head is not None and isinstance(self.slot(self.head.node), Present)
        )

    @property
    def dead(self) -> bool:
        """Whether the head's machine says that nothing of it lives."""
        match self.slot(self.head.node) if self.head is not None else None:
            case Present(seen=slot):
                return not slot.state.alive
            case _:
                return False

    @property
    def pace(self) -> str:
        """The target of everything done to this head."""
        return f"head:{self.name}"

    def set(self, record: ClusterRecord) -> tuple[Change, ...]:
        """Return the ledger change that replaces this cluster's record."""
        return (Change(Table.CLUSTERS, self.name, record),)

    def note(self, because: Because, record: ClusterRecord) -> tuple[Decision, ...]:
        """Return the note that replaces this cluster's record."""
        return (Note(self.id, because, self.set(record)),)

    def hold(self, reason: Reason, text: str, until: Moment | None = None) -> tuple[Decision, ...]:
        """Return one hold."""
        timer = until if until is not None and self.world.now.is_before(until) else None
        return (Hold(self.id, Because(reason, text), timer),)

    def without_head(self) -> ClusterRecord:
        """Return the record with no head and the epoch kept."""
        return replace(self.record, head=None)

    def with_head(self, head: HeadRecord) -> ClusterRecord:
        """Return the record with the head replaced and the epoch kept."""
        return replace(self.record, head=head)

    def failed_again(self) -> ClusterRecord:
        """Return the record after one more start in vain."""
        assert self.head is not None, "only a start can fail"
        before = self.record.failed
        count = before.count if before is not None and before.digest == self.head.digest else 0
        return replace(self.record, failed=Failed(count + 1, self.world.now, self.head.digest))

    def start(self, because: Because) -> tuple[Decision, ...]:
        """Return the action that starts the next generation of the head."""
        assert self.spec is not None, "only a desired cluster is started"
        node, ports = self.spec.head.candidates[0], self.spec.head.ports
        head = HeadRecord(
            node=node.name,
            machine=Machine(node.host, node.user, node.port),
            digest=self.digest,
            ports=(ports.gcs, ports.dashboard, ports.client),
            started=self.world.now,
        )
        return self._start(head, self.record.epoch + 1, because)

    def start_again(self, because: Because) -> tuple[Decision, ...]:
        """Return the action that starts the recorded generation, of which nothing ever began."""
        assert self.head is not None, "only a recorded head is started again"
        return self._start(replace(self.head, started=self.world.now), self.record.epoch, because)

    def _start(self, head: HeadRecord, epoch: int, because: Because) -> tuple[Decision, ...]:
        spec = self.spec
        assert spec is not None, "only a desired cluster is started"
        effect = StartHead(
            cluster=self.name,
            node=head.node,
            machine=head.machine,
            epoch=epoch,
            ray_version=spec.ray.version,
            python=spec.ray.python,
            ports=head.ports,
            env=spec.head.env,
        )
        record = ClusterRecord(epoch, head, failed=self.record.failed)
        return (Action(self.id, effect, because, self.set(record), Weight.NONE, self.pace),)

    def stop(self, because: Because, weight: Weight = Weight.NONE) -> tuple[Decision, ...]:
        """Return the action that ends the head."""
        head = self.head
        assert head is not None, "only a recorded head is stopped"
        # A head's epoch counts its starts.
        epoch = self.record.epoch
        effect = StopSlot(self.name, Role.HEAD.value, head.node, head.machine, epoch, HEAD_STOP_GRACE)
        stopping = replace(self.record, head=replace(head, stopping=self.world.now))
        return (Action(self.id, effect, because, self.set(stopping), weight, self.pace),)

    def stop_failed(self, because: Because) -> tuple[Decision, ...]:
        """Return the action that ends a head which never came up, and counts it."""
        return replace(self, record=self.failed_again()).stop(because)

    def publish(self, because: Because, seen: HeadSeen) -> tuple[Decision, ...]:
        """Return the action that tells everybody where the verified head is."""
        head = self.head
        assert head is not None, "only a recorded head is published"
        assert head.session is not None, "only a verified head is published"
        effect = PublishHead(head_address(self.name, head), self.record.epoch, head.session, seen.ray_version)
        return (Action(self.id, effect, because, (), Weight.NONE, self.pace),)


def cases(world: World) -> Iterator[Case]:
    """Return every cluster that is desired or remembered, in the order of name."""
    desired = {
        identity.name: (identity, document.spec, digest)
        for identity, document, digest in documents(world, "Cluster")
        if isinstance(document, Cluster)
    }
    attempts = Counter(attempt.cluster for _, _, attempt in live_attempts(world.ledger))
    nodes = Counter(key.partition("/")[0] for key in world.ledger.nodes)
    for name in sorted({*desired, *world.ledger.clusters}):
        identity, spec, digest = desired.get(name, (ObjectId("Cluster", "", name), None, ""))
        record = world.ledger.clusters.get(name, ClusterRecord())
        sight = world.observed.heads.get(name)
        yield Case(world, identity, spec, digest, record, sight, attempts[name], nodes[name])
