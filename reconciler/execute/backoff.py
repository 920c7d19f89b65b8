"""When something that failed may be tried again. Pure: the jitter comes from the target's name, not from chance."""

from enum import Enum
from typing import Literal, TypeAlias

from reconciler.model.ledger import Backoff
from reconciler.model.moment import Moment
from reconciler.model.outcome import FailureKind, NotDone
from reconciler.model.world import Tuning


class Never(Enum):
    """Time alone changes nothing."""

    UNTIL_EDITED = "until edited"


NextTry: TypeAlias = Moment | Literal[Never.UNTIL_EDITED] | None

# Time cannot mend what the repo says or what we do wrong; only an edit makes another attempt worth its harm.
_NEEDS_EDIT = frozenset({FailureKind.INVALID, FailureKind.BUG})


def after_failure(
    before: Backoff | None, failure: NotDone, target: str, digest: str, now: Moment, tuning: Tuning
) -> Backoff:
    """Return the back-off after one more failure of `target`, whose spec has `digest`."""
    failures = before.failures + 1 if before is not None and before.digest == digest else 1
    until = None if failure.kind in _NEEDS_EDIT else now + tuning.pause(target, failures)
    return Backoff(failures, failure.kind, failure.message, digest, now, until)


def next_try(backoff: Backoff | None, digest: str, now: Moment) -> NextTry:
    """Return when a target with this spec may be tried: None for now, a later moment, or not before an edit."""
    if backoff is None or backoff.digest != digest:
        return None
    if backoff.until is None:
        return Never.UNTIL_EDITED
    return backoff.until if now.is_before(backoff.until) else None
