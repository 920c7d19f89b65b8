"""Rules for a job with an attempt that may run."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import TypeAlias

from reconciler.kinds.job.case import Case, result_of
from reconciler.kinds.job.doubt import burn, directory, grace, in_doubt
from reconciler.kinds.job.ending import blamed, ended_by, lost, never_ran, not_begun, stopped, time_run
from reconciler.kinds.job.submit import submission
from reconciler.model.effect import StopAttempt
from reconciler.model.job import StopCause
from reconciler.model.ledger import Stop, node_key
from reconciler.model.plan import Action, Because, Decision, Reason, Weight
from reconciler.model.ray import RayJobStatus
from reconciler.model.sighting import Absent, Present, Unreachable

Rule: TypeAlias = Callable[[Case], tuple[Decision, ...] | None]


def decide(case: Case) -> tuple[Decision, ...]:
    """Return what to do about the live attempt; nothing when it runs as it should."""
    return next(decisions for rule in RULES if (decisions := rule(case)) is not None)


def _told_to_stop(case: Case) -> tuple[Decision, ...] | None:
    """Find out who told a runner to stop when it was not us: a person, by way of Ray, or a raylet that died."""
    seen = result_of(case)
    if seen is None or seen.result is None or seen.result.outcome != "stopped" or case.attempt.stop is not None:
        return None
    text = "its raylet or head ended and took it along"
    if not case.head_replaced:
        if case.seen is None or (case.ray is not None and not case.ray.status.ended):
            because = Because(Reason.OUTCOME_UNKNOWN, "its runner was told to stop; Ray has not said by whom")
            return case.hold(because)
        if case.ray is not None and case.ray.status is RayJobStatus.STOPPED:
            return None
        if case.ray is None or case.attempt.vanished is not None:
            # Found without Ray and ended by its machine; Ray may write a record anew when it notices that.
            text = "Ray no longer ran it, and its runner was told to stop"
    return case.end(lost(text, case.now, case.died))


def _result_is_there(case: Case) -> tuple[Decision, ...] | None:
    seen = result_of(case)
    if seen is None or seen.result is None:
        return None
    ended = ended_by(seen.result, case.attempt, case.now)
    # Other ends have their reason already: only of a program that failed nobody knows why it did.
    return case.end(blamed(ended, case.died) if seen.result.outcome == "exited" else ended)


def _directory_unreadable(case: Case) -> tuple[Decision, ...] | None:
    match case.directory:
        case Present():
            return None
        case Unreachable(reason=text):
            return case.hold(Because(Reason.OUTCOME_UNKNOWN, f"its job directory cannot be read: {text}"))
        case Absent() | None:
            return case.hold(Because(Reason.OUTCOME_UNKNOWN, "its job directory was not looked at yet"))


def _head_replaced(case: Case) -> tuple[Decision, ...] | None:
    if not case.head_replaced:
        return None
    return in_doubt(case, "the head that took it is gone", None)


def _head_silent(case: Case) -> tuple[Decision, ...] | None:
    if case.seen is not None:
        return None
    assert case.cluster is not None, "a live attempt has a cluster"
    if not case.cluster.ready:
        return case.hold(case.cluster.because)
    text = f"attempt {case.attempt.number} is younger than the last look at its head"
    return case.hold(Because(Reason.OUTCOME_UNKNOWN, text))


def _not_submitted(case: Case) -> tuple[Decision, ...] | None:
    attempt = case.attempt
    if attempt.submitted is not None:
        return None
    seen = directory(case)
    if case.ray is not None or (seen.claimed and not seen.burnt):
        because = Because(Reason.OBSERVED, f"attempt {attempt.number} has reached Ray")
        return case.note(because, case.set_attempt(replace(attempt, submitted=case.now)))
    if seen.burnt:
        return case.end(never_ran(attempt, "it never reached Ray", case.now))
    if case.job is None and case.world.desired.hides(case.id):
        # It has not left, but what it was to run is in a broken file, and its nodes are for others meanwhile.
        text = f"attempt {attempt.number} never reached Ray, and no file that can be read describes its job"
        return burn(case, Because(Reason.INVALID, text))
    if _nodes_gone(case):
        text = f"attempt {attempt.number} never reached Ray, and its nodes are gone"
        return burn(case, Because(Reason.NODE_LOST, text))
    if (cause := _stop_cause(case)) is not None:
        text = f"attempt {attempt.number} never reached Ray and is not wanted any more ({cause.value})"
        return burn(case, Because(_CAUSES[cause], text))
    assert case.job is not None, "a removed job is not wanted"
    because = Because(Reason.OUTCOME_UNKNOWN, f"Ray does not have attempt {attempt.number}: handing it over")
    effect = submission(case.job, attempt, case.head, case.world)
    return (Action(case.id, effect, because, (), Weight.NONE, case.pace()),)


def _vanished(case: Case) -> tuple[Decision, ...] | None:
    if case.ray is not None:
        return None
    return in_doubt(case, "Ray has no record of it any more", None)


def _ended_in_ray(case: Case) -> tuple[Decision, ...] | None:
    ray = case.ray
    assert ray is not None, "the rule before this one answers for an unknown record"
    if not ray.status.ended:
        return None
    text = f"Ray says {ray.status.value}: {ray.message or ray.error_type or 'no message'}"
    match ray.status:
        case RayJobStatus.STOPPED:
            ended = stopped(case.attempt, text, case.now)
        case _:
            # Without a claim the program never began: its node could not read the share, or left before the start.
            ended = not_begun(case.attempt, ray.error_type, text, case.now)
    return in_doubt(case, text, ended)


def _back_in_ray(case: Case) -> tuple[Decision, ...] | None:
    """Forget that a record was missing: the wait for a claim begins anew should it vanish again."""
    if case.attempt.vanished is None:
        return None
    because = Because(Reason.OBSERVED, f"Ray has attempt {case.attempt.number} again")
    return case.note(because, case.set_attempt(replace(case.attempt, vanished=None, gone=None)))


def _begun_meanwhile(case: Case) -> tuple[Decision, ...] | None:
    """Take back that an attempt was to be let go before it began, once it has begun: that would be a stop."""
    attempt = case.attempt
    if attempt.stop is None or attempt.running is not None or not _has_begun(case):
        return None
    because = Because(Reason.OBSERVED, f"attempt {attempt.number} has begun before it could be let go")
    return case.note(because, case.set_attempt(replace(attempt, running=case.now, stop=None)))


def _stop_wanted(case: Case) -> tuple[Decision, ...] | None:
    attempt = case.attempt
    cause = attempt.stop.cause if attempt.stop is not None else _stop_cause(case)
    if cause is None:
        return None
    if attempt.stop is not None and directory(case).burnt:
        return case.end(never_ran(attempt, f"stopped before it began ({cause.value})", case.now))
    repeat = case.world.tuning.stop_repeat + grace(case)
    if attempt.stop is not None and case.now.since(attempt.stop.last) < repeat:
        because = Because(Reason.STOPPING, f"attempt {attempt.number} was asked to stop ({cause.value})")
        return case.hold(because, attempt.stop.last + repeat)
    first = attempt.stop.first if attempt.stop is not None else case.now
    asked = replace(attempt, stop=Stop(cause, first, case.now))
    because = Because(_CAUSES[cause], f"stopping attempt {attempt.number}: {cause.value}")
    assert case.ray is not None, "rules before this one answer for an unknown record"
    if case.ray.status is RayJobStatus.PENDING and not directory(case).claimed:
        # Ray accepts the stop of a pending job and does nothing (ray-facts.md §3.5): without a claim it never runs.
        weight = Weight.REMOVES if case.job is None else Weight.NONE
        return burn(case, because, case.set_attempt(asked), weight)
    before = case.set_attempt(replace(asked, running=attempt.running or case.now))
    weight = Weight.STOPS if attempt.stop is None and cause in _UNASKED else Weight.NONE
    effect = StopAttempt(case.head, attempt.submission_id)
    return (Action(case.id, effect, because, before, weight, case.pace()),)


def _begins_to_run(case: Case) -> tuple[Decision, ...] | None:
    attempt, ray = case.attempt, case.ray
    if attempt.running is not None or ray is None or ray.status is not RayJobStatus.RUNNING:
        return None
    because = Because(Reason.OBSERVED, f"attempt {attempt.number} runs")
    return case.note(because, case.set_attempt(replace(attempt, running=case.now, vanished=None, gone=None)))


def _as_desired(case: Case) -> tuple[Decision, ...]:
    if case.attempt.running is None:
        because = Because(Reason.STARTING, f"attempt {case.attempt.number} waits for Ray to start it")
        return case.hold(because)
    return ()


# First match wins.
RULES: tuple[Rule, ...] = (
    _told_to_stop,
    _result_is_there,
    _directory_unreadable,
    _head_replaced,
    _head_silent,
    _not_submitted,
    _vanished,
    _ended_in_ray,
    _back_in_ray,
    _begun_meanwhile,
    _stop_wanted,
    _begins_to_run,
    _as_desired,
)

_CAUSES = {
    StopCause.REMOVED: Reason.REMOVED,
    StopCause.EDITED: Reason.CHANGED,
    StopCause.ASKED: Reason.ASKED_TO_STOP,
    StopCause.START_LIMIT: Reason.START_LIMIT,
    StopCause.ATTEMPT_LIMIT: Reason.ATTEMPT_LIMIT,
    StopCause.TOTAL_LIMIT: Reason.TOTAL_LIMIT,
    StopCause.DRAINED: Reason.DRAINED,
}

# Nobody named the job when asking for these; so they count for the brake on stops.
_UNASKED = frozenset({StopCause.REMOVED, StopCause.EDITED, StopCause.DRAINED})


def _stop_cause(case: Case) -> StopCause | None:
    if case.job is None:
        return StopCause.REMOVED
    if case.job.spec.stop:
        return StopCause.ASKED
    if case.digest != case.attempt.digest:
        return StopCause.EDITED
    return _limit_passed(case) or _drain_deadline(case)


def _limit_passed(case: Case) -> StopCause | None:
    attempt, now = case.attempt, case.now
    start, limit, total = case.limit("start"), case.limit("attempt"), case.limit("total")
    if not _has_begun(case):
        waits = now.since(attempt.submitted) if attempt.submitted is not None else timedelta()
        return StopCause.START_LIMIT if start is not None and waits > start else None
    if limit is not None and attempt.running is not None and now.since(attempt.running) > limit:
        return StopCause.ATTEMPT_LIMIT
    if total is not None and time_run(case.record, now) > total:
        return StopCause.TOTAL_LIMIT
    return None


def _drain_deadline(case: Case) -> StopCause | None:
    """Tell whether a node leaves: by its drain deadline, or lost by Ray before the job began there."""
    if not _has_begun(case) and _nodes_gone(case):
        return StopCause.DRAINED
    for node in case.attempt.nodes:
        key = node_key(case.attempt.cluster, node)
        drained, after = case.world.ledger.drains.get(key), case.deadlines.get(key)
        if drained is not None and after is not None and case.now.since(drained.since) >= after:
            return StopCause.DRAINED
    return None


def _has_begun(case: Case) -> bool:
    """Say whether the runner has begun, by what was written down or by what is seen now."""
    if case.attempt.running is not None or (case.ray is not None and case.ray.status is RayJobStatus.RUNNING):
        return True
    seen = directory(case)
    return seen.claimed and not seen.burnt


def _nodes_gone(case: Case) -> bool:
    return case.seen is not None and not set(case.attempt.nodes) <= case.seen.living.keys()
