"""Of which objects something may have changed that people read."""

from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.model.derived import differences
from reconciler.model.desired import Loaded
from reconciler.model.ids import ObjectId
from reconciler.model.ledger import JobRecord
from reconciler.model.plan import Because, Plan
from reconciler.model.views import job_id
from reconciler.model.world import World


@dataclass(frozen=True, slots=True)
class Told:
    """What the status of single objects was made of."""

    objects: Mapping[ObjectId, Loaded]
    problems: Mapping[ObjectId, tuple[str, ...]]
    jobs: Mapping[str, JobRecord]
    words: Mapping[ObjectId, list[tuple[bool, str, Because]]]

    @classmethod
    def of(cls, world: World, plan: Plan) -> "Told":
        """Return what status is made of in this pass."""
        words: dict[ObjectId, list[tuple[bool, str, Because]]] = {}
        for action in plan.actions:
            words.setdefault(action.target, []).append((True, action.part, action.because))
        for hold in plan.holds:
            words.setdefault(hold.target, []).append((False, hold.part, hold.because))
        return cls(world.desired.objects, world.desired.problems, world.ledger.jobs, words)

    def touched_since(self, before: "Told") -> set[ObjectId]:
        """Return every object of which the file, the record, the problems or the plan are others than before."""
        touched = set(differences(before.objects, self.objects))
        touched.update(map(job_id, differences(before.jobs, self.jobs)))
        touched.update(_unequal(before.problems, self.problems))
        touched.update(_unequal(before.words, self.words))
        return touched


def _unequal(before: Mapping[ObjectId, object], after: Mapping[ObjectId, object]) -> set[ObjectId]:
    return {each for each in before.keys() | after.keys() if before.get(each) != after.get(each)}
