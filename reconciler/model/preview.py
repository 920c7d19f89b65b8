"""A plan as people review it: what changes in the repo, what happens at once, what waits, what is held."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from reconciler.model.effect import Effect
from reconciler.model.ids import ObjectId
from reconciler.model.json import digest
from reconciler.model.plan import Plan, Reason, effect_document
from reconciler.model.views import known_key, object_id
from reconciler.model.world import World


class Op(StrEnum):
    """What becomes of an object."""

    ADD = "add"
    CHANGE = "change"
    REMOVE = "remove"
    RENAME = "rename"


@dataclass(frozen=True, slots=True, order=True)
class Difference:
    """One object that the repo says something new about."""

    target: ObjectId
    op: Op
    text: str


def differences(world: World, plan: Plan) -> tuple[Difference, ...]:
    """Return what differs between the repo and what was in force, renames as one."""
    renames = {note.target: note for note in plan.notes if note.because.reason is Reason.RENAMED}
    moved = {change.key for note in renames.values() for change in note.changes if change.record is None}
    found = [Difference(target, Op.RENAME, note.because.text) for target, note in renames.items()]
    for identity, loaded in world.desired.objects.items():
        known = world.ledger.known.get(known_key(identity))
        if identity in renames:
            continue
        if known is None:
            if identity not in world.desired.lingering:
                found.append(Difference(identity, Op.ADD, f"from {loaded.path}"))
        elif known.digest != loaded.digest:
            found.append(Difference(identity, Op.CHANGE, f"what runs changes, in {loaded.path}"))
    found.extend(
        Difference(identity, Op.REMOVE, "no file describes it any more")
        for key in world.ledger.known
        if (identity := object_id(key)) not in world.desired.objects
        and key not in moved
        # A broken file may describe it: the planner removes nothing of that team, either.
        and not world.desired.hides(identity)
    )
    return tuple(sorted(found))


def plan_json(world: World, plan: Plan) -> dict[str, Any]:
    """Return a plan as JSON values; `digest` covers all the rest, and no moment is part of it."""
    document: dict[str, Any] = {
        "apiVersion": "rayops.plan/v1",
        "revision": plan.revision,
        "errors": [str(error) for error in world.desired.errors],
        "problems": {str(i): list(texts) for i, texts in sorted(world.desired.problems.items())},
        "changes": [
            {"object": str(d.target), "op": d.op.value, "message": d.text} for d in differences(world, plan)
        ],
        "actions": [
            {
                "object": str(action.target),
                **_shown(action.effect),
                "reason": action.because.reason.value,
                "message": action.because.text,
                "numbers": dict(action.because.numbers),
            }
            for action in plan.actions
        ],
        "holds": [
            {
                "object": str(hold.target),
                "part": hold.part,
                "reason": hold.because.reason.value,
                "message": hold.because.text,
                "numbers": dict(hold.because.numbers),
            }
            for hold in plan.holds
        ],
        "held": [
            {"brake": held.brake, "digest": held.digest, "message": held.message, "what": list(held.what)}
            for held in plan.held
        ],
    }
    return {**document, "digest": digest(document)}


def _shown(effect: Effect) -> dict[str, object]:
    """Return an effect without what people may have put secrets into: values of the environment, the whole spec."""
    document = effect_document(effect)
    document.pop("spec", None)
    env = document.get("env")
    return {**document, "env": sorted(env)} if isinstance(env, Mapping) else document
