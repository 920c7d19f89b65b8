"""Which jobs a pass has to think about: not those at rest, and not those that only wait for their turn."""

from collections.abc import Iterable, Mapping

from reconciler.model.derived import Derived, Grouped, Paired
from reconciler.model.desired import Loaded
from reconciler.model.ids import ObjectId
from reconciler.model.job import Job
from reconciler.model.ledger import JobRecord
from reconciler.model.site import Site
from reconciler.model.views import job_id
from reconciler.model.world import World
from reconciler.queue.placement import Priority, Waiting

_PRIORITIES = {"low": Priority.LOW, "normal": Priority.NORMAL, "high": Priority.HIGH}
_SITE = ObjectId("Site", "", "site")


def restless(world: World) -> list[ObjectId]:
    """Return the desired jobs that something but the queue may have to say about, in the order of identity."""
    thought_about = _RESTLESS.of(_DESIRED.of(world.desired.objects), world.ledger.jobs)
    return sorted([*thought_about.values(), *map(job_id, _held_up(world))])


def orphaned(world: World) -> list[str]:
    """Return the ledger keys of jobs that are not desired any more, in order."""
    return sorted(_ORPHANED.of(_DESIRED.of(world.desired.objects), world.ledger.jobs))


def lines(world: World, more: Iterable[Waiting]) -> Mapping[str, tuple[Waiting, ...]]:
    """Return who waits for each pool, in order: those that only the queue decides about, and `more` of them."""
    queued, held_up = _BY_POOL.of(_queued(world)), _held_up(world)
    if not held_up and not (more := list(more)):
        return queued
    changed: dict[str, list[Waiting]] = {}
    for job in more:
        changed.setdefault(job.pool, list(queued.get(job.pool, ()))).append(job)
    for key in held_up:
        pool = _queued(world)[key].pool
        changed.setdefault(pool, list(queued[pool])).remove(_queued(world)[key])
    return {**queued, **{pool: in_order(jobs) for pool, jobs in changed.items()}}


def in_order(jobs: Iterable[Waiting]) -> tuple[Waiting, ...]:
    """Return waiting jobs in the order of their turn."""
    return tuple(sorted(jobs, key=lambda each: each.order))


def waiting(identity: ObjectId, job: Job, record: JobRecord) -> Waiting:
    """Return what a job that may start asks of the queue."""
    spec, needs = job.spec, job.spec.resources
    priority = _PRIORITIES[spec.priority]
    return Waiting(identity, spec.pool, priority, record.entered, needs.nodes, needs.gpus_per_node)


def _queued(world: World) -> Mapping[str, Waiting]:
    """Return by ledger key the jobs that their own file and record keep from nothing but their turn."""
    return _QUEUED.of(_DESIRED.of(world.desired.objects), world.ledger.jobs)


def _held_up(world: World) -> list[str]:
    """Return those of them that something else keeps: what they refer to, or the site's limit for waiting."""
    queued = _queued(world)
    held_up = {key for key in map(str, world.desired.problems) if key in queued}
    site = world.desired.objects.get(_SITE)
    limit = site.document.spec.limits.queue if site is not None and isinstance(site.document, Site) else None
    if limit is not None:
        held_up.update(key for key, job in queued.items() if world.now.since(job.entered) > limit)
    return sorted(held_up)


def _is_over(record: JobRecord) -> bool:
    return record.closed is not None and record.live is None and all(a.cleaned for a in record.attempts)


def _only_waits(job: Job, record: JobRecord) -> bool:
    spec = job.spec
    if spec.stop or spec.suspend or spec.depends_on or spec.limits.queue is not None:
        return False
    tried = any(attempt.digest == record.digest or not attempt.cleaned for attempt in record.attempts)
    return record.closed is None and not tried


def _queued_entry(_: str, loaded: Loaded | None, record: JobRecord | None) -> Waiting | None:
    if loaded is None or record is None or record.digest != loaded.digest:
        return None
    return waiting(loaded.id, loaded.document, record) if _only_waits(loaded.document, record) else None


def _restless_entry(key: str, loaded: Loaded | None, record: JobRecord | None) -> ObjectId | None:
    if loaded is None:
        return None
    if record is not None and record.digest == loaded.digest and _is_over(record):
        return None
    return loaded.id if _queued_entry(key, loaded, record) is None else None


def _desired_entry(identity: ObjectId, loaded: Loaded) -> tuple[str, Loaded] | None:
    return (str(identity), loaded) if identity.kind == "Job" else None


_DESIRED = Derived(_desired_entry)
_RESTLESS = Paired(_restless_entry)
_QUEUED = Paired(_queued_entry)
_BY_POOL: Grouped[str, Waiting, str, tuple[Waiting, ...]] = Grouped(
    lambda _, job: job.pool, lambda jobs: in_order(jobs.values())
)
_ORPHANED: Paired[str, Loaded, JobRecord, bool] = Paired(
    lambda _, loaded, record: True if loaded is None and record is not None else None
)
