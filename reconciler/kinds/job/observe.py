"""Look at attempts: their job directories, and their machines where the end is in doubt."""

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from reconciler.kind import Doors, Look
from reconciler.model.json import as_number, as_text
from reconciler.model.layout import job_dir
from reconciler.model.ledger import Attempt, Ledger
from reconciler.model.outcome import FailureKind
from reconciler.model.sighting import Present, Sighting, Unreachable
from reconciler.model.views import ClusterView, cluster_view, live_attempts
from reconciler.model.world import AttemptSeen, Result, World
from reconciler.remote.files import FilesError
from reconciler.remote.slots import see_claim

# Job directories belong to jobs: what is in them is hostile, and short.
FILE_LIMIT = 64 * 1024
MESSAGE_LIMIT = 2000


def looks(ledger: Ledger) -> Iterator[Look]:
    """Read the job directory of every attempt that may run."""
    for _, _, attempt in live_attempts(ledger):
        yield _directory_look(attempt)


def _directory_look(attempt: Attempt) -> Look:
    return Look(
        "attempts",
        attempt.submission_id,
        f"jobdir:{attempt.submission_id}",
        lambda doors: see_attempt(doors, attempt),
    )


def see_attempt(doors: Doors, attempt: Attempt) -> Sighting[AttemptSeen]:
    """Read claim, heartbeat and result of one attempt, the result last: it is written last."""
    folder, now = job_dir(attempt.submission_id), doors.clock.now()
    try:
        claim = _read(doors, f"{folder}/claim.json")
        beat = doors.shared.stamp(f"{folder}/heartbeat.json") if claim is not None else None
        result = _read(doors, f"{folder}/result.json") if claim is not None else None
    except FilesError as error:
        return Unreachable(error.message, now)
    seen = AttemptSeen(
        claimed=claim is not None,
        burnt=claim is not None and claim.get("burnt") is True,
        beat=str(beat.mtime_ns) if beat is not None else "",
        result=_result(result) if result is not None else None,
    )
    return Present(seen, now)


def _read(doors: Doors, path: str) -> Mapping[str, Any] | None:
    data = doors.shared.read(path, limit=FILE_LIMIT)
    if data is None:
        return None
    try:
        document = orjson.loads(data)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        # Written by rename, so it is never half there: somebody put it there by hand.
        message = f"{path} is not a JSON object; remove it, or put back what the job runner wrote"
        raise FilesError(FailureKind.REFUSED, message)
    return document


def _result(document: Mapping[str, Any]) -> Result:
    return Result(
        outcome=as_text(document.get("outcome"), 32),
        exit_code=as_number(document.get("exitCode")),
        signal=as_number(document.get("signal")),
        message=as_text(document.get("message"), MESSAGE_LIMIT),
    )


def looks_then(world: World) -> Iterator[Look]:
    """Ask the claiming machine about attempts that Ray runs no longer and that left no result."""
    views: dict[str, ClusterView] = {}
    for _, _, attempt in live_attempts(world.ledger):
        if attempt.cluster not in views:
            views[attempt.cluster] = cluster_view(world, attempt.cluster)
        if _in_doubt(world, attempt, views[attempt.cluster]):
            yield _claim_look(attempt)


def _in_doubt(world: World, attempt: Attempt, cluster: ClusterView) -> bool:
    match world.observed.attempts.get(attempt.submission_id):
        case Present(seen=seen) if seen.claimed and not seen.burnt and seen.result is None:
            pass
        case _:
            return False
    if cluster.epoch != attempt.epoch or cluster.head is None:
        return True
    if cluster.seen is None:
        return False
    job = cluster.seen.jobs.get(attempt.submission_id)
    return job is None or job.status.ended


def _claim_look(attempt: Attempt) -> Look:
    def see(doors: Doors) -> Sighting[Any]:
        folder = f"{doors.site.shared_root}/{job_dir(attempt.submission_id)}"
        return see_claim(doors.ask, attempt.machine, folder, attempt.submission_id, doors.clock.now())

    about = f"attempt:{attempt.submission_id}"
    return Look("claims", attempt.submission_id, f"machine:{attempt.machine}", see, about, by_gate=True)
