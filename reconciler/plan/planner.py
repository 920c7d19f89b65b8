"""From the world to one plan: every kind's decisions, held back, braked and put in order."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from operator import attrgetter
from typing import TypeAlias

from reconciler.model.ids import ObjectId
from reconciler.model.ledger import Change, Known, Table
from reconciler.model.moment import Moment
from reconciler.model.plan import Action, Because, Decision, Held, Hold, Note, Plan, Reason, Weight
from reconciler.model.views import departed, frozen_because, object_id, unknown
from reconciler.model.world import World
from reconciler.plan.brakes import brake
from reconciler.plan.lint import lint
from reconciler.plan.moves import moves, never_in_force, perhaps_moved
from reconciler.plan.order import in_order
from reconciler.plan.pace import paced

# Notes change what is decided next; they are settled in memory before anything is done. More rounds than this
# would mean that two rules undo each other: a bug, and then nothing is done.
NOTE_ROUNDS = 12

# Limits pass without a timer of their own; so a plan is never older than this.
PLAN_AGE = timedelta(seconds=5)

_PLACE = attrgetter("target", "part", "because.reason")

PlanKind: TypeAlias = Callable[[World], Iterable[Decision]]


@dataclass(frozen=True, slots=True)
class Decided:
    """What all kinds decided about a world, after the brakes, and not yet in order."""

    notes: tuple[Note, ...]
    actions: tuple[Action, ...] = ()
    holds: tuple[Hold, ...] = ()
    held: tuple[Held, ...] = ()

    def plan(self, world: World, notes: Sequence[Note]) -> Plan:
        """Return the plan in its one order, with these notes."""
        return Plan(
            revision=world.desired.revision,
            actions=in_order(self.actions),
            notes=tuple(notes),
            holds=tuple(sorted(self.holds, key=_PLACE)),
            held=self.held,
            wake=_wake(self.holds),
        )


def decide(world: World, planners: Mapping[str, PlanKind]) -> Decided:
    """Return what is decided about a world: for the same one the same, whatever the order of its parts."""
    fleeting = never_in_force(world)
    world = _without(world, fleeting)
    if renamed := tuple(moves(world)):
        # Records get their new names first; the next pass decides about them under these.
        return Decided(renamed)
    doubtful = perhaps_moved(world)
    moving = frozenset(doubtful.values())
    world = _without(world, doubtful)
    decisions = [decision for kind in sorted(planners) for decision in planners[kind](world)]
    decisions.extend(_doubt(world, doubtful))
    decisions.extend(_nothing_begun(fleeting))
    decisions.extend([*_known(world, decisions)])
    # Nearly all decisions are to wait; nothing holds those back.
    holds = [d for d in decisions if isinstance(d, Hold)]
    doing = (d for d in decisions if not isinstance(d, Hold))
    braked, held = brake(world, list(paced(world, _unfrozen(world, doing))), moving)
    holds.extend(d for d in braked if isinstance(d, Hold))
    actions = tuple(d for d in braked if isinstance(d, Action))
    return Decided(tuple(d for d in braked if isinstance(d, Note)), actions, tuple(holds), held)


def settled(world: World, planners: Mapping[str, PlanKind]) -> tuple[Plan, World]:
    """Return the plan after its own notes have been taken in, with all of them, and the world they leave."""
    notes: list[Note] = []
    for _ in range(NOTE_ROUNDS):
        decided = decide(world, planners)
        if not decided.notes:
            plan = decided.plan(world, notes)
            lint(plan)
            return plan, world
        # What else was decided is decided again.
        notes.extend(decided.notes)
        world = replace(world, ledger=world.ledger.apply(c for note in decided.notes for c in note.changes))
    last = notes[-1]
    raise AssertionError(f"notes about {last.target} do not settle: {last.because.text}")


def still_holds(plan: Plan, made_for: World, planned: Moment, world: World) -> bool:
    """Say whether a new plan would say the same: nothing to do, the same input, and no moment of it has come."""
    if world.now.since(planned) >= PLAN_AGE or (plan.wake is not None and not world.now.is_before(plan.wake)):
        return False
    return (
        plan.empty
        and world.desired is made_for.desired
        and world.ledger is made_for.ledger
        and world.in_flight == made_for.in_flight
        and world.observed == made_for.observed
    )


def _without(world: World, some: Collection[ObjectId]) -> World:
    if not some:
        return world
    objects = {who: loaded for who, loaded in world.desired.objects.items() if who not in some}
    return replace(world, desired=replace(world.desired, objects=objects))


def _doubt(world: World, doubtful: Mapping[ObjectId, ObjectId]) -> Iterator[Hold]:
    for identity, old in sorted(doubtful.items()):
        where = world.desired.hidden_in(old)
        text = f"it may be {old} under a new name; mend the broken file in {where}, which may be that one"
        yield Hold(identity, Because(Reason.INVALID, text))


def _nothing_begun(fleeting: Collection[ObjectId]) -> Iterator[Hold]:
    for identity in sorted(fleeting):
        text = "its file is gone before anything of it was begun; it waits for a file that can be read"
        yield Hold(identity, Because(Reason.INVALID, text))


def _known(world: World, decisions: Iterable[Decision]) -> Iterator[Note]:
    """Remember new objects, and forget removed ones of which no kind has anything left to say."""
    before = world.ledger.known
    fresh = [
        # One that came back must be weighed again by the brakes before it goes the next time.
        Change(Table.KNOWN, key, Known(digest, before[key].since if key in before else world.now))
        for key, digest in unknown(world).items()
    ]
    if fresh:
        fresh.sort(key=lambda change: object_id(change.key))
        text = f"objects that are new, edited or back: {len(fresh)}"
        because = Because(Reason.NEW, text, (("objects", len(fresh)),))
        yield Note(ObjectId("Site", "", "site"), because, tuple(fresh))
    gone = departed(world)
    spoken_for = {decision.target for decision in decisions} if gone else set()
    for key in gone:
        identity = object_id(key)
        if identity not in spoken_for:
            because = Because(Reason.REMOVED, "removed from the repo; nothing of it is left")
            yield Note(identity, because, (Change(Table.KNOWN, key, None),), Weight.REMOVES)


def _unfrozen(world: World, decisions: Iterable[Decision]) -> Iterator[Decision]:
    """Turn actions on suspended or impossible objects into holds; what is seen of them is still remembered."""
    frozen: dict[ObjectId, Because | None] = {}
    for decision in decisions:
        if isinstance(decision, Action):
            if decision.target not in frozen:
                frozen[decision.target] = frozen_because(world, decision.target)
            if (because := frozen[decision.target]) is not None:
                yield Hold(decision.target, because, part=decision.part)
                continue
        yield decision


def _wake(holds: Iterable[Hold]) -> Moment | None:
    earliest: Moment | None = None
    for hold in holds:
        if hold.until is not None and (earliest is None or hold.until.is_before(earliest)):
            earliest = hold.until
    return earliest
