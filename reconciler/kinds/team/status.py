"""What people see of teams."""

from collections.abc import Iterator

from reconciler.model.plan import Plan
from reconciler.model.projection import Face, describe
from reconciler.model.status import Health, ObjectStatus
from reconciler.model.team import Team
from reconciler.model.views import documents
from reconciler.model.world import World


def status(world: World, _: Plan) -> Iterator[ObjectStatus]:
    """Describe every team: who is in it and what it may use."""
    for identity, document, _digest in documents(world, "Team"):
        assert isinstance(document, Team)
        quota = [{"pool": q.pool, "gpus": q.gpus, "borrow": q.borrow} for q in document.spec.quota]
        detail = {"members": list(document.spec.members), "quota": quota, "weight": document.spec.weight}
        yield describe(world, identity, None, Face("Ready", Health.READY, detail))
