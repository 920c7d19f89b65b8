"""What people see of users."""

from collections.abc import Iterator

from reconciler.model.plan import Plan
from reconciler.model.projection import Face, describe
from reconciler.model.status import Health, ObjectStatus
from reconciler.model.team import Team
from reconciler.model.user import User
from reconciler.model.views import documents
from reconciler.model.world import World


def status(world: World, _: Plan) -> Iterator[ObjectStatus]:
    """Describe every user and the teams they are in."""
    teams: dict[str, list[str]] = {}
    for identity, document, _digest in documents(world, "Team"):
        assert isinstance(document, Team)
        for member in document.spec.members:
            teams.setdefault(member, []).append(identity.name)
    for identity, document, _digest in documents(world, "User"):
        assert isinstance(document, User)
        detail = {"displayName": document.spec.display_name, "teams": sorted(teams.get(identity.name, []))}
        yield describe(world, identity, None, Face("Ready", Health.READY, detail))
