"""Brakes: no plan removes, stops or drains more than its share without an approval that names it."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace

from reconciler.model.ids import ObjectId
from reconciler.model.json import digest
from reconciler.model.ledger import Change, Table
from reconciler.model.plan import Action, Because, Decision, Held, Hold, Note, Reason, Weight
from reconciler.model.site import Brakes, Site
from reconciler.model.views import departed, frozen_because, known_key, live_attempts, object_id, pool_of
from reconciler.model.world import World

_SITE = ObjectId("Site", "", "site")
_STRICTEST = Brakes(max_removals=0, max_removal_percent=0, max_stops=0, max_drain_percent=0)


@dataclass(frozen=True, slots=True)
class _Load:
    """What one brake weighs: `what` names it in words that stay the same while it waits."""

    brake: str
    what: tuple[str, ...]
    targets: tuple[ObjectId, ...]
    weight: Weight
    allowed: int
    text: str

    @property
    def digest(self) -> str:
        """What an approval names: which brake, and exactly what."""
        return digest([self.brake, *self.what])


def brake(
    world: World, decisions: Iterable[Decision], moving: Collection[ObjectId] = ()
) -> tuple[list[Decision], tuple[Held, ...]]:
    """Return the decisions with those that a brake stops turned into holds, and what it would take to release them.

    A removal takes two passes: the first releases the removed objects if the brake lets them, the second acts. So
    an approval, once used, covers the whole of what it named, however long that takes. What is `moving` has perhaps
    only another name by now, and weighs nothing.
    """
    decisions = list(decisions)
    site = world.desired.objects.get(_SITE)
    spec = site.document.spec if site is not None and isinstance(site.document, Site) else None
    brakes = spec.brakes if spec is not None else _brakes_without_site(world)
    approved = {approval.plan for approval in spec.approvals} if spec is not None else set()
    leaving = [key for key in _leaving(world) if object_id(key) not in moving]
    loads = [
        _removals(world, brakes, leaving),
        _stops(world, decisions, brakes, moving),
        *_drains(world, decisions, brakes),
    ]
    held = [each for each in loads if len(each.what) > each.allowed and each.digest not in approved]
    stopped = {(target, each.weight): each for each in held for target in each.targets}
    braked = [_held_back(world, decision, stopped) for decision in decisions]
    if not any(each.weight is Weight.REMOVES for each in held):
        braked.extend(_release(world, leaving))
    return braked, tuple(Held(each.brake, each.digest, each.text, each.what, each.targets) for each in held)


def _brakes_without_site(world: World) -> Brakes:
    """Return the usual brakes, or the strictest while the site has some of its own and nobody can say which."""
    is_hidden = world.desired.hides(_SITE) and not _released(world, _SITE)
    return _STRICTEST if is_hidden else Brakes()


def _held_back(world: World, decision: Decision, stopped: dict[tuple[ObjectId, Weight], _Load]) -> Decision:
    if isinstance(decision, Hold):
        return decision
    load = stopped.get((decision.target, decision.weight))
    if load is None and _leaves(world, decision) and not _released(world, decision.target):
        load = stopped.get((decision.target, Weight.REMOVES))
        if load is None:
            return Hold(decision.target, _not_yet(world, decision.target), part=_part(decision))
    if load is None:
        return decision
    text = f"{load.text}; to let it pass, approve {load.digest}"
    because = Because(Reason.HELD_BY_BRAKE, text, (("digest", load.digest),))
    return Hold(decision.target, because, part=_part(decision))


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


def _released(world: World, identity: ObjectId) -> bool:
    known = world.ledger.known.get(known_key(identity))
    return known is None or known.released


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


def _removals(world: World, brakes: Brakes, leaving: list[str]) -> _Load:
    known = len(world.ledger.known)
    allowed = max(brakes.max_removals, known * brakes.max_removal_percent // 100)
    targets = tuple(object_id(key) for key in leaving)
    if not any(_described(world, object_id(key)) for key in world.ledger.known):
        # An empty repo is never taken at its word, nor the last step to one.
        allowed = 0
    text = f"{len(leaving)} of {known} objects left the repo and at most {allowed} go without approval"
    if hidden := sum(_perhaps_elsewhere(world, target) for target in targets):
        text = f"{text}; {hidden} of them perhaps into a broken file"
    return _Load("removals", tuple(leaving), targets, Weight.REMOVES, allowed, text)


def _described(world: World, identity: ObjectId) -> bool:
    return identity in world.desired.objects and identity not in world.desired.lingering


def _stops(world: World, decisions: list[Decision], brakes: Brakes, moving: Collection[ObjectId]) -> _Load:
    decided = {d.target for d in decisions if isinstance(d, Action) and d.weight is Weight.STOPS}
    stops = sorted(decided | (set(_to_be_stopped(world)) - {*moving}))
    text = f"{len(stops)} running jobs would be stopped at once and at most {brakes.max_stops} are without approval"
    what = tuple(str(target) for target in stops)
    return _Load("stops", what, tuple(stops), Weight.STOPS, brakes.max_stops, text)


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
            wanted = _released(world, identity) or _perhaps_elsewhere(world, identity)
        else:
            edited = loaded.digest != attempt.digest and not loaded.document.spec.stop
            wanted = edited and frozen_because(world, identity) is None
        if wanted:
            yield identity


def _drains(world: World, decisions: list[Decision], brakes: Brakes) -> Iterator[_Load]:
    pools = {d.target for d in decisions if isinstance(d, Action) and d.weight is Weight.DRAINS}
    for identity in sorted(pools):
        pool = pool_of(world, identity.name)
        if pool is None:
            continue
        nodes = {node.name for node in pool.spec.nodes}
        remembered = {k.partition("/")[2] for k, r in world.ledger.nodes.items() if r.pool == identity.name}
        leaving = sorted({drain.node for drain in pool.spec.drain} | (remembered - nodes))
        total = len(nodes | remembered)
        allowed = max(1, total * brakes.max_drain_percent // 100)
        text = f"{len(leaving)} of {total} nodes of {identity.name} leave and at most {allowed} do without approval"
        yield _Load(f"drains-{identity.name}", tuple(leaving), (identity,), Weight.DRAINS, allowed, text)
