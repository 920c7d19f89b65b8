"""When something that failed may be tried again. Pure: the jitter comes from the target's name, not from chance."""

import hashlib
from datetime import timedelta
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

# Doubling beyond this passes any cap; without the bound a target that fails for months overflows.
_MAX_DOUBLINGS = 40


def after_failure(
    before: Backoff | None, failure: NotDone, target: str, digest: str, now: Moment, tuning: Tuning
) -> Backoff:
    """Return the back-off after one more failure of `target`, whose spec has `digest`."""
    failures = before.failures + 1 if before is not None and before.digest == digest else 1
    until = None if failure.kind in _NEEDS_EDIT else now + _wait(target, failures, tuning)
    return Backoff(failures, failure.kind, failure.message, digest, now, until)


def next_try(backoff: Backoff | None, digest: str, now: Moment) -> NextTry:
    """Return when a target with this spec may be tried: None for now, a later moment, or not before an edit."""
    if backoff is None or backoff.digest != digest:
        return None
    if backoff.until is None:
        return Never.UNTIL_EDITED
    return backoff.until if now.is_before(backoff.until) else None


def _wait(target: str, failures: int, tuning: Tuning) -> timedelta:
    """Return a wait that doubles up to the cap, and of that between half and all."""
    doubled = tuning.backoff_base.total_seconds() * 2 ** min(failures - 1, _MAX_DOUBLINGS)
    longest = min(doubled, tuning.backoff_cap.total_seconds())
    # 500 machines that vanished together must not be asked together again (reliability-security.md §4 fault 45).
    drawn = hashlib.sha256(f"{target}\0{failures}".encode(errors="surrogatepass")).digest()
    return timedelta(seconds=longest * (0.5 + int.from_bytes(drawn[:4]) / 2**33))
