"""Decide about jobs: what runs, what waits, what is over."""

from collections.abc import Iterator
from dataclasses import replace

from reconciler.kinds.job.case import Case
from reconciler.kinds.job.ending import next_try
from reconciler.kinds.job.live import decide
from reconciler.kinds.job.submit import admit
from reconciler.model.effect import DeleteRayRecord
from reconciler.model.ids import ObjectId
from reconciler.model.job import Job
from reconciler.model.ledger import Attempt, Ended, JobRecord, JobState, StopCause
from reconciler.model.plan import Action, Because, Decision, Hold, Note, Reason, Weight
from reconciler.model.ray import RayNodeState
from reconciler.model.views import (
    ClusterView,
    busy_nodes,
    cluster_of,
    cluster_view,
    documents,
    frozen_because,
    job_id,
    live_attempts,
    pool_of,
    ray_nodes,
)
from reconciler.model.world import World
from reconciler.queue.placement import Placement, Priority, Room, Waiting, place

_PRIORITIES = {"low": Priority.LOW, "normal": Priority.NORMAL, "high": Priority.HIGH}
# Attempts that a record keeps; older ones stay in the history. Retries without end must not grow the ledger.
KEPT_ATTEMPTS = 20


def plan(world: World) -> Iterator[Decision]:
    """Decide about every job that is desired or remembered."""
    waiting: list[Waiting] = []
    for case in cases(world):
        decisions = _decide(case)
        if decisions is None:
            waiting.append(_waiting(case))
        else:
            yield from decisions
    if waiting:
        yield from _queue(world, waiting)


def queue_order(world: World) -> Placement:
    """Return what the queue says to every job that waits for its turn, for status and `plan`."""
    waiting = [_waiting(case) for case in cases(world) if _decide(case) is None]
    return _placement(world, waiting)


def cases(world: World) -> Iterator[Case]:
    """Return every job that is desired or remembered, in the order of identity."""
    clusters: dict[str, ClusterView] = {}
    seen: set[str] = set()
    for identity, document, digest in documents(world, "Job"):
        assert isinstance(document, Job)
        seen.add(str(identity))
        record = world.ledger.jobs.get(str(identity), JobRecord("", world.now))
        frozen = frozen_because(world, identity)
        yield Case(world, identity, document, digest, record, _cluster(world, record, clusters), frozen)
    for key in sorted(world.ledger.jobs.keys() - seen):
        record = world.ledger.jobs[key]
        yield Case(world, job_id(key), None, "", record, _cluster(world, record, clusters), None)


def _cluster(world: World, record: JobRecord, clusters: dict[str, ClusterView]) -> ClusterView | None:
    if not record.attempts:
        return None
    name = record.attempts[-1].cluster
    if name not in clusters:
        clusters[name] = cluster_view(world, name)
    return clusters[name]


def _decide(case: Case) -> tuple[Decision, ...] | None:
    """Return the decisions about one job, or None when it waits for its turn in the queue."""
    if case.record.live is not None:
        return decide(case)
    if leftover := _leftover(case):
        return leftover
    if case.job is None:
        because = Because(Reason.REMOVED, "removed from the repo; nothing of it is left")
        return (Note(case.id, because, case.set(None), Weight.REMOVES),)
    if case.record.digest != case.digest:
        return _new_generation(case)
    if case.record.closed is not None:
        return ()
    if (over := _over(case)) is not None:
        return over
    return _not_yet(case)


def _leftover(case: Case) -> tuple[Decision, ...] | None:
    """Remove recorded attempts from Ray: its list of jobs grows with history otherwise."""
    for index, attempt in enumerate(case.record.attempts):
        if attempt.cleaned:
            continue
        if case.cluster is None or case.cluster.epoch != attempt.epoch or attempt.cluster != case.cluster.name:
            because = Because(Reason.OBSERVED, f"the head that knew attempt {attempt.number} is gone")
            return case.note(because, case.set(_cleaned(case.record, index, attempt)))
        if not case.cluster.ready:
            return case.hold(case.cluster.because) if case.job is None else None
        because = Because(Reason.OBSERVED, f"attempt {attempt.number} is recorded; Ray may forget it")
        assert case.cluster.head is not None, "a ready cluster has a head"
        effect = DeleteRayRecord(case.cluster.head, attempt.submission_id)
        return (Action(case.id, effect, because, (), Weight.NONE, f"attempt:{attempt.submission_id}"),)
    return None


def _cleaned(record: JobRecord, index: int, attempt: Attempt) -> JobRecord:
    attempts = (*record.attempts[:index], replace(attempt, cleaned=True), *record.attempts[index + 1 :])
    return replace(record, attempts=attempts[-KEPT_ATTEMPTS:])


def _new_generation(case: Case) -> tuple[Decision, ...]:
    first = not case.record.digest
    because = Because(
        Reason.NEW if first else Reason.CHANGED, "enters the queue" if first else "edited: runs again"
    )
    return case.note(because, case.set(JobRecord(case.digest, case.now, case.record.attempts)))


def _over(case: Case) -> tuple[Decision, ...] | None:
    """Close the generation when no further attempt follows."""
    assert case.job is not None, "a removed job was answered for before"
    attempts = case.record.of_generation()
    if case.job.spec.stop:
        text = "stop is set: it does not run"
        return _close(case, Ended(JobState.STOPPED, StopCause.ASKED.value, text, case.now), Reason.ASKED_TO_STOP)
    if attempts:
        last = attempts[-1].ended
        assert last is not None, "a live attempt was answered for before"
        if next_try(attempts, case.job.spec.retry) is None:
            return _close(case, last, _FINAL[last.state])
        return None
    limit = case.limit("queue")
    if limit is not None and case.frozen is None and case.now.since(case.record.entered) > limit:
        text = f"waited longer than its queue limit of {int(limit.total_seconds())} s"
        return _close(case, Ended(JobState.TIMED_OUT, "QueueLimit", text, case.now), Reason.QUEUE_LIMIT)
    return None


_FINAL = {
    JobState.SUCCEEDED: Reason.SUCCEEDED,
    JobState.FAILED: Reason.FAILED,
    JobState.STOPPED: Reason.STOPPED,
    JobState.TIMED_OUT: Reason.TIMED_OUT,
    JobState.LOST: Reason.LOST,
}


def _close(case: Case, ended: Ended, reason: Reason) -> tuple[Decision, ...]:
    closed = replace(case.record, closed=ended)
    return case.note(Because(reason, ended.message or ended.reason), case.set(closed))


def _not_yet(case: Case) -> tuple[Decision, ...] | None:
    """Say what keeps a job from even waiting for nodes, or None when nothing does."""
    assert case.job is not None, "a removed job was answered for before"
    if case.frozen is not None:
        return case.hold(case.frozen)
    attempts = case.record.of_generation()
    if attempts:
        moment = next_try(attempts, case.job.spec.retry)
        assert moment is not None, "a job without a further attempt was closed before"
        if case.now.is_before(moment):
            number = attempts[-1].number + 1
            because = Because(
                Reason.RETRY_LATER, f"attempt {number} follows at {moment.wall:%Y-%m-%d %H:%M:%S} UTC"
            )
            return case.hold(because, moment)
    return _dependencies(case)


def _dependencies(case: Case) -> tuple[Decision, ...] | None:
    assert case.job is not None, "a removed job was answered for before"
    for name in case.job.spec.depends_on:
        team, _, job = name.rpartition("/")
        other = ObjectId("Job", team or case.id.team, job)
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


def _waiting(case: Case) -> Waiting:
    assert case.job is not None, "only desired jobs wait"
    spec = case.job.spec
    needs = spec.resources
    priority = _PRIORITIES[spec.priority]
    return Waiting(case.id, spec.pool, priority, case.record.entered, needs.nodes, needs.gpus_per_node)


def _queue(world: World, waiting: list[Waiting]) -> Iterator[Decision]:
    placement = _placement(world, waiting)
    views: dict[str, ClusterView] = {}
    for each in waiting:
        nodes = placement.admitted.get(each.job)
        if nodes is None:
            yield Hold(each.job, placement.blocked[each.job])
            continue
        loaded = world.desired.objects[each.job]
        pool = pool_of(world, each.pool)
        assert pool is not None, "only a pool of the repo has room"
        if pool.spec.cluster not in views:
            views[pool.spec.cluster] = cluster_view(world, pool.spec.cluster)
        record = world.ledger.jobs[str(each.job)]
        yield admit(world, loaded.document, record, each.job, views[pool.spec.cluster], nodes)


def _placement(world: World, waiting: list[Waiting]) -> Placement:
    rooms: dict[str, Room] = {}
    slots: dict[str, int] = {}
    unready: dict[str, Because] = {}
    for pool in sorted({each.pool for each in waiting}):
        room = _room(world, pool)
        if isinstance(room, Because):
            unready[pool] = room
        else:
            rooms[pool] = room
            if room.cluster not in slots:
                slots[room.cluster] = _slots(world, room.cluster)
    placed = place((each for each in waiting if each.pool in rooms), rooms, slots)
    blocked = {each.job: unready[each.pool] for each in waiting if each.pool in unready}
    order = {
        pool: tuple(w.job for w in sorted((w for w in waiting if w.pool == pool), key=lambda w: w.order))
        for pool in unready
    }
    return Placement(placed.admitted, {**placed.blocked, **blocked}, {**placed.order, **order})


def _room(world: World, name: str) -> Room | Because:
    """Return a pool's room, or why nothing may be placed there."""
    pool = pool_of(world, name)
    if pool is None:
        return Because(Reason.INVALID, f"pool {name} is not in the repo")
    if (frozen := frozen_because(world, ObjectId("NodePool", "", name))) is not None:
        return Because(frozen.reason, f"pool {name}: {frozen.text}")
    cluster = cluster_view(world, pool.spec.cluster)
    if cluster.seen is None:
        return cluster.because
    if (frozen := frozen_because(world, ObjectId("Cluster", "", pool.spec.cluster))) is not None:
        return Because(frozen.reason, f"cluster {pool.spec.cluster}: {frozen.text}")
    drained = {drain.node for drain in pool.spec.drain}
    alive = ray_nodes(cluster.seen)
    busy = busy_nodes(world, pool.spec.cluster)
    in_service = 0
    free = []
    for node in pool.spec.nodes:
        record = world.ledger.nodes.get(f"{cluster.name}/{node.name}")
        if record is None or record.stopping is not None or record.epoch != cluster.epoch or node.name in drained:
            continue
        in_service += 1
        ray = alive.get(node.name)
        if ray is None or ray.state is not RayNodeState.ALIVE or node.name in busy:
            continue
        # Work that somebody started by hand holds GPUs that our own arithmetic does not know.
        if ray.available.get("GPU", 0.0) >= ray.total.get("GPU", 0.0):
            free.append(node.name)
    return Room(cluster.name, in_service, tuple(sorted(free)))


def _slots(world: World, cluster: str) -> int:
    document = cluster_of(world, cluster)
    limit = document.spec.max_running_jobs if document is not None else 0
    return limit - sum(1 for _, _, attempt in live_attempts(world) if attempt.cluster == cluster)
