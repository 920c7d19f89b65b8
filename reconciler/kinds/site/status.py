"""What people see of the site's rules."""

from collections.abc import Iterator

from reconciler.model.plan import Plan
from reconciler.model.projection import Face, describe
from reconciler.model.site import Site
from reconciler.model.status import Health, ObjectStatus
from reconciler.model.views import documents
from reconciler.model.world import World


def status(world: World, plan: Plan) -> Iterator[ObjectStatus]:
    """Describe the site: what its brakes hold."""
    for identity, document, _ in documents(world, "Site"):
        assert isinstance(document, Site)
        held = [{"brake": each.brake, "digest": each.digest, "message": each.message} for each in plan.held]
        health = Health.WAITING if held else Health.READY
        yield describe(world, identity, None, Face("Held" if held else "Ready", health, {"held": held}))
