"""Pace: one effect at a time per target, and none before its back-off is over."""

from collections.abc import Iterable, Iterator

from reconciler.model.outcome import FailureKind
from reconciler.model.plan import Action, Because, Decision, Hold, Reason
from reconciler.model.world import World


def paced(world: World, decisions: Iterable[Decision]) -> Iterator[Decision]:
    """Turn actions whose target is busy or backing off into holds that say so."""
    for decision in decisions:
        hold = _hold(world, decision) if isinstance(decision, Action) else None
        yield hold if hold is not None else decision


def _hold(world: World, action: Action) -> Hold | None:
    if action.pace in world.in_flight:
        because = Because(Reason.IN_FLIGHT, f"{action.pace} is being worked on")
        return Hold(action.target, because, part=action.part)
    backoff = world.ledger.backoffs.get(action.pace)
    loaded = world.desired.objects.get(action.target)
    if backoff is None or backoff.digest != (loaded.digest if loaded is not None else ""):
        return None
    if backoff.until is not None and not world.now.is_before(backoff.until):
        return None
    if backoff.until is not None:
        step = f"tried again at {backoff.until.wall:%H:%M:%S} UTC"
    elif backoff.kind is FailureKind.INVALID:
        step = "edit it to try again"
    else:
        step = "it is not tried again until edited"
    because = Because(Reason.BACKING_OFF, f"{backoff.message}; {step}", (("failures", backoff.failures),))
    return Hold(action.target, because, backoff.until, action.part)
