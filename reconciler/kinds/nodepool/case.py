"""One node, everything about it side by side, for the rules that decide about it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from reconciler.model.cluster import ClusterSpec
from reconciler.model.effect import DrainRayNode, StartWorker, StopSlot
from reconciler.model.ids import ObjectId
from reconciler.model.ledger import Change, DrainRecord, Failed, NodeRecord, Table, node_key
from reconciler.model.moment import Moment
from reconciler.model.nodepool import Drain, Node, NodePoolSpec
from reconciler.model.occupants import Occupant
from reconciler.model.plan import Action, Because, Decision, Hold, Note, Reason, Weight
from reconciler.model.ray import HeadAddress, RayNode
from reconciler.model.sighting import Present, Sighting
from reconciler.model.views import ClusterView
from reconciler.model.world import Role, SlotId, SlotSeen, World

NODE_STOP_GRACE = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Pool:
    """What all nodes of one pool share in one pass. `spec` is None when it left the repo."""

    id: ObjectId
    spec: NodePoolSpec | None
    shape: str
    cluster: ClusterView
    cluster_spec: ClusterSpec | None
    alive: Mapping[str, RayNode]
    busy: Mapping[str, str]
    no_stops: Because | None
    """Why no job is stopped for a drain now, if so."""


@dataclass(frozen=True, slots=True)
class Case:
    """A node in one pass. `node` is None when it left the repo."""

    world: World
    pool: Pool
    name: str
    node: Node | None
    drain: Drain | None
    record: NodeRecord | None
    drained: DrainRecord | None
    beside: Occupant | None
    """Another worker that has the machine, of a node that is not started."""

    @property
    def ray(self) -> RayNode | None:
        """The living raylet of this node, None also while the head cannot say."""
        return self.pool.alive.get(self.name)

    @property
    def slot(self) -> Sighting[SlotSeen] | None:
        """What its machine says, None when nobody asked in this pass."""
        return self.world.observed.slots.get(SlotId(self.pool.cluster.name, Role.WORKER, self.name))

    @property
    def answered(self) -> bool:
        """Whether anybody could say something about the node: its head, or its machine."""
        return self.ray is not None or isinstance(self.slot, Present)

    @property
    def key(self) -> str:
        """The ledger key of this node."""
        return node_key(self.pool.cluster.name, self.name)

    @property
    def pace(self) -> str:
        """The target of everything done to this node."""
        return f"node:{self.key}"

    @property
    def holder(self) -> str | None:
        """The submission that occupies this node."""
        return self.pool.busy.get(self.name)

    def set(self, record: NodeRecord | None) -> tuple[Change, ...]:
        """Return the ledger change that replaces this node's record."""
        return (Change(Table.NODES, self.key, record),)

    def hold(self, because: Because, until: Moment | None = None) -> tuple[Decision, ...]:
        """Return one hold about this node; a timer that has passed still says that the time was asked."""
        return (Hold(self.pool.id, because, until, self.name),)

    def silent(self, text: str) -> tuple[Decision, ...]:
        """Return the hold for a machine that does not answer."""
        return self.hold(Because(Reason.MACHINE_UNREACHABLE, f"{self.name} cannot be reached: {text}"))

    def forget_absence(self) -> tuple[Decision, ...] | None:
        """Return the note that a node's absence counts only while head and machine answer, if it was counted.

        After a cut network they return one by one.
        """
        record = self.record
        if record is None or record.missing_since is None:
            return None
        text = f"nobody can say at present whether {self.name} is missing"
        return self.note(Because(Reason.MACHINE_UNREACHABLE, text), self.set(replace(record, missing_since=None)))

    def note(self, because: Because, changes: tuple[Change, ...]) -> tuple[Decision, ...]:
        """Return one note about this node."""
        return (Note(self.pool.id, because, changes),)

    def fresh(self, node: Node, generation: int) -> NodeRecord:
        """Return the record of a start that begins now; failures with the same settings stay counted."""
        failed = self.record.failed if self.record is not None else None
        kept = failed if failed is not None and failed.digest == self.pool.shape else None
        pool = self.pool
        return NodeRecord(
            pool=pool.id.name,
            machine=node.machine,
            epoch=pool.cluster.epoch,
            digest=pool.shape,
            started=self.world.now,
            failed=kept,
            generation=generation,
        )

    def failed_again(self, record: NodeRecord) -> NodeRecord:
        """Return the record after one more start in vain."""
        before = record.failed
        count = before.count if before is not None and before.digest == record.digest else 0
        return replace(record, failed=Failed(count + 1, self.world.now, record.digest))

    def start(self, because: Because) -> tuple[Decision, ...]:
        """Return the action that starts Ray on this node."""
        node, pool, spec, cluster = self.node, self.pool, self.pool.spec, self.pool.cluster_spec
        assert node is not None, "only a node in the repo is started"
        assert spec is not None, "a node in the repo has a pool"
        assert cluster is not None, "a ready cluster is desired"
        assert pool.cluster.head is not None, "a ready cluster has a head"
        generation = self._newest() + 1
        effect = StartWorker(
            cluster=pool.cluster.name,
            node=node.name,
            machine=node.machine,
            epoch=pool.cluster.epoch,
            generation=generation,
            ray_version=cluster.ray.version,
            python=cluster.ray.python,
            head=f"{pool.cluster.head.host}:{pool.cluster.head.gcs_port}",
            gpus=spec.per_node.gpus,
            cpus=spec.per_node.cpus,
            memory_bytes=spec.per_node.memory,
            labels=spec.labels,
            env=spec.env,
        )
        number = Change(Table.NUMBERS, self._number, generation)
        before = (number, *self.set(self.fresh(node, generation)))
        return (Action(pool.id, effect, because, before, Weight.NONE, self.pace),)

    def stop(self, record: NodeRecord, because: Because, weight: Weight = Weight.NONE) -> tuple[Decision, ...]:
        """Return the action that ends Ray on this node."""
        cluster, role = self.pool.cluster.name, Role.WORKER.value
        effect = StopSlot(cluster, role, self.name, record.machine, self._newest(), NODE_STOP_GRACE)
        before = self.set(replace(record, stopping=self.world.now))
        return (Action(self.pool.id, effect, because, before, weight, self.pace),)

    @property
    def _number(self) -> str:
        return f"node/{self.key}"

    def _newest(self) -> int:
        """Return the newest start of this node that anybody knows of; after a recovery its machine knows best."""
        recorded = self.record.generation if self.record is not None else 0
        seen = self.slot.seen.generation if isinstance(self.slot, Present) else None
        return max(recorded, self.world.ledger.numbers.get(self._number, 0), seen or 0)

    def tell_ray(
        self, head: HeadAddress, ray: RayNode, drain: Drain, because: Because, weight: Weight
    ) -> tuple[Decision, ...]:
        """Return the action that tells the head that this node leaves."""
        told = self.drained or DrainRecord(self.pool.id.name, self.world.now)
        change = Change(Table.DRAINS, self.key, replace(told, told_ray=True))
        effect = DrainRayNode(head, self.name, ray.node_id, drain.reason)
        return (Action(self.pool.id, effect, because, (change,), weight, self.pace),)
