"""Plans in promises: how they are made, written down and read."""

from dataclasses import replace
from typing import Any

from reconciler.kinds import ALL
from reconciler.loop import settled_plan
from reconciler.model.effect import Effect
from reconciler.model.json import canonical
from reconciler.model.plan import Decision, Plan
from reconciler.model.sighting import Unreachable
from reconciler.model.world import Observed, World
from reconciler.plan.planner import decide
from tests.kinds.shorthand import told

PLANNERS = {kind.name: kind.plan for kind in ALL}


def planned(world: World) -> Plan:
    """Return one plan, with its notes still to be taken in."""
    decided = decide(world, PLANNERS)
    return decided.plan(world, decided.notes)


def settled(world: World) -> tuple[Plan, World]:
    """Return the plan once its notes are taken in, as a pass makes it, and the world it was made for."""
    return settled_plan(world, ALL)


def written(plan: Plan) -> bytes:
    """Return a plan as bytes; two plans that differ in anything, order included, differ in these."""
    held = [
        [each.brake, each.digest, each.message, each.what, [str(t) for t in each.targets]] for each in plan.held
    ]
    decisions: list[Decision] = [*plan.notes, *plan.actions, *plan.holds]
    wake = plan.wake.wall.isoformat() if plan.wake is not None else None
    return canonical([plan.revision, [told(each) for each in decisions], held, wake])


def effects(plan: Plan, *kinds: type[Any]) -> list[Any]:
    """Return the effects of these kinds in a plan, of all kinds if none is named."""
    found: list[Effect] = [action.effect for action in plan.actions]
    return [each for each in found if not kinds or isinstance(each, kinds)]


def blinded(world: World) -> World:
    """Return the world with every answer but those that nobody could give taken away."""
    blind = Unreachable("no route to host", world.now)
    seen = world.observed
    names = ("heads", "slots", "attempts", "claims")
    return replace(world, observed=Observed(**{name: dict.fromkeys(getattr(seen, name), blind) for name in names}))
