"""Decide about jobs: what runs, what waits, what is over."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import TypeAlias

from reconciler.kinds.job.case import Case
from reconciler.kinds.job.ending import next_try
from reconciler.kinds.job.live import decide
from reconciler.kinds.job.queue import answers
from reconciler.kinds.job.rest import lines, orphaned, restless, waiting
from reconciler.kinds.job.submit import next_number
from reconciler.model.effect import DeleteRayRecord
from reconciler.model.ids import ObjectId
from reconciler.model.job import StopCause
from reconciler.model.ledger import Attempt, Change, Ended, JobRecord, Table, node_key
from reconciler.model.nodepool import NodePool
from reconciler.model.plan import Action, Because, Decision, Hold, Note, Reason, Weight
from reconciler.model.shares import held_drains, no_stops
from reconciler.model.states import JobState
from reconciler.model.views import ClusterView, cluster_view, documents, frozen_because, job_id, known_key
from reconciler.model.world import World
from reconciler.queue.placement import Waiting

Rule: TypeAlias = Callable[[Case], tuple[Decision, ...] | None]


def plan(world: World) -> Iterator[Decision]:
    """Decide about every job that is desired or remembered; those at rest need no decision."""
    waiting_too: list[Waiting] = []
    for case in cases(world):
        decisions = _decide(case)
        if decisions is not None:
            yield from decisions
            continue
        # Why it waits is the queue's to say, not that of an attempt that is over.
        yield from (each for each in _leftover(case) or () if not isinstance(each, Hold))
        waiting_too.append(_waiting(case))
    yield from answers(world, lines(world, waiting_too))


def queues(world: World) -> Mapping[str, tuple[Waiting, ...]]:
    """Return who waits for each pool, in the order of their turn."""
    return lines(world, [_waiting(case) for case in cases(world) if _decide(case) is None])


def _waiting(case: Case) -> Waiting:
    assert case.job is not None, "only desired jobs wait"
    return waiting(case.id, case.job, case.record)


def cases(world: World) -> Iterator[Case]:
    """Return every job that more than the queue has to say about, in the order of identity."""
    clusters: dict[str, ClusterView] = {}
    deadlines = _deadlines(world)
    for identity in restless(world):
        loaded = world.desired.objects[identity]
        record = world.ledger.jobs.get(str(identity), JobRecord("", world.now))
        frozen, cluster = frozen_because(world, identity), _cluster(world, record, clusters)
        yield Case(world, identity, loaded.document, loaded.digest, record, cluster, frozen, deadlines)
    for key in orphaned(world):
        record = world.ledger.jobs[key]
        yield Case(world, job_id(key), None, "", record, _cluster(world, record, clusters), None, deadlines)


def _deadlines(world: World) -> dict[str, timedelta]:
    """Return how long jobs may stay on nodes under drain, by the nodes' ledger keys; on others without limit."""
    held = held_drains(world)
    return {
        node_key(document.spec.cluster, drain.node): drain.after
        for pool, document, _ in documents(world, "NodePool")
        if isinstance(document, NodePool) and no_stops(world, pool, document.spec.cluster, held) is None
        for drain in document.spec.drain
        if drain.after is not None
    }


def _cluster(world: World, record: JobRecord, clusters: dict[str, ClusterView]) -> ClusterView | None:
    if not record.attempts:
        return None
    name = record.attempts[-1].cluster
    if name not in clusters:
        clusters[name] = cluster_view(world, name)
    return clusters[name]


def _decide(case: Case) -> tuple[Decision, ...] | None:
    """Return the decisions about one job, or None when it waits for its turn in the queue."""
    return next((decisions for rule in RULES if (decisions := rule(case)) is not None), None)


def _live(case: Case) -> tuple[Decision, ...] | None:
    return decide(case) if case.record.live is not None else None


def _removed(case: Case) -> tuple[Decision, ...] | None:
    if case.job is not None:
        return None
    if (leftover := _leftover(case)) is not None:
        return leftover
    because = Because(Reason.REMOVED, "removed from the repo; nothing of it is left")
    # All that is known of it goes at once: one event tells its end.
    known = known_key(case.id)
    forgotten = (Change(Table.KNOWN, known, None),) if known in case.world.ledger.known else ()
    return (Note(case.id, because, (*case.set(None), *forgotten), Weight.REMOVES),)


def _other_generation(case: Case) -> tuple[Decision, ...] | None:
    if case.record.digest == case.digest:
        return None
    first = not case.record.digest
    because = Because(
        Reason.NEW if first else Reason.CHANGED, "enters the queue" if first else "edited: runs again"
    )
    return case.note(because, case.set(JobRecord(case.digest, case.now, case.record.attempts)))


def _closed(case: Case) -> tuple[Decision, ...] | None:
    return (_leftover(case) or ()) if case.record.closed is not None else None


def _not_wanted(case: Case) -> tuple[Decision, ...] | None:
    assert case.job is not None, "a removed job was answered for before"
    if not case.job.spec.stop:
        return None
    text = "stop is set: it does not run"
    return _close(case, Ended(JobState.STOPPED, StopCause.ASKED.value, text, case.now), Reason.ASKED_TO_STOP)


def _no_further_attempt(case: Case) -> tuple[Decision, ...] | None:
    assert case.job is not None, "a removed job was answered for before"
    attempts = case.record.of_generation()
    if not attempts or next_try(case.record, case.job.spec.retry) is not None:
        return None
    last = attempts[-1].ended
    assert last is not None, "a live attempt was answered for before"
    return _close(case, last, _FINAL[last.state])


_FINAL = {
    JobState.SUCCEEDED: Reason.SUCCEEDED,
    JobState.FAILED: Reason.FAILED,
    JobState.STOPPED: Reason.STOPPED,
    JobState.TIMED_OUT: Reason.TIMED_OUT,
    JobState.LOST: Reason.LOST,
}


def _frozen(case: Case) -> tuple[Decision, ...] | None:
    return case.hold(case.frozen) if case.frozen is not None else None


def _waited_too_long(case: Case) -> tuple[Decision, ...] | None:
    limit = case.limit("queue")
    if limit is None or case.record.of_generation() or _time_in_queue(case) <= limit:
        return None
    text = f"waited longer than its queue limit of {int(limit.total_seconds())} s"
    return _close(case, Ended(JobState.TIMED_OUT, "QueueLimit", text, case.now), Reason.QUEUE_LIMIT)


def _time_in_queue(case: Case) -> timedelta:
    """Return how long nothing but the queue has kept a job: its dependencies took their own time."""
    assert case.job is not None, "a removed job was answered for before"
    span = case.now.since(case.record.entered)
    for name in case.job.spec.depends_on:
        record = case.world.ledger.job(_other(case, name))
        if record is not None and record.closed is not None:
            span = min(span, case.now.since(record.closed.at))
    return span


def _retry_later(case: Case) -> tuple[Decision, ...] | None:
    assert case.job is not None, "a removed job was answered for before"
    moment = next_try(case.record, case.job.spec.retry) if case.record.of_generation() else None
    if moment is None or not case.now.is_before(moment):
        return None
    number = next_number(case.world, case.id)
    text = f"attempt {number} follows at {moment.wall:%Y-%m-%d %H:%M:%S} UTC"
    return case.hold(Because(Reason.RETRY_LATER, text), moment)


def _dependencies(case: Case) -> tuple[Decision, ...] | None:
    assert case.job is not None, "a removed job was answered for before"
    for name in case.job.spec.depends_on:
        other = _other(case, name)
        loaded = case.world.desired.objects.get(other)
        record = case.world.ledger.job(other)
        # A dependency counts at what the repo says now: the success of an older generation is none.
        current = record is not None and loaded is not None and record.digest == loaded.digest
        closed = record.closed if record is not None and current else None
        if closed is None:
            return case.hold(Because(Reason.WAITS_FOR_DEPENDENCY, f"waits for {other} to succeed"))
        if closed.state is not JobState.SUCCEEDED:
            text = f"{other} ended as {closed.state.value}; rerun or edit it, or remove the dependency"
            return case.hold(Because(Reason.DEPENDENCY_FAILED, text))
    return None


def _other(case: Case, name: str) -> ObjectId:
    team, _, job = name.rpartition("/")
    return ObjectId("Job", team or case.id.team, job)


# First match wins; a job that none of them answers for waits for its turn in the queue.
RULES: tuple[Rule, ...] = (
    _live,
    _removed,
    _other_generation,
    _closed,
    _not_wanted,
    _no_further_attempt,
    _frozen,
    _retry_later,
    _dependencies,
    _waited_too_long,
)


def _close(case: Case, ended: Ended, reason: Reason) -> tuple[Decision, ...]:
    closed = replace(case.record, closed=ended)
    return case.note(Because(reason, ended.message or ended.reason), case.set(closed))


def _leftover(case: Case) -> tuple[Decision, ...] | None:
    """Remove recorded attempts from Ray: its list of jobs grows with history otherwise."""
    for attempt in case.record.attempts:
        if attempt.cleaned:
            continue
        if case.cluster is None or case.cluster.epoch != attempt.epoch or attempt.cluster != case.cluster.name:
            because = Because(Reason.OBSERVED, f"the head that knew attempt {attempt.number} is gone")
            return case.note(because, case.set(_cleaned(case.record, attempt)))
        if not case.cluster.ready:
            return case.hold(case.cluster.because) if case.job is None else None
        return _forgotten_by_ray(case, case.cluster, attempt)
    return None


def _forgotten_by_ray(case: Case, cluster: ClusterView, attempt: Attempt) -> tuple[Decision, ...]:
    assert cluster.seen is not None, "a ready cluster was seen"
    assert cluster.head is not None, "a ready cluster has a head"
    ray = cluster.seen.jobs.get(attempt.submission_id)
    if attempt.submission_id not in cluster.seen.asked or (ray is not None and not ray.status.ended):
        # The runner's result is there a moment before Ray has seen it end.
        return case.hold(Because(Reason.STOPPING, f"waiting for Ray to end attempt {attempt.number} as well"))
    if ray is None:
        because = Because(Reason.OBSERVED, f"Ray has forgotten attempt {attempt.number}")
        return case.note(because, case.set(_cleaned(case.record, attempt)))
    because = Because(Reason.OBSERVED, f"attempt {attempt.number} is recorded; Ray may forget it")
    effect = DeleteRayRecord(cluster.head, attempt.submission_id)
    return (Action(case.id, effect, because, (), Weight.NONE, f"attempt:{attempt.submission_id}"),)


def _cleaned(record: JobRecord, gone: Attempt) -> JobRecord:
    attempts = tuple(replace(each, cleaned=True) if each is gone else each for each in record.attempts)
    return replace(record, attempts=attempts)
