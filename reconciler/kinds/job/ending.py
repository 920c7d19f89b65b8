"""How an attempt ended, and what follows from it."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import takewhile

from reconciler.model.job import FailureClass, Retry, StopCause
from reconciler.model.ledger import Attempt, Dropped, Ended, JobRecord
from reconciler.model.moment import Moment
from reconciler.model.states import JobState
from reconciler.model.world import Result

# Attempts that a record keeps; older ones stay in the history. Retries without end must not grow the ledger.
KEPT_ATTEMPTS = 20

NEVER_RAN = "NeverRan"
# Its node could not even begin the program, such as one without the shared directory.
NOT_BEGUN = "NotBegun"
# Ends that no retry policy is asked about: the program never began, or the commit that ended it was taken back.
_NO_FAILURES = frozenset({NEVER_RAN, NOT_BEGUN, StopCause.REMOVED.value, StopCause.EDITED.value})
# What Ray calls it when it cannot set up what a job brings along; of all that keeps a program from beginning, this
# alone may be the job's fault.
_OWN_FAULT = "RUNTIME_ENV_SETUP_FAILURE"

_STOPPED_AS = {
    StopCause.REMOVED: JobState.STOPPED,
    StopCause.EDITED: JobState.STOPPED,
    StopCause.ASKED: JobState.STOPPED,
    StopCause.DRAINED: JobState.STOPPED,
    StopCause.START_LIMIT: JobState.TIMED_OUT,
    StopCause.ATTEMPT_LIMIT: JobState.TIMED_OUT,
    StopCause.TOTAL_LIMIT: JobState.TIMED_OUT,
}


def ended_by(result: Result, attempt: Attempt, at: Moment) -> Ended:
    """Return the end that a job runner wrote down."""
    match result.outcome:
        case "exited" if result.exit_code == 0:
            return Ended(JobState.SUCCEEDED, "ExitCode", "exit code 0", at, None, 0)
        case "exited" if result.signal is not None:
            # Nobody asked for it: out of memory, or a person on the machine. Another try may fare better.
            message = f"ended by signal {result.signal}"
            return Ended(JobState.FAILED, "Signal", message, at, FailureClass.TRANSIENT, result.exit_code)
        case "exited":
            message = result.message or f"exit code {result.exit_code}"
            return Ended(JobState.FAILED, "ExitCode", message, at, FailureClass.USER, result.exit_code)
        case "stopped":
            return stopped(attempt, result.message, at, result.exit_code)
        case "timed-out":
            message = result.message or "its attempt limit has passed"
            return Ended(JobState.TIMED_OUT, "AttemptLimit", message, at, None, result.exit_code)
        case "fenced":
            message = "ended itself: a newer head of its cluster exists"
            return Ended(JobState.LOST, "HeadReplaced", message, at, FailureClass.LOST, result.exit_code)
        case outcome:
            # A word of a later runner, too, is about a program that did not start.
            message = result.message or "its program could not be started"
            failure = FailureClass.TRANSIENT if outcome == "hindered" else FailureClass.USER
            return Ended(JobState.FAILED, "NotStarted", message, at, failure, result.exit_code)


def stopped(attempt: Attempt, message: str, at: Moment, exit_code: int | None = None) -> Ended:
    """Return the end of an attempt that was stopped, by us or by hand."""
    if attempt.stop is None:
        text = message or "stopped, but not by RayOps"
        return Ended(JobState.STOPPED, "StoppedByHand", text, at, None, exit_code)
    cause = attempt.stop.cause
    failure = FailureClass.PREEMPTED if cause is StopCause.DRAINED else None
    return Ended(_STOPPED_AS[cause], cause.value, message or cause.value, at, failure, exit_code)


def lost(message: str, at: Moment, died: Sequence[str] = ()) -> Ended:
    """Return the end of an attempt that ran and left no result, while these of its nodes `died`."""
    return blamed(Ended(JobState.LOST, "NoResult", message, at, FailureClass.LOST), died)


def blamed(ended: Ended, died: Sequence[str]) -> Ended:
    """Return a failure as that of the nodes that died, if any did; any other end stays as it is."""
    if ended.failure is None or not died:
        return ended
    return replace(ended, failure=FailureClass.NODE, message=f"{ended.message}; {', '.join(died)} failed under it")


def never_ran(attempt: Attempt, message: str, at: Moment) -> Ended:
    """Return the end of an attempt that certainly never ran; one that was to stop counts as stopped."""
    if attempt.stop is not None:
        return stopped(attempt, message, at)
    return Ended(JobState.STOPPED, NEVER_RAN, message, at, FailureClass.PREEMPTED)


def not_begun(attempt: Attempt, error: str, message: str, at: Moment) -> Ended:
    """Return the end of an attempt that Ray gave up, with this `error`, and that nobody had claimed."""
    if attempt.stop is not None:
        return stopped(attempt, message, at)
    if error == _OWN_FAULT:
        return Ended(JobState.FAILED, error, message, at, FailureClass.TRANSIENT)
    text = f"its program never began on {attempt.nodes[0]}; {message}"
    return Ended(JobState.FAILED, NOT_BEGUN, text, at, FailureClass.NODE)


def next_try(record: JobRecord, retry: Retry) -> Moment | None:
    """Return when another attempt of this generation may begin, None when there is to be none.

    An attempt that had to make room, or never ran, is repeated without being counted: the job is not to blame. One
    that its node could not begin is so, too, but waits: the next node may be no better.
    """
    attempts = record.of_generation()
    last = attempts[-1].ended
    assert last is not None, "only an ended attempt is followed by another one"
    if last.reason == NOT_BEGUN:
        in_a_row = takewhile(lambda each: each.ended is not None and each.ended.reason == NOT_BEGUN, attempts[::-1])
        return last.at + _pause(retry, len(list(in_a_row)))
    if last.reason in _NO_FAILURES:
        return last.at
    if last.failure is None or last.failure not in retry.on:
        return None
    if last.failure is FailureClass.PREEMPTED:
        return last.at
    counted = _dropped(record.dropped, attempts).counted
    if counted > retry.limit:
        return None
    return last.at + _pause(retry, counted)


def _pause(retry: Retry, tries: int) -> timedelta:
    """Return the wait after so many tries."""
    # In seconds: the doubled wait may be longer than any length of time that Python knows.
    doubled = retry.backoff.total_seconds() * 2 ** min(tries - 1, 20)
    return timedelta(seconds=min(doubled, retry.max_backoff.total_seconds()))


def time_run(record: JobRecord, now: Moment) -> timedelta:
    """Return how long the attempts of this generation have run together."""
    attempts = record.of_generation()
    ended = _dropped(record.dropped, attempts).seconds
    live = attempts[-1] if attempts and attempts[-1].ended is None else None
    since = now.since(live.running) if live is not None and live.running is not None else timedelta()
    return timedelta(seconds=ended) + since


def trimmed(record: JobRecord) -> JobRecord:
    """Return the record with room for one more attempt; what its limits need of older ones is summed up."""
    surplus = max(0, len(record.attempts) + 1 - KEPT_ATTEMPTS)
    if not surplus:
        return record
    gone = tuple(a for a in record.attempts[:surplus] if a.digest == record.digest)
    return replace(record, attempts=record.attempts[surplus:], dropped=_dropped(record.dropped, gone))


def _dropped(before: Dropped, attempts: tuple[Attempt, ...]) -> Dropped:
    """Return the sums with these attempts added, as far as they have ended."""
    counted, seconds = before.counted, before.seconds
    for attempt in attempts:
        if attempt.ended is not None:
            counted += (
                attempt.ended.failure is not FailureClass.PREEMPTED and attempt.ended.reason not in _NO_FAILURES
            )
            if attempt.running is not None and attempt.ended.reason not in {NEVER_RAN, NOT_BEGUN}:
                seconds += attempt.ended.at.since(attempt.running).total_seconds()
    return Dropped(counted, seconds)
