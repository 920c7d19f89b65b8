"""What people see of the site's rules."""

from collections.abc import Iterator

from reconciler.model.plan import Because, Plan, Reason
from reconciler.model.projection import AS_DESIRED, Face, describe
from reconciler.model.site import Site
from reconciler.model.states import SiteState
from reconciler.model.status import Health, ObjectStatus
from reconciler.model.views import documents
from reconciler.model.world import World


def status(world: World, plan: Plan) -> Iterator[ObjectStatus]:
    """Describe the site: what its brakes hold."""
    for identity, document, _ in documents(world, "Site"):
        assert isinstance(document, Site)
        because = Because(Reason.HELD_BY_BRAKE, plan.held[0].message) if plan.held else AS_DESIRED
        held = [{"brake": each.brake, "digest": each.digest, "message": each.message} for each in plan.held]
        state, health = (SiteState.HELD, Health.WAITING) if held else (SiteState.READY, Health.READY)
        yield describe(world, identity, None, Face(state.value, health, {"held": held}, (), because))
