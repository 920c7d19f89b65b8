"""Of which objects something may have changed that people read."""

from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.model.derived import differences
from reconciler.model.desired import Loaded
from reconciler.model.ids import ObjectId
from reconciler.model.ledger import JobRecord
from reconciler.model.plan import Action, Hold, Plan
from reconciler.model.views import job_id
from reconciler.model.world import World


@dataclass(frozen=True, slots=True)
class Told:
    """What the status of single objects was made of. `holds` are by `id`: a plan often gives the same one again."""

    objects: Mapping[ObjectId, Loaded]
    problems: Mapping[ObjectId, tuple[str, ...]]
    jobs: Mapping[str, JobRecord]
    actions: tuple[Action, ...]
    holds: Mapping[int, Hold]

    @classmethod
    def of(cls, world: World, plan: Plan) -> "Told":
        """Return what status is made of in this pass."""
        holds = {id(hold): hold for hold in plan.holds}
        return cls(world.desired.objects, world.desired.problems, world.ledger.jobs, plan.actions, holds)

    def touched_since(self, before: "Told") -> set[ObjectId]:
        """Return every object of which the file, the record, the problems or the plan are others than before."""
        touched = set(differences(before.objects, self.objects))
        touched.update(map(job_id, differences(before.jobs, self.jobs)))
        touched.update(_unequal(before.problems, self.problems))
        touched.update(action.target for action in (*before.actions, *self.actions))
        touched.update(hold.target for hold in (*self.new_holds(before), *before.new_holds(self)))
        return touched

    def new_holds(self, before: "Told") -> list[Hold]:
        """Return the holds that were not there before, or not as the same object."""
        return [self.holds[each] for each in self.holds.keys() - before.holds.keys()]


NOTHING = Told({}, {}, {}, (), {})


def _unequal(before: Mapping[ObjectId, object], after: Mapping[ObjectId, object]) -> set[ObjectId]:
    return {each for each in before.keys() | after.keys() if before.get(each) != after.get(each)}
