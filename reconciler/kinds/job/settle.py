"""What success changes in the ledger's view of attempts."""

from collections.abc import Callable
from dataclasses import replace

from reconciler.model.effect import DeleteRayRecord, SubmitAttempt
from reconciler.model.ids import ObjectId
from reconciler.model.ledger import Attempt, Change, Ledger, Table
from reconciler.model.moment import Moment


def submitted(ledger: Ledger, job: ObjectId, effect: SubmitAttempt, now: Moment) -> tuple[Change, ...]:
    """Remember that Ray has the attempt."""
    return _update(ledger, job, effect.submission_id, lambda a: replace(a, submitted=a.submitted or now))


def deleted(ledger: Ledger, job: ObjectId, effect: DeleteRayRecord, _: Moment) -> tuple[Change, ...]:
    """Remember that Ray has forgotten the attempt."""
    return _update(ledger, job, effect.submission_id, lambda a: replace(a, cleaned=True))


def _update(
    ledger: Ledger, job: ObjectId, submission_id: str, change: Callable[[Attempt], Attempt]
) -> tuple[Change, ...]:
    # A job that was renamed while the effect was under way is not found under its old name; looking settles it.
    record = ledger.job(job)
    if record is None:
        return ()
    attempts = tuple(change(a) if a.submission_id == submission_id else a for a in record.attempts)
    return (Change(Table.JOBS, str(job), replace(record, attempts=attempts)),)
