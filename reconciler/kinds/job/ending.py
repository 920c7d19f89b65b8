"""How an attempt ended, and what follows from it."""

from datetime import timedelta

from reconciler.model.job import FailureClass, Retry
from reconciler.model.ledger import Attempt, Ended, JobState, StopCause
from reconciler.model.moment import Moment
from reconciler.model.world import Result

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
        case _:
            message = result.message or "its program could not be started"
            return Ended(JobState.FAILED, "NotStarted", message, at, FailureClass.USER, result.exit_code)


def stopped(attempt: Attempt, message: str, at: Moment, exit_code: int | None = None) -> Ended:
    """Return the end of an attempt that was stopped, by us or by hand."""
    if attempt.stop is None:
        text = message or "stopped, but not by RayOps"
        return Ended(JobState.STOPPED, "StoppedByHand", text, at, None, exit_code)
    cause = attempt.stop.cause
    failure = FailureClass.PREEMPTED if cause is StopCause.DRAINED else None
    return Ended(_STOPPED_AS[cause], cause.value, message or cause.value, at, failure, exit_code)


def lost(message: str, at: Moment) -> Ended:
    """Return the end of an attempt that ran and left no result."""
    return Ended(JobState.LOST, "NoResult", message, at, FailureClass.LOST)


def never_ran(message: str, at: Moment) -> Ended:
    """Return the end of an attempt that certainly never ran."""
    return Ended(JobState.STOPPED, "NeverRan", message, at, FailureClass.PREEMPTED)


def next_try(attempts: tuple[Attempt, ...], retry: Retry) -> Moment | None:
    """Return when another attempt may begin, None when there is to be none.

    An attempt that had to make room, or never ran, is repeated without being counted: the job is not to blame.
    """
    last = attempts[-1].ended
    assert last is not None, "only an ended attempt is followed by another one"
    if last.failure is FailureClass.PREEMPTED and FailureClass.PREEMPTED in retry.on:
        return last.at
    if last.failure is None or last.failure not in retry.on:
        return None
    counted = sum(1 for a in attempts if a.ended is not None and a.ended.failure is not FailureClass.PREEMPTED)
    if counted > retry.limit:
        return None
    wait: timedelta = min(retry.max_backoff, retry.backoff * 2 ** min(counted - 1, 20))
    return last.at + wait


def time_run(attempts: tuple[Attempt, ...], now: Moment) -> timedelta:
    """Return how long attempts have run together."""
    total = timedelta()
    for attempt in attempts:
        if attempt.running is not None:
            end = attempt.ended.at if attempt.ended is not None else now
            total += end.since(attempt.running)
    return total
