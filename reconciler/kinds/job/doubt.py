"""Settle attempts that Ray runs no longer and that left no result: the claim tells what became of them."""

from dataclasses import replace
from datetime import timedelta

from reconciler.kinds.job.case import Case, result_of
from reconciler.kinds.job.ending import lost, never_ran, stopped
from reconciler.model.effect import BurnClaim, SweepAttempt
from reconciler.model.ledger import Change, Ended
from reconciler.model.plan import Action, Because, Decision, Reason, Weight
from reconciler.model.sighting import Absent, Present, Unreachable
from reconciler.model.world import AttemptSeen, ClaimState

# What the repo no longer says about a job that left it; its runner knows the real one.
GRACE_OF_REMOVED = timedelta(seconds=30)


def in_doubt(case: Case, text: str, unclaimed: Ended | None) -> tuple[Decision, ...]:
    """Settle an attempt that Ray runs no longer, by its claim: gone, still alive, or never begun.

    `unclaimed` is the end of an attempt that nobody claimed; None means that it never ran.
    """
    attempt, now = case.attempt, case.now
    seen = directory(case)
    if seen.claimed and not seen.burnt:
        return _claimed(case, text)
    if seen.burnt:
        return case.end(unclaimed if unclaimed is not None else never_ran(attempt, text, now))
    if attempt.vanished is None:
        return _vanishes(case, f"attempt {attempt.number}: {text}")
    if now.since(attempt.vanished) < case.world.tuning.visibility:
        because = Because(Reason.RECORD_VANISHED, f"{text}; waiting whether its job directory shows a claim")
        return case.hold(because, attempt.vanished + case.world.tuning.visibility)
    return burn(case, Because(Reason.RECORD_VANISHED, f"{text} and nobody has claimed attempt {attempt.number}"))


def _claimed(case: Case, text: str) -> tuple[Decision, ...]:
    attempt = case.attempt
    match case.claim:
        case Present(seen=ClaimState.GONE):
            return _process_gone(case, text)
        case Present(seen=ClaimState.ALIVE):
            return _process_left(case, text)
        case Present(seen=ClaimState.ELSEWHERE):
            # A machine that was newly installed or renamed knows nothing of its earlier life.
            text = (
                f"it was claimed by a machine that {attempt.machine} is not, or is no longer; "
                "if nothing of it runs any more, remove claim.json in its job directory"
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


def _process_left(case: Case, text: str) -> tuple[Decision, ...]:
    """End what Ray runs no longer, but only after its grace: it may be ending already, and saving its work.

    Whether anybody has asked it to end is not known here. The sweep asks it, and kills it 2 s later; so does the
    keeper with all in its slot, whatever its grace, once the raylet there has ended.
    """
    attempt = case.attempt
    if attempt.vanished is None:
        return _vanishes(case, f"its process has outlived Ray; {text}")
    deadline = attempt.vanished + grace(case)
    if case.now.is_before(deadline):
        return case.hold(
            Because(Reason.PROCESS_LEFT, f"its process has outlived Ray and has its grace; {text}"), deadline
        )
    because = Because(Reason.PROCESS_LEFT, f"its process has outlived Ray; {text}: ending it")
    effect = SweepAttempt(attempt.machine, attempt.submission_id)
    return (Action(case.id, effect, because, (), Weight.NONE, case.pace()),)


def _process_gone(case: Case, text: str) -> tuple[Decision, ...]:
    attempt, now, visibility = case.attempt, case.now, case.world.tuning.visibility
    if attempt.gone is None:
        # The result may be on its way from another client of the file system: it was written a moment ago, perhaps,
        # however long ago Ray has lost the attempt.
        changed = replace(attempt, vanished=attempt.vanished or now, gone=now)
        return case.note(Because(Reason.RECORD_VANISHED, f"its process is gone; {text}"), case.set_attempt(changed))
    if now.since(attempt.gone) < visibility:
        because = Because(Reason.RECORD_VANISHED, f"its process is gone; waiting for a late result; {text}")
        return case.hold(because, attempt.gone + visibility)
    return case.end(
        stopped(attempt, text, now) if attempt.stop is not None else lost(f"no result; {text}", now, case.died)
    )


def _vanishes(case: Case, text: str) -> tuple[Decision, ...]:
    """Return the note that starts the wait for what the file system may still hide."""
    changed = case.set_attempt(replace(case.attempt, vanished=case.now))
    return case.note(Because(Reason.RECORD_VANISHED, text), changed)


def burn(
    case: Case, because: Because, before: tuple[Change, ...] = (), weight: Weight | None = None
) -> tuple[Decision, ...]:
    """Return the action that takes the claim of an attempt, so that it can never run."""
    if weight is None:
        # Nothing runs yet, but taking the claim for a job that left the repo is part of its removal. One that a
        # broken file may describe has not left: it loses an attempt that Ray does not have, as any other job does.
        has_left = case.job is None and not case.world.desired.hides(case.id)
        weight = Weight.REMOVES if has_left else Weight.NONE
    effect = BurnClaim(case.attempt.submission_id)
    return (Action(case.id, effect, because, before, weight, case.pace()),)


def directory(case: Case) -> AttemptSeen:
    """Return what the job directory holds; only rules after the one for an unreadable directory ask."""
    seen = result_of(case)
    assert seen is not None, "rules before this one answer for an unreadable directory"
    return seen


def grace(case: Case) -> timedelta:
    """Return how long a job may take to end."""
    return case.job.spec.grace if case.job is not None else GRACE_OF_REMOVED
