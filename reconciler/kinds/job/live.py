"""Rules for a job with an attempt that may run."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import TypeAlias

from reconciler.kinds.job.case import Case, result_of
from reconciler.kinds.job.ending import ended_by, lost, never_ran, stopped, time_run
from reconciler.kinds.job.submit import submission
from reconciler.model.effect import BurnClaim, StopAttempt, SweepAttempt
from reconciler.model.job import FailureClass
from reconciler.model.ledger import Ended, JobState, Stop, StopCause, node_key
from reconciler.model.plan import Action, Because, Decision, Reason, Weight
from reconciler.model.ray import RayJobStatus
from reconciler.model.sighting import Absent, Present, Unreachable
from reconciler.model.views import ray_nodes
from reconciler.model.world import ClaimState

# The runner enforces the attempt limit itself; this is how much later the daemon does it for a runner that hangs.
RUNNER_DELAY = timedelta(seconds=60)

Rule: TypeAlias = Callable[[Case], tuple[Decision, ...] | None]


def decide(case: Case) -> tuple[Decision, ...]:
    """Return what to do about the live attempt; nothing when it runs as it should."""
    return next(decisions for rule in RULES if (decisions := rule(case)) is not None)


def _result_is_there(case: Case) -> tuple[Decision, ...] | None:
    seen = result_of(case)
    if seen is None or seen.result is None:
        return None
    return case.end(ended_by(seen.result, case.attempt, case.now))


def _directory_unreadable(case: Case) -> tuple[Decision, ...] | None:
    match case.directory:
        case Unreachable(reason=text):
            because = Because(Reason.OUTCOME_UNKNOWN, f"its job directory cannot be read: {text}")
            return case.hold(because)
        case None:
            return case.hold(Because(Reason.OUTCOME_UNKNOWN, "its job directory was not looked at yet"))
        case _:
            return None


def _head_replaced(case: Case) -> tuple[Decision, ...] | None:
    if not case.head_replaced:
        return None
    return _in_doubt(case, "the head that took it is gone", None)


def _head_silent(case: Case) -> tuple[Decision, ...] | None:
    if case.seen is not None:
        return None
    assert case.cluster is not None, "a live attempt has a cluster"
    return case.hold(case.cluster.because)


def _not_submitted(case: Case) -> tuple[Decision, ...] | None:
    attempt = case.attempt
    if attempt.submitted is not None:
        return None
    if case.ray is not None:
        because = Because(Reason.OBSERVED, f"Ray has attempt {attempt.number}")
        return case.note(because, case.set_attempt(replace(attempt, submitted=case.now)))
    seen = result_of(case)
    if seen is not None and seen.burnt:
        return case.end(never_ran("it never reached Ray", case.now))
    if _stop_cause(case) is not None or _nodes_gone(case):
        return _burn(
            case, Because(Reason.CHANGED, f"attempt {attempt.number} never reached Ray and is not wanted now")
        )
    assert case.job is not None, "a removed job is not wanted"
    because = Because(Reason.OUTCOME_UNKNOWN, f"Ray does not have attempt {attempt.number}: handing it over")
    effect = submission(case.job, attempt, case.head, case.world, case.limit("attempt"))
    return (Action(case.id, effect, because, (), Weight.NONE, case.pace()),)


def _vanished(case: Case) -> tuple[Decision, ...] | None:
    if case.ray is not None:
        return None
    return _in_doubt(case, "Ray has no record of it any more", None)


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
            # Without a claim the program never began: setting up failed, or the node left before the start.
            ended = Ended(JobState.FAILED, ray.error_type or "NotStarted", text, case.now, FailureClass.TRANSIENT)
    return _in_doubt(case, text, ended)


def _stop_wanted(case: Case) -> tuple[Decision, ...] | None:
    attempt = case.attempt
    cause = attempt.stop.cause if attempt.stop is not None else _stop_cause(case)
    if cause is None:
        return None
    repeat = case.world.tuning.stop_repeat + (case.job.spec.grace if case.job is not None else timedelta())
    if attempt.stop is not None and case.now.since(attempt.stop.last) < repeat:
        because = Because(Reason.STOPPING, f"attempt {attempt.number} was asked to stop ({cause.value})")
        return case.hold(because, attempt.stop.last + repeat)
    first = attempt.stop.first if attempt.stop is not None else case.now
    before = case.set_attempt(replace(attempt, stop=Stop(cause, first, case.now)))
    because = Because(_CAUSES[cause], f"stopping attempt {attempt.number}: {cause.value}")
    weight = Weight.STOPS if cause in {StopCause.REMOVED, StopCause.EDITED} else Weight.NONE
    if attempt.stop is not None:
        weight = Weight.NONE
    effect = StopAttempt(case.head, attempt.submission_id)
    return (Action(case.id, effect, because, before, weight, case.pace()),)


def _begins_to_run(case: Case) -> tuple[Decision, ...] | None:
    attempt, ray = case.attempt, case.ray
    if attempt.running is not None or ray is None or ray.status is not RayJobStatus.RUNNING:
        return None
    because = Because(Reason.OBSERVED, f"attempt {attempt.number} runs")
    return case.note(because, case.set_attempt(replace(attempt, running=case.now, vanished=None)))


def _as_desired(case: Case) -> tuple[Decision, ...]:
    if case.attempt.running is None:
        because = Because(Reason.STARTING, f"attempt {case.attempt.number} waits for Ray to start it")
        return case.hold(because)
    return ()


# First match wins.
RULES: tuple[Rule, ...] = (
    _result_is_there,
    _directory_unreadable,
    _head_replaced,
    _head_silent,
    _not_submitted,
    _vanished,
    _ended_in_ray,
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
    if attempt.running is None:
        waits = now.since(attempt.submitted) if attempt.submitted is not None else timedelta()
        return StopCause.START_LIMIT if start is not None and waits > start else None
    if limit is not None and now.since(attempt.running) > limit + RUNNER_DELAY:
        return StopCause.ATTEMPT_LIMIT
    if total is not None and time_run(case.record.of_generation(), now) > total:
        return StopCause.TOTAL_LIMIT
    return None


def _drain_deadline(case: Case) -> StopCause | None:
    """Tell whether a node leaves: by its drain deadline, or lost by Ray before the job began there."""
    if case.attempt.running is None and _nodes_gone(case):
        return StopCause.DRAINED
    for node in case.attempt.nodes:
        drained = case.world.ledger.drains.get(node_key(case.attempt.cluster, node))
        after = _drain_after(case, node)
        if drained is not None and after is not None and case.now.since(drained.since) >= after:
            return StopCause.DRAINED
    return None


def _drain_after(case: Case, node: str) -> timedelta | None:
    for loaded in case.world.desired.objects.values():
        if loaded.id.kind == "NodePool" and loaded.document.spec.cluster == case.attempt.cluster:
            for drain in loaded.document.spec.drain:
                if drain.node == node:
                    after: timedelta | None = drain.after
                    return after
    return None


def _nodes_gone(case: Case) -> bool:
    return case.seen is not None and not set(case.attempt.nodes) <= ray_nodes(case.seen).keys()


def _in_doubt(case: Case, text: str, unclaimed: Ended | None) -> tuple[Decision, ...]:
    """Settle an attempt that Ray runs no longer, by its claim: gone, still alive, or never begun.

    `unclaimed` is the end of an attempt that nobody claimed; None means that it never ran.
    """
    attempt, now = case.attempt, case.now
    seen = result_of(case)
    assert seen is not None, "rules before this one answer for an unreadable directory"
    if seen.claimed and not seen.burnt:
        return _claimed(case, text)
    if attempt.vanished is None:
        changed = case.set_attempt(replace(attempt, vanished=now))
        return case.note(Because(Reason.RECORD_VANISHED, f"attempt {attempt.number}: {text}"), changed)
    if seen.burnt:
        return case.end(unclaimed if unclaimed is not None else never_ran(text, now))
    if now.since(attempt.vanished) < case.world.tuning.visibility:
        because = Because(Reason.RECORD_VANISHED, f"{text}; waiting whether its job directory shows a claim")
        return case.hold(because, attempt.vanished + case.world.tuning.visibility)
    return _burn(case, Because(Reason.RECORD_VANISHED, f"{text} and nobody has claimed attempt {attempt.number}"))


def _claimed(case: Case, text: str) -> tuple[Decision, ...]:
    attempt = case.attempt
    match case.claim:
        case Present(seen=ClaimState.GONE):
            return _process_gone(case, text)
        case Present(seen=ClaimState.ALIVE):
            effect = SweepAttempt(attempt.machine, attempt.submission_id)
            because = Because(Reason.PROCESS_LEFT, f"its process outlived Ray; {text}: ending it")
            return (Action(case.id, effect, because, (), Weight.NONE, case.pace()),)
        case Present(seen=ClaimState.ELSEWHERE):
            text = (
                f"it was claimed by a machine other than {attempt.machine}; look at claim.json in its job directory"
            )
            return case.hold(Because(Reason.OUTCOME_UNKNOWN, text))
        case Present() | Absent():
            return case.hold(
                Because(Reason.OUTCOME_UNKNOWN, f"{attempt.machine} does not see its claim yet; {text}")
            )
        case Unreachable(reason=why):
            because = Because(
                Reason.MACHINE_UNREACHABLE,
                f"{text}, and {attempt.machine} cannot say whether its process lives ({why}); its nodes stay taken",
            )
            return case.hold(because)
        case None:
            return case.hold(Because(Reason.OUTCOME_UNKNOWN, f"{text}; asking its machine"))


def _process_gone(case: Case, text: str) -> tuple[Decision, ...]:
    attempt, now, visibility = case.attempt, case.now, case.world.tuning.visibility
    if attempt.vanished is None:
        # The result may be on its way from another client of the file system.
        changed = case.set_attempt(replace(attempt, vanished=now))
        return case.note(Because(Reason.RECORD_VANISHED, f"its process is gone; {text}"), changed)
    if now.since(attempt.vanished) < visibility:
        because = Because(Reason.RECORD_VANISHED, f"its process is gone; waiting for a late result; {text}")
        return case.hold(because, attempt.vanished + visibility)
    return case.end(stopped(attempt, text, now) if attempt.stop is not None else lost(f"no result; {text}", now))


def _burn(case: Case, because: Because) -> tuple[Decision, ...]:
    effect = BurnClaim(case.attempt.submission_id)
    return (Action(case.id, effect, because, (), Weight.NONE, case.pace()),)
