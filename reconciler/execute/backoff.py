"""When something that failed may be tried again. Pure: the jitter comes from the target's name, not from chance."""

from reconciler.model.ledger import Backoff
from reconciler.model.moment import Moment
from reconciler.model.outcome import FailureKind, NotDone
from reconciler.model.world import Tuning

# Time cannot mend what the repo says or what we do wrong; only an edit makes another attempt worth its harm.
_NEEDS_EDIT = frozenset({FailureKind.INVALID, FailureKind.BUG})


def after_failure(
    before: Backoff | None, failure: NotDone, target: str, digest: str, now: Moment, tuning: Tuning
) -> Backoff:
    """Return the back-off after one more failure of `target`, whose spec has `digest`."""
    failures = before.failures + 1 if before is not None and before.digest == digest else 1
    until = None if failure.kind in _NEEDS_EDIT else now + tuning.pause(target, failures)
    return Backoff(failures, failure.kind, failure.message, digest, now, until)
