"""Decide about a cluster's head: start, verify, publish, fence, replace, withdraw."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TypeAlias

from reconciler.model.cluster import Cluster, ClusterSpec
from reconciler.model.effect import PublishHead, StartHead, StopSlot, WithdrawHead
from reconciler.model.ids import ObjectId
from reconciler.model.ledger import Change, ClusterRecord, HeadRecord, Record, Table
from reconciler.model.machine import Machine
from reconciler.model.plan import Action, Because, Decision, Hold, Note, Reason, Weight
from reconciler.model.ray import HeadSeen
from reconciler.model.sighting import Absent, Present, Sighting, Unreachable
from reconciler.model.views import documents, head_address, live_attempts
from reconciler.model.world import Role, SlotId, SlotSeen, SlotState, World

HEAD_STOP_GRACE = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Case:
    """One cluster, everything about it side by side. `spec` is None when it left the repo."""

    world: World
    id: ObjectId
    spec: ClusterSpec | None
    digest: str
    record: ClusterRecord
    sight: Sighting[HeadSeen] | None

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

    def set(self, record: ClusterRecord | None) -> tuple[Change, ...]:
        """Return the ledger change that replaces this cluster's record."""
        value: Record | None = record
        return (Change(Table.CLUSTERS, self.name, value),)

    def set_head(self, head: HeadRecord | None) -> tuple[Change, ...]:
        """Return the ledger change that replaces the head and keeps the epoch."""
        return self.set(replace(self.record, head=head))

    def pace(self) -> str:
        """Return the target of everything done to this head."""
        return f"head:{self.name}"


Rule: TypeAlias = Callable[[Case], tuple[Decision, ...] | None]


def plan(world: World) -> Iterator[Decision]:
    """Decide about every cluster that is desired or remembered."""
    desired = {
        identity.name: (identity, document, digest)
        for identity, document, digest in documents(world, "Cluster")
        if isinstance(document, Cluster)
    }
    for name in sorted({*desired, *world.ledger.clusters}):
        identity, document, digest = desired.get(name, (ObjectId("Cluster", "", name), None, ""))
        record = world.ledger.clusters.get(name, ClusterRecord())
        sight = world.observed.heads.get(name)
        case = Case(world, identity, document.spec if document else None, digest, record, sight)
        yield from next(decisions for rule in RULES if (decisions := rule(case)) is not None)


def _removed_and_gone(case: Case) -> tuple[Decision, ...] | None:
    if case.spec is not None or case.head is not None:
        return None
    because = Because(Reason.REMOVED, "no head is left")
    if case.record.withdrawn or case.record.epoch == 0:
        return ()
    # The record with its epoch stays: a cluster of the same name must never repeat one.
    return (Action(case.id, WithdrawHead(case.name), because, (), Weight.REMOVES, case.pace()),)


def _removed_but_in_use(case: Case) -> tuple[Decision, ...] | None:
    if case.spec is not None:
        return None
    if jobs := _jobs_on(case):
        text = f"removed from the repo; its head stays until {jobs} attempts have ended"
        return (Hold(case.id, Because(Reason.BUSY, text, (("attempts", jobs),))),)
    if nodes := _nodes_on(case):
        text = f"removed from the repo; its head stays until {nodes} nodes have left"
        return (Hold(case.id, Because(Reason.BUSY, text, (("nodes", nodes),))),)
    return None


def _stopping(case: Case) -> tuple[Decision, ...] | None:
    head = case.head
    if head is None or head.stopping is None:
        return None
    match case.slot(head.node):
        case Present(seen=slot) if not slot.state.alive:
            because = Because(Reason.OBSERVED, f"head on {head.node} is gone", (("epoch", case.record.epoch),))
            return (Note(case.id, because, case.set_head(None)),)
        case Present() if case.world.now.since(head.stopping) >= case.world.tuning.stop_repeat:
            return (_stop(case, head, Because(Reason.STOPPING, f"head on {head.node} still runs: asked again")),)
        case Present() | None:
            because = Because(Reason.STOPPING, f"waiting for the head on {head.node} to end")
            return (Hold(case.id, because, head.stopping + case.world.tuning.stop_repeat),)
        case Absent() | Unreachable():
            return (Hold(case.id, _machine_silent(case, head)),)


def _removed(case: Case) -> tuple[Decision, ...] | None:
    if case.spec is not None or case.head is None:
        return None
    because = Because(Reason.REMOVED, "removed from the repo and no longer in use")
    return (_stop(case, case.head, because, Weight.REMOVES),)


def _no_head(case: Case) -> tuple[Decision, ...] | None:
    if case.head is not None or case.spec is None:
        return None
    candidate = case.spec.head.candidates[0]
    match case.slot(candidate.name):
        case Present(seen=slot) if slot.state.alive:
            text = (
                f"{candidate.name} runs a head of {case.name} (epoch {slot.epoch}) that this ledger does not know; "
                "stop it by hand, or restore the ledger"
            )
            return (Hold(case.id, Because(Reason.FOREIGN_HEAD, text)),)
        case Present():
            reason = Reason.NEW if case.record.epoch == 0 else Reason.HEAD_DIED
            return (_start(case, Because(reason, f"no head runs; starting one on {candidate.name}")),)
        case None:
            return (Hold(case.id, Because(Reason.STARTING, f"looking at {candidate.name} before starting a head")),)
        case Absent():
            return (Hold(case.id, Because(Reason.MACHINE_UNREACHABLE, f"{candidate.name} has no gate")),)
        case Unreachable(reason=text):
            return (
                Hold(case.id, Because(Reason.MACHINE_UNREACHABLE, f"{candidate.name} cannot be reached: {text}")),
            )


def _wrong_head(case: Case) -> tuple[Decision, ...] | None:
    head, sight = case.head, case.sight
    if head is None or not isinstance(sight, Present):
        return None
    seen = sight.seen
    if case.spec is not None and seen.ray_version != case.spec.ray.version and head.digest == case.digest:
        text = f"head on {head.node} runs Ray {seen.ray_version}, the repo asks for {case.spec.ray.version}"
        return (Hold(case.id, Because(Reason.WRONG_VERSION, f"{text}; install it there, or correct the version")),)
    if not seen.token_required:
        text = f"head on {head.node} answers without a token; it is not published. Stop it and look who started it"
        return (Hold(case.id, Because(Reason.NO_TOKEN_REQUIRED, text)),)
    if head.session is not None and seen.session != head.session:
        return _replaced_head(case, head)
    return None


def _replaced_head(case: Case, head: HeadRecord) -> tuple[Decision, ...]:
    """Another head answers on our port: ours is dead if its machine says so, else nobody may act."""
    match case.slot(head.node):
        case Present(seen=slot) if not slot.state.alive:
            because = Because(
                Reason.HEAD_DIED, f"head on {head.node} is gone and a foreign one answers on its port"
            )
            return (Note(case.id, because, case.set_head(None)),)
        case _:
            text = f"a head with another session answers on {head.node}:{head.ports[1]}; find out who started it"
            return (Hold(case.id, Because(Reason.FOREIGN_HEAD, text)),)


def _newly_seen(case: Case) -> tuple[Decision, ...] | None:
    head, sight = case.head, case.sight
    if head is None or not isinstance(sight, Present):
        return None
    if head.session is None:
        because = Because(Reason.OBSERVED, f"head on {head.node} answers and asks for a token")
        return (
            Note(case.id, because, case.set_head(replace(head, session=sight.seen.session, silent_since=None))),
        )
    if head.silent_since is not None:
        because = Because(Reason.OBSERVED, f"head on {head.node} answers again")
        return (Note(case.id, because, case.set_head(replace(head, silent_since=None))),)
    if not head.published:
        effect = PublishHead(head_address(case.name, head), case.record.epoch, head.session, sight.seen.ray_version)
        because = Because(Reason.NEW, f"head on {head.node} is verified", (("epoch", case.record.epoch),))
        return (Action(case.id, effect, because, (), Weight.NONE, case.pace()),)
    return None


def _edited(case: Case) -> tuple[Decision, ...] | None:
    head = case.head
    if head is None or case.spec is None or head.digest == case.digest:
        return None
    if jobs := _jobs_on(case):
        text = f"the edit needs a new head; it waits until {jobs} attempts have ended"
        return (Hold(case.id, Because(Reason.BUSY, text, (("attempts", jobs),))),)
    return (
        _stop(case, head, Because(Reason.CHANGED, "what the head runs with was edited and no attempt is live")),
    )


def _answers(case: Case) -> tuple[Decision, ...] | None:
    return () if isinstance(case.sight, Present) else None


def _proven_dead(case: Case) -> tuple[Decision, ...] | None:
    head = case.head
    if head is None:
        return None
    match case.slot(head.node):
        case Present(seen=slot) if slot.state.alive:
            return None
        case Present(seen=slot) if slot.epoch != case.record.epoch:
            # The start never arrived: the same epoch again is safe, since the gate starts an epoch at most once.
            return (_start_again(case, head),)
        case Present(seen=slot) if slot.state is SlotState.FAILED and head.session is None:
            because = Because(Reason.HEAD_START_FAILED, f"head on {head.node} did not start: {slot.message}")
            return (Note(case.id, because, case.set_head(None)),)
        case Present(seen=slot):
            because = Because(Reason.HEAD_DIED, f"head on {head.node} is {slot.state.value}: {slot.message}")
            return (Note(case.id, because, case.set_head(None)),)
        case _:
            return None


def _silent(case: Case) -> tuple[Decision, ...]:
    head = case.head
    assert head is not None, "rules before this one answer for a cluster without a head"
    slot = case.slot(head.node)
    if slot is None or not isinstance(slot, Present):
        return (Hold(case.id, _machine_silent(case, head)),)
    now, tuning = case.world.now, case.world.tuning
    if head.session is None:
        if now.since(head.started) < tuning.head_start:
            because = Because(Reason.STARTING, f"head on {head.node} is starting", (("epoch", case.record.epoch),))
            return (Hold(case.id, because, head.started + tuning.head_start),)
        seconds = int(tuning.head_start.total_seconds())
        return (_stop(case, head, Because(Reason.HEAD_START_FAILED, f"no answer within {seconds} s of its start")),)
    if head.silent_since is None:
        because = Because(Reason.HEAD_SILENT, f"head on {head.node} lives but does not answer")
        return (Note(case.id, because, case.set_head(replace(head, silent_since=now))),)
    if now.since(head.silent_since) < tuning.head_silence:
        because = Because(
            Reason.HEAD_SILENT, f"head on {head.node} lives but does not answer; fenced if it stays so"
        )
        return (Hold(case.id, because, head.silent_since + tuning.head_silence),)
    return (
        _stop(case, head, Because(Reason.HEAD_SILENT, f"head on {head.node} lives but stayed silent: fencing it")),
    )


# First match wins.
RULES: tuple[Rule, ...] = (
    _removed_and_gone,
    _removed_but_in_use,
    _stopping,
    _removed,
    _no_head,
    _wrong_head,
    _newly_seen,
    _edited,
    _answers,
    _proven_dead,
    _silent,
)


def _start(case: Case, because: Because) -> Action:
    assert case.spec is not None, "only a desired cluster is started"
    node = case.spec.head.candidates[0]
    ports = case.spec.head.ports
    head = HeadRecord(
        node=node.name,
        machine=Machine(node.host, node.user, node.port),
        digest=case.digest,
        ports=(ports.gcs, ports.dashboard, ports.client),
        started=case.world.now,
    )
    epoch = case.record.epoch + 1
    return _start_action(case, head, epoch, because)


def _start_again(case: Case, head: HeadRecord) -> Action:
    because = Because(Reason.OUTCOME_UNKNOWN, f"{head.node} never began to start epoch {case.record.epoch}: again")
    return _start_action(case, replace(head, started=case.world.now), case.record.epoch, because)


def _start_action(case: Case, head: HeadRecord, epoch: int, because: Because) -> Action:
    spec = case.spec
    assert spec is not None, "only a desired cluster is started"
    effect = StartHead(
        cluster=case.name,
        node=head.node,
        machine=head.machine,
        epoch=epoch,
        ray_version=spec.ray.version,
        python=spec.ray.python,
        ports=head.ports,
        env=spec.head.env,
    )
    return Action(case.id, effect, because, case.set(ClusterRecord(epoch, head)), Weight.NONE, case.pace())


def _stop(case: Case, head: HeadRecord, because: Because, weight: Weight = Weight.NONE) -> Action:
    effect = StopSlot(case.name, Role.HEAD.value, head.node, head.machine, HEAD_STOP_GRACE)
    before = case.set_head(replace(head, stopping=case.world.now))
    return Action(case.id, effect, because, before, weight, case.pace())


def _machine_silent(case: Case, head: HeadRecord) -> Because:
    slot = case.slot(head.node)
    text = slot.reason if isinstance(slot, Unreachable) else "it was not asked"
    return Because(
        Reason.MACHINE_UNREACHABLE,
        f"head on {head.node} does not answer and its machine cannot say why: {text}; nothing is done until it can",
    )


def _jobs_on(case: Case) -> int:
    return sum(1 for _, _, attempt in live_attempts(case.world) if attempt.cluster == case.name)


def _nodes_on(case: Case) -> int:
    return sum(1 for key in case.world.ledger.nodes if key.startswith(f"{case.name}/"))
