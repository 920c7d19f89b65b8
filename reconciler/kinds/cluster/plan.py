"""Decide about a cluster's head: start, verify, publish, fence, replace, withdraw."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeAlias

from reconciler.kinds.cluster.case import Case, cases
from reconciler.model.effect import WithdrawHead
from reconciler.model.ledger import HeadRecord
from reconciler.model.plan import Action, Because, Decision, Hold, Reason, Weight
from reconciler.model.sighting import Absent, Present, Unreachable
from reconciler.model.world import SlotSeen, World

Rule: TypeAlias = Callable[[Case], tuple[Decision, ...] | None]


def plan(world: World) -> Iterator[Decision]:
    """Decide about every cluster that is desired or remembered."""
    for case in cases(world):
        yield from next(decisions for rule in RULES if (decisions := rule(case)) is not None)


def _removed_and_gone(case: Case) -> tuple[Decision, ...] | None:
    if case.spec is not None or case.head is not None:
        return None
    if case.record.withdrawn or case.record.epoch == 0:
        return ()
    because = Because(Reason.REMOVED, "no head is left")
    # The record with its epoch stays: a cluster of the same name must never repeat one.
    return (Action(case.id, WithdrawHead(case.name), because, (), Weight.REMOVES, case.pace),)


def _removed_but_in_use(case: Case) -> tuple[Decision, ...] | None:
    # What waits for a dead head waits for ever: then it goes, and its attempts are settled without it.
    if case.spec is not None or case.dead:
        return None
    if case.attempts:
        text = f"removed from the repo; its head stays until {case.attempts} attempts have ended"
        return (Hold(case.id, Because(Reason.BUSY, text, (("attempts", case.attempts),))),)
    if case.nodes:
        text = f"removed from the repo; its head stays until {case.nodes} nodes have left"
        return (Hold(case.id, Because(Reason.BUSY, text, (("nodes", case.nodes),))),)
    return None


def _unknown_epoch(case: Case) -> tuple[Decision, ...] | None:
    """Leave a head alone that was started after everything that the ledger knows of."""
    head = case.head
    if head is None:
        return None
    match case.slot(head.node):
        case Present(seen=slot) if slot.state.alive and (slot.epoch or 0) > case.record.epoch:
            return _foreign(case, head.node, slot)
        case _:
            return None


def _foreign(case: Case, node: str, slot: SlotSeen) -> tuple[Decision, ...]:
    text = (
        f"{node} runs a head of {case.name} (epoch {slot.epoch}) that this ledger does not know; "
        "stop it by hand, or restore the ledger"
    )
    return case.hold(Reason.FOREIGN_HEAD, text)


def _stopping(case: Case) -> tuple[Decision, ...] | None:
    head = case.head
    if head is None or head.stopping is None:
        return None
    repeat = head.stopping + case.world.tuning.stop_repeat
    match case.slot(head.node):
        case Present(seen=slot) if not slot.state.alive:
            because = Because(Reason.OBSERVED, f"head on {head.node} is gone", (("epoch", case.record.epoch),))
            return case.note(because, case.without_head())
        case Present() if not case.world.now.is_before(repeat):
            return case.stop(Because(Reason.STOPPING, f"head on {head.node} still runs: asked again"))
        case Present() | None:
            return case.hold(Reason.STOPPING, f"waiting for the head on {head.node} to end", repeat)
        case Absent() | Unreachable():
            return case.hold(Reason.MACHINE_UNREACHABLE, _machine_silent(case, head))


def _removed(case: Case) -> tuple[Decision, ...] | None:
    if case.spec is not None or not case.answered:
        return None
    return case.stop(Because(Reason.REMOVED, "removed from the repo and no longer in use"), Weight.REMOVES)


def _no_head(case: Case) -> tuple[Decision, ...] | None:
    if case.head is not None or case.spec is None:
        return None
    name = case.spec.head.candidates[0].name
    match case.slot(name):
        case Present(seen=slot) if slot.state.alive:
            return _foreign(case, name, slot)
        case Present():
            return _next_start(case, name)
        case None:
            return case.hold(Reason.STARTING, f"looking at {name} before starting a head")
        case Absent():
            return case.hold(Reason.MACHINE_UNREACHABLE, f"{name} has no gate")
        case Unreachable(reason=text):
            return case.hold(Reason.MACHINE_UNREACHABLE, f"{name} cannot be reached: {text}")


def _next_start(case: Case, name: str) -> tuple[Decision, ...]:
    failed = case.record.failed
    if failed is None or failed.digest != case.digest:
        return case.start(Because(Reason.NEW, f"no head runs; starting one on {name}"))
    again = failed.last + case.world.tuning.pause(case.pace, failed.count)
    if case.world.now.is_before(again):
        text = f"{failed.count} starts in a row failed on {name}; tried again at {again.wall:%H:%M:%S} UTC"
        return case.hold(Reason.HEAD_START_FAILED, text, again)
    text = f"{failed.count} starts in a row failed on {name}: another one"
    return case.start(Because(Reason.HEAD_START_FAILED, text, (("failures", failed.count),)))


def _wrong_head(case: Case) -> tuple[Decision, ...] | None:
    head, sight = case.head, case.sight
    if head is None or not isinstance(sight, Present):
        return None
    seen = sight.seen
    if case.spec is not None and seen.ray_version != case.spec.ray.version and head.digest == case.digest:
        text = f"head on {head.node} runs Ray {seen.ray_version}, the repo asks for {case.spec.ray.version}"
        return case.hold(Reason.WRONG_VERSION, f"{text}; install it there, or correct the version")
    if not seen.token_required:
        text = f"head on {head.node} answers without a token; it is not published. Stop it and look who started it"
        return case.hold(Reason.NO_TOKEN_REQUIRED, text)
    if head.session is not None and seen.session != head.session:
        return _replaced_head(case, head)
    return None


def _replaced_head(case: Case, head: HeadRecord) -> tuple[Decision, ...]:
    """Another head answers on our port: ours is dead if its machine says so, else nobody may act."""
    if case.dead:
        text = f"head on {head.node} is gone and a foreign one answers on its port"
        return case.note(Because(Reason.HEAD_DIED, text), case.without_head())
    text = f"a head with another session answers on {head.node}:{head.ports[1]}; find out who started it"
    return case.hold(Reason.FOREIGN_HEAD, text)


def _newly_seen(case: Case) -> tuple[Decision, ...] | None:
    head, sight = case.head, case.sight
    if head is None or not isinstance(sight, Present):
        return None
    if head.session is None:
        verified = replace(head, session=sight.seen.session, silent_since=None)
        because = Because(Reason.OBSERVED, f"head on {head.node} answers and asks for a token")
        return case.note(because, replace(case.record, head=verified, failed=None))
    if head.silent_since is not None:
        because = Because(Reason.OBSERVED, f"head on {head.node} answers again")
        return case.note(because, case.with_head(replace(head, silent_since=None)))
    if not head.published:
        because = Because(Reason.NEW, f"head on {head.node} is verified", (("epoch", case.record.epoch),))
        return case.publish(because, sight.seen)
    return None


def _edited(case: Case) -> tuple[Decision, ...] | None:
    head = case.head
    if head is None or case.spec is None or head.digest == case.digest or not case.answered:
        return None
    if case.dead:
        # Its attempts can be settled only once it is replaced: they must not wait for each other.
        return None
    if case.attempts:
        text = f"the edit needs a new head; it waits until {case.attempts} attempts have ended"
        return (Hold(case.id, Because(Reason.BUSY, text, (("attempts", case.attempts),))),)
    return case.stop(Because(Reason.CHANGED, "what the head runs with was edited and no attempt is live"))


def _answers(case: Case) -> tuple[Decision, ...] | None:
    return () if isinstance(case.sight, Present) else None


def _nobody_answers(case: Case) -> tuple[Decision, ...] | None:
    head = case.head
    assert head is not None, "rules before this one answer for a cluster without a head"
    if case.answered:
        return None
    if head.silent_since is not None:
        # Silence counts only while the machine says that the head lives: after a cut network both come back at
        # different moments, and a healthy head must not be fenced in between.
        because = Because(Reason.MACHINE_UNREACHABLE, _machine_silent(case, head))
        return case.note(because, case.with_head(replace(head, silent_since=None)))
    if case.slot(head.node) is not None:
        return case.hold(Reason.MACHINE_UNREACHABLE, _machine_silent(case, head))
    if head.session is None:
        return case.hold(Reason.STARTING, f"head on {head.node} is starting")
    return case.hold(Reason.HEAD_UNREACHABLE, f"head on {head.node} does not answer; asking its machine")


def _proven_dead(case: Case) -> tuple[Decision, ...] | None:
    head = case.head
    assert head is not None, "rules before this one answer for a cluster without a head"
    match case.slot(head.node):
        case Present(seen=slot) if slot.state.alive:
            return None
        case Present(seen=slot) if head.session is None and slot.epoch != case.record.epoch:
            # The start never arrived: the same epoch again is safe, since the gate starts an epoch at most once.
            text = f"{head.node} never began to start epoch {case.record.epoch}: again"
            return case.start_again(Because(Reason.OUTCOME_UNKNOWN, text))
        case Present(seen=slot) if head.session is None:
            because = Because(Reason.HEAD_START_FAILED, f"head on {head.node} did not start: {slot.words}")
            return case.note(because, replace(case.failed_again(), head=None))
        case Present(seen=slot):
            because = Because(Reason.HEAD_DIED, f"head on {head.node} is {slot.state.value}: {slot.words}")
            return case.note(because, case.without_head())
        case _:
            return None


def _not_asked(case: Case) -> tuple[Decision, ...] | None:
    """Hold when we could not even ask, or may hear yet: a token of ours that is gone is no silence of the head."""
    head = case.head
    assert head is not None, "rules before this one answer for a cluster without a head"
    match case.sight:
        case Unreachable(reason=text, asked=False):
            because = Because(
                Reason.HEAD_UNREACHABLE,
                f"head on {head.node} lives; whether it answers is not known, so it is left alone: {text}",
            )
        case _:
            return None
    if head.silent_since is not None:
        return case.note(because, case.with_head(replace(head, silent_since=None)))
    return case.hold(because.reason, because.text)


def _never_answered(case: Case) -> tuple[Decision, ...] | None:
    head, limit = case.head, case.world.tuning.head_start
    assert head is not None, "rules before this one answer for a cluster without a head"
    if head.session is not None:
        return None
    if case.world.now.since(head.started) < limit:
        return case.hold(Reason.STARTING, f"head on {head.node} is starting", head.started + limit)
    text = f"no answer within {int(limit.total_seconds())} s of its start"
    return case.stop_failed(Because(Reason.HEAD_START_FAILED, text))


def _silent(case: Case) -> tuple[Decision, ...]:
    head, now, limit = case.head, case.world.now, case.world.tuning.head_silence
    assert head is not None, "rules before this one answer for a cluster without a head"
    why = case.sight.reason if isinstance(case.sight, Unreachable) else "it refuses connections"
    if head.silent_since is None:
        text = f"head on {head.node} lives but does not answer: {why}"
        return case.note(Because(Reason.HEAD_SILENT, text), case.with_head(replace(head, silent_since=now)))
    end = case.world.counted_from(head.silent_since) + limit
    if now.is_before(end):
        fate = f"fenced at {end.wall:%H:%M:%S} UTC if it stays so"
        return case.hold(Reason.HEAD_SILENT, f"head on {head.node} lives but does not answer; {fate}: {why}", end)
    text = f"head on {head.node} lives but stayed silent, so it is fenced: {why}"
    return case.stop(Because(Reason.HEAD_SILENT, text))


# First match wins.
RULES: tuple[Rule, ...] = (
    _removed_and_gone,
    _removed_but_in_use,
    _unknown_epoch,
    _stopping,
    _removed,
    _no_head,
    _wrong_head,
    _newly_seen,
    _edited,
    _answers,
    _nobody_answers,
    _proven_dead,
    _not_asked,
    _never_answered,
    _silent,
)


def _machine_silent(case: Case, head: HeadRecord) -> str:
    slot = case.slot(head.node)
    why = slot.reason if isinstance(slot, Unreachable) else "it has no gate"
    return (
        f"head on {head.node} does not answer and its machine cannot say why: {why}; nothing is done until it can"
    )
