"""Jobs at rest: over, recorded, forgotten by Ray and as the repo says. Nothing is left to decide about them."""

from reconciler.model.derived import Derived
from reconciler.model.desired import Loaded
from reconciler.model.ids import ObjectId
from reconciler.model.ledger import JobRecord
from reconciler.model.world import World


def restless(world: World) -> list[ObjectId]:
    """Return the desired jobs that something may be decided about, in the order of identity."""
    resting = _RESTING.of(world.ledger.jobs)
    desired = _DESIRED.of(world.desired.objects)
    return sorted(who for key, (who, digest) in desired.items() if resting.get(key) != digest)


def orphaned(world: World) -> list[str]:
    """Return the ledger keys of jobs that are not desired any more, in order."""
    return sorted(world.ledger.jobs.keys() - _DESIRED.of(world.desired.objects).keys())


def _resting(key: str, record: JobRecord) -> tuple[str, str] | None:
    over = record.closed is not None and record.live is None
    return (key, record.digest) if over and all(attempt.cleaned for attempt in record.attempts) else None


def _desired(identity: ObjectId, loaded: Loaded) -> tuple[str, tuple[ObjectId, str]] | None:
    return (str(identity), (identity, loaded.digest)) if identity.kind == "Job" else None


_RESTING = Derived(_resting)
_DESIRED = Derived(_desired)
