"""Decide about a pool's nodes: start, watch, drain, replace, let go."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeAlias

from reconciler.kinds.nodepool.case import Case
from reconciler.kinds.nodepool.parts import decisions
from reconciler.model.ledger import Change, DrainRecord, NodeRecord, Table
from reconciler.model.plan import Because, Decision, Reason, Weight
from reconciler.model.ray import RayNodeState
from reconciler.model.sighting import Present, Unreachable
from reconciler.model.world import SlotSeen, World

Rule: TypeAlias = Callable[[Case], tuple[Decision, ...] | None]


def plan(world: World) -> Iterator[Decision]:
    """Decide about every node that is desired or remembered."""
    return decisions(world, _decide)


def _decide(case: Case) -> tuple[Decision, ...]:
    return next(decisions for rule in RULES if (decisions := rule(case)) is not None)


def _of_another_pool(case: Case) -> tuple[Decision, ...] | None:
    """Leave a node alone that moved here until its old pool has let it go: two pools must not act on one slot."""
    if case.node is None or case.record is None or case.record.pool == case.pool.id.name:
        return None
    return case.hold(
        Because(Reason.BUSY, f"{case.name} still runs for pool {case.record.pool}, which lets it go first")
    )


def _machine_taken(case: Case) -> tuple[Decision, ...] | None:
    """Leave a machine alone until the worker that has it has left: two of them would give out its GPUs twice."""
    if case.beside is None:
        return None
    text = f"the machine of {case.name} still serves {case.beside.told(case.name)}"
    return case.hold(Because(Reason.BUSY, f"{text}; {case.name} starts once it has left"))


def _drain_bookkeeping(case: Case) -> tuple[Decision, ...] | None:
    drain, drained = case.drain, case.drained
    if drained is not None and drained.pool == case.pool.id.name and (drain is None or case.node is None):
        because = Because(Reason.CHANGED, f"the drain of {case.name} was taken back")
        return case.note(because, (Change(Table.DRAINS, case.key, None),))
    if drain is not None and drained is None and case.node is not None:
        text = f"draining {case.name}: {drain.reason or 'no reason given'}"
        change = Change(Table.DRAINS, case.key, DrainRecord(case.pool.id.name, case.world.now))
        return case.note(Because(Reason.DRAINING, text), (change,))
    return None


def _stopping(case: Case) -> tuple[Decision, ...] | None:
    record = case.record
    if record is None or record.stopping is None:
        return None
    repeat = record.stopping + case.world.tuning.stop_repeat
    match case.slot:
        case Present(seen=slot) if not slot.state.alive:
            because = Because(Reason.OBSERVED, f"Ray on {case.name} has ended", (("epoch", record.epoch),))
            return case.note(because, case.set(None))
        case Present() if not case.world.now.is_before(repeat):
            return case.stop(record, Because(Reason.STOPPING, f"Ray on {case.name} still runs: asked again"))
        case Unreachable(reason=text):
            return case.silent(text)
        case _:
            return case.hold(Because(Reason.STOPPING, f"waiting for Ray on {case.name} to end"), repeat)


def _out_of_service(case: Case) -> tuple[Decision, ...] | None:
    if case.node is None or case.drain is None or case.record is not None:
        return None
    return case.hold(Because(Reason.DRAINED, f"{case.name} is out of service: {case.drain.reason or 'drained'}"))


def _leaving(case: Case) -> tuple[Decision, ...] | None:
    """Let a node go that left the repo or is drained, once nothing holds it."""
    if case.node is not None and case.drain is None:
        return None
    if case.holder is not None:
        return _waits_for_job(case, case.holder)
    if not case.answered:
        return _nobody_answers(case)
    record, ray, head = case.record, case.ray, case.pool.cluster.head
    assert record is not None, "only started nodes leave"
    weight = Weight.REMOVES if case.pool.spec is None else Weight.DRAINS
    gone = case.node is None
    text = f"{case.name} is idle and {'left the repo' if gone else 'is drained'}"
    because = Because(Reason.REMOVED if gone else Reason.DRAINED, text)
    told = case.drained is not None and case.drained.told_ray
    if (
        case.drain is not None
        and ray is not None
        and head is not None
        and ray.state is RayNodeState.ALIVE
        and not told
    ):
        return case.tell_ray(head, ray, case.drain, because, weight)
    return case.stop(record, because, weight)


def _waits_for_job(case: Case, holder: str) -> tuple[Decision, ...]:
    if case.drain is None:
        return case.hold(Because(Reason.BUSY, f"{case.name} left the repo; it goes once {holder} has ended"))
    stays = case.pool.no_stops
    if stays is not None and (case.drain.after is not None or stays.reason is Reason.HELD_BY_BRAKE):
        return case.hold(stays)
    if case.drain.after is None or case.drained is None:
        text = f"{case.name} takes no new work and goes once {holder} has ended"
        return case.hold(Because(Reason.DRAINING, text))
    deadline = case.drained.since + case.drain.after
    when = f"{deadline.wall:%Y-%m-%d %H:%M:%S} UTC"
    text = f"{case.name} takes no new work; {holder} is stopped at {when} unless it ends before"
    return case.hold(Because(Reason.DRAINING, text), deadline)


def _cluster_not_ready(case: Case) -> tuple[Decision, ...] | None:
    cluster = case.pool.cluster
    because = cluster.because
    if case.pool.cluster_spec is None:
        because = Because(Reason.CLUSTER_NOT_READY, f"cluster {cluster.name} is not in the repo")
    elif cluster.ready:
        return None
    return case.forget_absence() or case.hold(because)


def _not_started(case: Case) -> tuple[Decision, ...] | None:
    if case.record is not None or case.node is None:
        return None
    match case.slot:
        case Present(seen=slot) if slot.state.alive and case.holder is not None:
            # After a recovery nodes are not in the ledger, but jobs are: ending Ray would end what runs.
            text = f"{case.name} runs Ray that this ledger does not know; it starts afresh after {case.holder}"
            return case.hold(Because(Reason.BUSY, text))
        case Present(seen=slot) if slot.state.alive:
            text = (
                f"{case.name} already runs Ray for {case.pool.cluster.name} (epoch {slot.epoch}): ending it first"
            )
            return case.stop(case.fresh(case.node, slot.generation or 0), Because(Reason.OTHER_EPOCH, text))
        case Present():
            return case.start(Because(Reason.NEW, f"{case.name} does not run Ray yet"))
        case Unreachable(reason=text):
            return case.silent(text)
        case _:
            return case.hold(Because(Reason.STARTING, f"looking at {case.name} before starting Ray there"))


def _nobody_answers(case: Case) -> tuple[Decision, ...] | None:
    if case.answered:
        return None
    if (forgotten := case.forget_absence()) is not None:
        return forgotten
    match case.slot:
        case Unreachable(reason=text):
            return case.silent(text)
        case _:
            return case.hold(Because(Reason.JOINING, f"{case.name} is not in Ray; asking its machine"))


def _outdated(case: Case) -> tuple[Decision, ...] | None:
    """Start a node afresh that runs with other settings or for an older head, once nothing holds it."""
    record, node = case.record, case.node
    assert record is not None, "rules before this one answer for a node that is not started"
    assert node is not None, "rules before this one answer for a node that left the repo"
    if record.epoch != case.pool.cluster.epoch:
        numbers = (("from", record.epoch), ("to", case.pool.cluster.epoch))
        because = Because(Reason.OTHER_EPOCH, f"{case.name} belongs to an older head", numbers)
    elif record.digest != case.pool.shape or record.machine != node.machine:
        because = Because(Reason.CHANGED, f"what {case.name} runs with was edited")
    else:
        return None
    if case.holder is not None:
        return case.hold(Because(Reason.BUSY, f"{because.text}; it starts afresh once {case.holder} has ended"))
    return case.stop(record, because)


def _alive(case: Case) -> tuple[Decision, ...] | None:
    record, ray = case.record, case.ray
    if record is None or ray is None:
        return None
    if ray.state is RayNodeState.DRAINING and case.holder is None:
        # Ray cannot take a drain back; a fresh raylet can.
        return case.stop(record, Because(Reason.CHANGED, f"{case.name} is back in service and starts afresh"))
    if record.joined is None or record.missing_since is not None:
        because = Because(Reason.OBSERVED, f"{case.name} has joined {case.pool.cluster.name}")
        joined = replace(record, joined=record.joined or case.world.now, missing_since=None, failed=None)
        return case.note(because, case.set(joined))
    return ()


def _ended(case: Case) -> tuple[Decision, ...] | None:
    """Start a node again whose machine says that Ray does not run there, the slower the oftener it failed."""
    record, slot = _in_doubt(case)
    if slot.state.alive:
        return None
    if slot.generation != record.generation:
        return case.start(Because(Reason.OUTCOME_UNKNOWN, f"{case.name} never began to start: again"))
    text = f"Ray on {case.name} is {slot.state.value}: {slot.words}"
    if record.joined is not None:
        return case.start(Because(Reason.NODE_LOST, text))
    failed = record.failed
    if failed is None or failed.last.is_before(record.started):
        return case.note(Because(Reason.NODE_FAILED, text), case.set(case.failed_again(record)))
    again = failed.last + case.world.tuning.pause(case.pace, failed.count)
    if case.world.now.is_before(again):
        return case.hold(Because(Reason.NODE_FAILED, f"{text}; tried again at {again.wall:%H:%M:%S} UTC"), again)
    return case.start(Because(Reason.NODE_FAILED, text, (("failures", failed.count),)))


def _of_another_start(case: Case) -> tuple[Decision, ...] | None:
    """End what is not what was started last: a start that was late on its way may have come in between."""
    record, slot = _in_doubt(case)
    if slot.epoch != record.epoch:
        return case.stop(record, Because(Reason.OTHER_EPOCH, f"{case.name} runs Ray for epoch {slot.epoch}"))
    if slot.generation == record.generation:
        return None
    text = f"{case.name} runs what start {slot.generation} asked for, the last one was {record.generation}"
    return case.stop(record, Because(Reason.CHANGED, text))


def _joining(case: Case) -> tuple[Decision, ...] | None:
    record, _ = _in_doubt(case)
    if record.joined is not None:
        return None
    now, limit = case.world.now, case.world.tuning.node_join
    if now.since(record.started) < limit:
        because = Because(Reason.JOINING, f"{case.name} is joining {case.pool.cluster.name}")
        return case.hold(because, record.started + limit)
    text = f"{case.name} did not join within {int(limit.total_seconds())} s"
    return case.stop(record, Because(Reason.NODE_FAILED, text))


def _missing(case: Case) -> tuple[Decision, ...]:
    record, _ = _in_doubt(case)
    now, limit = case.world.now, case.world.tuning.node_missing
    because = Because(Reason.NODE_LOST, f"{case.name} runs Ray but its head does not list it")
    if record.missing_since is None:
        return case.note(because, case.set(replace(record, missing_since=now)))
    if now.since(record.missing_since) < limit:
        return case.hold(because, record.missing_since + limit)
    return case.stop(record, Because(Reason.NODE_LOST, f"{case.name} did not come back to its head"))


# First match wins.
RULES: tuple[Rule, ...] = (
    _of_another_pool,
    _drain_bookkeeping,
    _stopping,
    _out_of_service,
    _leaving,
    _machine_taken,
    _cluster_not_ready,
    _not_started,
    _nobody_answers,
    _outdated,
    _alive,
    _ended,
    _of_another_start,
    _joining,
    _missing,
)


def _in_doubt(case: Case) -> tuple[NodeRecord, SlotSeen]:
    """Return what the last rules judge by: a started node that its head does not list, as its machine sees it."""
    assert case.record is not None, "rules before these answer for a node that is not started"
    assert isinstance(case.slot, Present), "rules before these answer for a machine that does not"
    return case.record, case.slot.seen
