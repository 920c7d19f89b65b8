"""From a plan to the words of a status: what all kinds share."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.model.ids import ObjectId
from reconciler.model.plan import Action, Because, Hold, Plan, Reason
from reconciler.model.status import Condition, Health, ObjectStatus, Sync
from reconciler.model.views import frozen_because
from reconciler.model.world import World

# Reasons that need a person or a machine; the others pass by themselves.
FAULTS = frozenset(
    {
        Reason.INVALID,
        Reason.HELD_BY_BRAKE,
        Reason.BACKING_OFF,
        Reason.DEPENDENCY_FAILED,
        Reason.MACHINE_UNREACHABLE,
        Reason.HEAD_UNREACHABLE,
        Reason.HEAD_DIED,
        Reason.HEAD_SILENT,
        Reason.HEAD_START_FAILED,
        Reason.FOREIGN_HEAD,
        Reason.WRONG_VERSION,
        Reason.NO_TOKEN_REQUIRED,
        Reason.NODE_FAILED,
        Reason.NODE_LOST,
        Reason.RECORD_VANISHED,
        Reason.PROCESS_LEFT,
        Reason.TOO_LARGE_NOW,
    }
)


AS_DESIRED = Because(Reason.AS_DESIRED, "as the repo says")


@dataclass(frozen=True, slots=True)
class Story:
    """What a plan says about one object: its first action, else its first hold; `parts` by node name."""

    because: Because
    acts: bool
    parts: Mapping[str, Because]

    @property
    def reason(self) -> Reason:
        """The reason code."""
        return self.because.reason

    @property
    def faulty(self) -> bool:
        """Whether somebody should look at it."""
        return self.reason in FAULTS


class Stories:
    """What a plan says about each object: made once, told for those that are asked about."""

    def __init__(self, plan: Plan) -> None:
        self._actions: dict[ObjectId, list[Action]] = {}
        self._first: dict[ObjectId, Hold] = {}
        self._holds: dict[ObjectId, list[Hold]] = {}
        for action in plan.actions:
            self._actions.setdefault(action.target, []).append(action)
        # Nearly all that wait do so for one reason: no list for each of thousands.
        for hold in plan.holds:
            if (first := self._first.setdefault(hold.target, hold)) is not hold:
                self._holds.setdefault(hold.target, [first]).append(hold)

    def get(self, identity: ObjectId) -> Story | None:
        """Return what the plan says about an object, None when it says nothing."""
        actions, first = self._actions.get(identity, ()), self._first.get(identity)
        holds = self._holds.get(identity) or ([first] if first is not None else ())
        parts = {hold.part: hold.because for hold in reversed(holds)}
        parts.update({action.part: action.because for action in actions})
        if actions:
            return Story(actions[0].because, acts=True, parts=parts)
        return Story(holds[0].because, acts=False, parts=parts) if holds else None


_LAST: list[tuple[Plan, Stories]] = []


def stories(plan: Plan) -> Stories:
    """Return what a plan says; all kinds ask for it, one after the other."""
    if not _LAST or _LAST[0][0] is not plan:
        _LAST[:] = [(plan, Stories(plan))]
    return _LAST[0][1]


@dataclass(frozen=True, slots=True)
class Face:
    """What only the kind can say about an object; `otherwise` is its reason when the plan says nothing about it."""

    state: str
    health: Health
    detail: Mapping[str, Any]
    conditions: tuple[Condition, ...] = ()
    otherwise: Because = AS_DESIRED


def describe(world: World, identity: ObjectId, story: Story | None, face: Face) -> ObjectStatus:
    """Return an object's status: what the plan says about it and what its kind shows."""
    loaded = world.desired.objects.get(identity)
    because = story.because if story is not None else face.otherwise
    return ObjectStatus(
        kind=identity.kind,
        team=identity.team,
        name=identity.name,
        revision=world.desired.revision,
        specDigest=loaded.digest if loaded is not None else "",
        state=face.state,
        sync=_sync(world, identity, story),
        health=face.health,
        reason=because.reason.value,
        message=because.text,
        conditions=face.conditions,
        detail=face.detail,
    )


def _sync(world: World, identity: ObjectId, story: Story | None) -> Sync:
    loaded = world.desired.objects.get(identity)
    if loaded is not None and loaded.stale:
        return Sync.STALE
    frozen = frozen_because(world, identity)
    if frozen is not None and frozen.reason is Reason.SUSPENDED:
        return Sync.SUSPENDED
    if loaded is None or frozen is not None:
        return Sync.PENDING
    if story is None:
        return Sync.SYNCED
    return Sync.DRIFTED if story.faulty else Sync.PENDING


def conditions(*facts: tuple[str, bool, str, str]) -> tuple[Condition, ...]:
    """Return conditions from (type, holds, reason, message)."""
    return tuple(Condition(kind, "True" if holds else "False", reason, text) for kind, holds, reason, text in facts)
