"""What people see of jobs."""

from collections.abc import Collection, Iterator
from datetime import timedelta
from typing import Any

from reconciler.kinds.job.ending import next_try
from reconciler.kinds.job.plan import queues as job_queues
from reconciler.model.derived import Derived, Memo
from reconciler.model.ids import ObjectId
from reconciler.model.job import Job
from reconciler.model.ledger import Attempt, Ended, JobRecord
from reconciler.model.plan import Because, Plan, Reason
from reconciler.model.projection import Face, Story, conditions, describe, stories
from reconciler.model.states import JobState
from reconciler.model.status import Health, ObjectStatus
from reconciler.model.views import documents, frozen_because, job_id
from reconciler.model.world import World
from reconciler.queue.placement import Waiting

_HEALTH = {
    JobState.QUEUED: Health.WAITING,
    JobState.STARTING: Health.PROGRESSING,
    JobState.RUNNING: Health.READY,
    JobState.SUCCEEDED: Health.READY,
    JobState.FAILED: Health.FAILED,
    JobState.STOPPED: Health.READY,
    JobState.TIMED_OUT: Health.FAILED,
    JobState.LOST: Health.FAILED,
    JobState.SUSPENDED: Health.WAITING,
    JobState.BACKOFF: Health.WAITING,
}


def status(world: World, plan: Plan) -> Iterator[ObjectStatus]:
    """Describe every job that is desired or still has something live."""
    desired = [identity for identity, _, _ in documents(world, "Job")]
    return status_of(world, plan, {*desired, *map(job_id, world.ledger.jobs)})


def status_of(world: World, plan: Plan, some: Collection[ObjectId]) -> Iterator[ObjectStatus]:
    """Describe those of `some` jobs that are still there, and those whose state may change by time alone."""
    told = stories(plan)
    for identity in sorted({*some, *_PAUSING.of(world.ledger.jobs).values()}):
        loaded = world.desired.objects.get(identity)
        if loaded is not None or str(identity) in world.ledger.jobs:
            yield _one(world, identity, loaded.document if loaded is not None else None, told.get(identity))


def _pausing(key: str, record: JobRecord) -> tuple[str, ObjectId] | None:
    between = record.closed is None and record.live is None and record.attempts
    return (key, job_id(key)) if between else None


# Jobs between two attempts: once the pause is over they are queued.
_PAUSING = Derived(_pausing)


def _one(world: World, identity: ObjectId, job: Job | None, story: Story | None) -> ObjectStatus:
    record = world.ledger.jobs.get(str(identity), JobRecord("", world.now))
    state = job_state(world, identity, job, record)
    since = _since(record)
    done = state is JobState.SUCCEEDED
    ended = record.closed is not None
    facts = conditions(
        ("Complete", ended, state.value, record.closed.message if record.closed is not None else ""),
        ("Succeeded", done, state.value, ""),
    )
    otherwise = _otherwise(state, record)
    detail = _detail(record, job, since)
    return describe(world, identity, story, Face(state.value, _HEALTH[state], detail, facts, otherwise))


def _otherwise(state: JobState, record: JobRecord) -> Because:
    if record.closed is not None:
        return Because(Reason(_REASON_OF_END[record.closed.state]), record.closed.message or record.closed.reason)
    if record.live is not None and state is JobState.RUNNING:
        text = f"attempt {record.live.number} runs on {', '.join(record.live.nodes)}"
        return Because(Reason.AS_DESIRED, text)
    return Because(Reason.NEW, "was seen and is decided about next")


_REASON_OF_END = {
    JobState.SUCCEEDED: "Succeeded",
    JobState.FAILED: "Failed",
    JobState.STOPPED: "Stopped",
    JobState.TIMED_OUT: "TimedOut",
    JobState.LOST: "Lost",
}


def queues(world: World) -> dict[str, object]:
    """Return who waits for each pool, in order: positions change too often to be part of every job's document."""
    waiting = job_queues(world)
    documents: dict[str, object] = {f"queue/{pool}.json": _queue(pool, waiting[pool]) for pool in sorted(waiting)}
    _QUEUES.forget_all_but(waiting)
    return documents


# The document of a queue that stays is the same object, so that whoever writes it need not look into it.
_QUEUES: Memo[tuple[Waiting, ...], dict[str, object]] = Memo()


def _queue(pool: str, jobs: tuple[Waiting, ...]) -> dict[str, object]:
    if (known := _QUEUES.get(pool, jobs)) is not None:
        return known
    return _QUEUES.keep(pool, jobs, {"pool": pool, "order": [_place(each) for each in jobs]})


def _place(waiting: Waiting) -> dict[str, object]:
    return {
        "job": f"{waiting.job.team}/{waiting.job.name}",
        "priority": waiting.priority.name.lower(),
        "since": waiting.entered.wall,
        "needs": {"nodes": waiting.nodes, "gpusPerNode": waiting.gpus_per_node},
    }


def job_state(world: World, identity: ObjectId, job: Job | None, record: JobRecord) -> JobState:
    """Return where a job is in its life."""
    if record.live is not None:
        return JobState.RUNNING if record.live.running is not None else JobState.STARTING
    if record.closed is not None and job is not None:
        return record.closed.state
    if job is None:
        return record.closed.state if record.closed is not None else JobState.STOPPED
    frozen = frozen_because(world, identity)
    if frozen is not None and frozen.reason is Reason.SUSPENDED:
        return JobState.SUSPENDED
    attempts = record.of_generation()
    if attempts and attempts[-1].ended is not None:
        moment = next_try(record, job.spec.retry)
        if moment is None:
            return attempts[-1].ended.state
        return JobState.BACKOFF if world.now.is_before(moment) else JobState.QUEUED
    return JobState.QUEUED


def _since(record: JobRecord) -> Any:
    return record.entered.wall if record.digest else None


def _detail(record: JobRecord, job: Job | None, since: Any) -> dict[str, Any]:
    detail: dict[str, Any] = {
        "queue": {"since": since},
        "attempts": [_attempt(attempt) for attempt in record.attempts],
    }
    if job is None:
        return detail
    spec = job.spec
    return {
        **detail,
        "user": spec.user,
        "pool": spec.pool,
        "cluster": record.attempts[-1].cluster if record.attempts else None,
        "priority": spec.priority,
        "needs": {"nodes": spec.resources.nodes, "gpusPerNode": spec.resources.gpus_per_node},
        "limits": {n: _seconds(getattr(spec.limits, n)) for n in ("queue", "start", "attempt", "total")},
        "dependsOn": list(spec.depends_on),
        "labels": dict(job.metadata.labels),
    }


def _seconds(limit: timedelta | None) -> int | None:
    return int(limit.total_seconds()) if limit is not None else None


def _attempt(attempt: Attempt) -> dict[str, Any]:
    ended: Ended | None = attempt.ended
    if ended is not None:
        state = ended.state
    else:
        state = JobState.RUNNING if attempt.running is not None else JobState.STARTING
    return {
        "number": attempt.number,
        "submissionId": attempt.submission_id,
        "nodes": list(attempt.nodes),
        "state": state.value,
        "reason": ended.reason if ended is not None else "",
        "message": ended.message if ended is not None else "",
        "submitted": attempt.submitted.wall if attempt.submitted is not None else None,
        "running": attempt.running.wall if attempt.running is not None else None,
        "ended": ended.at.wall if ended is not None else None,
        "exitCode": ended.exit_code if ended is not None else None,
    }
