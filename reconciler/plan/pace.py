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
        return Hold(action.target, Because(Reason.IN_FLIGHT, f"{action.pace} is being worked on"))
    backoff = world.ledger.backoffs.get(action.pace)
    loaded = world.desired.objects.get(action.target)
    if backoff is None or backoff.digest != (loaded.digest if loaded is not None else ""):
        return None
    numbers = (("failures", backoff.failures),)
    if backoff.until is None:
        step = (
            "edit it to try again" if backoff.kind is FailureKind.INVALID else "it is not tried again until edited"
        )
        return Hold(action.target, Because(Reason.BACKING_OFF, f"{backoff.message}; {step}", numbers))
    if world.now.is_before(backoff.until):
        text = f"{backoff.message}; tried again at {backoff.until.wall:%H:%M:%S} UTC"
        return Hold(action.target, Because(Reason.BACKING_OFF, text, numbers), backoff.until)
    return None
