"""Brakes: no plan removes, stops or drains more than its share without an approval that names it."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace

from reconciler.model.ids import ObjectId
from reconciler.model.ledger import Change, Table
from reconciler.model.plan import Action, Because, Decision, Held, Hold, Note, Reason, Weight
from reconciler.model.shares import Load, Shares, held_drains, released
from reconciler.model.site import Brakes
from reconciler.model.views import departed, frozen_because, known_key, live_attempts, object_id
from reconciler.model.world import World


def brake(
    world: World, decisions: Iterable[Decision], moving: Collection[ObjectId] = ()
) -> tuple[list[Decision], tuple[Held, ...]]:
    """Return the decisions with those that a brake stops turned into holds, and what it would take to release them.

    A removal takes two passes: the first releases the removed objects if the brake lets them, the second acts. So
    an approval, once used, covers the whole of what it named, however long that takes. What is `moving` has perhaps
    only another name by now, and weighs nothing.
    """
    decisions = list(decisions)
    shares = Shares.of(world)
    leaving = [key for key in _leaving(world) if object_id(key) not in moving]
    loads = [_removals(world, shares.brakes, leaving), _stops(world, decisions, shares.brakes, moving)]
    held = [*filter(shares.hold, loads), *held_drains(world).values()]
    stopped = {(target, each.weight): each for each in held for target in each.targets}
    braked = [_held_back(world, decision, stopped) for decision in decisions]
    if not any(each.weight is Weight.REMOVES for each in held):
        braked.extend(_release(world, leaving))
    return braked, tuple(Held(each.brake, each.digest, each.text, each.what, each.targets) for each in held)


def _held_back(world: World, decision: Decision, stopped: dict[tuple[ObjectId, Weight], Load]) -> Decision:
    if isinstance(decision, Hold):
        return decision
    load = stopped.get((decision.target, decision.weight))
    if load is None and _leaves(world, decision) and not released(world, decision.target):
        load = stopped.get((decision.target, Weight.REMOVES))
        if load is None:
            return Hold(decision.target, _not_yet(world, decision.target), part=_part(decision))
    if load is None:
        return decision
    return Hold(decision.target, load.because, part=_part(decision))


def _part(decision: Action | Note) -> str:
    return decision.part if isinstance(decision, Action) else ""


def _not_yet(world: World, identity: ObjectId) -> Because:
    if world.desired.hides(identity):
        where = world.desired.hidden_in(identity)
        return Because(
            Reason.INVALID, f"no file describes it, but a broken file in {where} may be it; mend that one"
        )
    return Because(Reason.REMOVED, "left the repo; it goes with the next pass")


def _leaves(world: World, decision: Action | Note) -> bool:
    return decision.weight is not Weight.NONE and decision.target not in world.desired.objects


def _leaving(world: World) -> list[str]:
    """Return what left the repo and is not released, what a broken file may still describe included.

    It goes only once that file is mended. Weighed only then, a mass could pass in two light waves.
    """
    known = world.ledger.known
    lingering = [key for key in map(known_key, world.desired.lingering) if key in known]
    return sorted([*lingering, *(key for key in departed(world) if not known[key].released)])


def _perhaps_elsewhere(world: World, identity: ObjectId) -> bool:
    """Say whether a broken file may describe an object that left."""
    return identity in world.desired.lingering or world.desired.hides(identity)


def _release(world: World, leaving: list[str]) -> Iterator[Note]:
    keys = [key for key in leaving if not _perhaps_elsewhere(world, object_id(key))]
    if keys:
        changes = tuple(Change(Table.KNOWN, k, replace(world.ledger.known[k], released=True)) for k in keys)
        because = Because(Reason.REMOVED, f"objects that left the repo: {len(keys)}", (("objects", len(keys)),))
        yield Note(object_id(keys[0]), because, changes)


def _removals(world: World, brakes: Brakes, leaving: list[str]) -> Load:
    known = len(world.ledger.known)
    allowed = max(brakes.max_removals, known * brakes.max_removal_percent // 100)
    targets = tuple(object_id(key) for key in leaving)
    if not any(_described(world, object_id(key)) for key in world.ledger.known):
        # An empty repo is never taken at its word, nor the last step to one.
        allowed = 0
    text = f"{len(leaving)} of {known} objects left the repo and at most {allowed} go without approval"
    if hidden := sum(_perhaps_elsewhere(world, target) for target in targets):
        text = f"{text}; {hidden} of them perhaps into a broken file"
    return Load("removals", tuple(leaving), targets, Weight.REMOVES, allowed, text)


def _described(world: World, identity: ObjectId) -> bool:
    return identity in world.desired.objects and identity not in world.desired.lingering


def _stops(world: World, decisions: list[Decision], brakes: Brakes, moving: Collection[ObjectId]) -> Load:
    decided = {d.target for d in decisions if isinstance(d, Action) and d.weight is Weight.STOPS}
    stops = sorted(decided | (set(_to_be_stopped(world)) - {*moving}))
    text = f"{len(stops)} running jobs would be stopped at once and at most {brakes.max_stops} are without approval"
    what = tuple(str(target) for target in stops)
    return Load("stops", what, tuple(stops), Weight.STOPS, brakes.max_stops, text)


def _to_be_stopped(world: World) -> Iterator[ObjectId]:
    """Return the jobs that may run and that what the repo says now will stop.

    Among them are those that cannot be looked at yet, and those that a broken file still keeps: weighing only what
    can be done at once would let a large stop pass bit by bit.
    """
    for identity, _, attempt in live_attempts(world.ledger):
        if attempt.stop is not None:
            continue
        loaded = world.desired.objects.get(identity)
        if identity in world.desired.lingering:
            wanted = True
        elif loaded is None:
            wanted = released(world, identity) or _perhaps_elsewhere(world, identity)
        else:
            edited = loaded.digest != attempt.digest and not loaded.document.spec.stop
            wanted = edited and frozen_because(world, identity) is None
        if wanted:
            yield identity
