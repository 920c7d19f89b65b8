"""Promises of the brakes: never more than allowed, and an approval covers exactly what it named (I34, I38)."""

from dataclasses import replace
from typing import Any

from hypothesis import given, settings

from reconciler.model.desired import Desired
from reconciler.model.ids import ObjectId
from reconciler.model.ledger import Known, Table
from reconciler.model.plan import Action, Note, Plan, Reason, Weight
from reconciler.model.site import Approval, Brakes
from reconciler.model.views import known_key, object_id
from reconciler.model.world import World
from reconciler.plan.moves import perhaps_moved
from tests.kinds.desired_words import load, said
from tests.promises.plans import planned, settled
from tests.promises.worlds import worlds

SITE = ObjectId("Site", "", "site")


@settings(max_examples=60, deadline=None)
@given(worlds())
def test_no_more_jobs_stop_than_allowed(world: World) -> None:
    plan = planned(world)
    stops = {action.target for action in plan.actions if action.weight is Weight.STOPS}
    assert len(stops) <= _brakes(world).max_stops


@settings(max_examples=60, deadline=None)
@given(worlds())
def test_no_more_objects_are_released_than_allowed(world: World) -> None:
    brakes = _brakes(world)
    assert len(_released(planned(world))) <= max(
        brakes.max_removals, len(world.ledger.known) * brakes.max_removal_percent // 100
    )


@settings(max_examples=60, deadline=None)
@given(worlds())
def test_what_left_the_repo_is_touched_only_once_released(world: World) -> None:
    plan = planned(world)
    decisions: list[Action | Note] = [*plan.actions, *plan.notes]
    for decision in decisions:
        if decision.weight is not Weight.NONE and decision.target not in world.desired.objects:
            who = decision.target
            known = world.ledger.known.get(f"{who.kind}/{who.team}/{who.name}")
            assert known is None or known.released, decision


@settings(max_examples=60, deadline=None)
@given(worlds())
def test_nothing_is_released_while_more_left_than_is_allowed(world: World) -> None:
    left = {key for key in world.ledger.known if object_id(key) not in world.desired.objects}
    left |= {known_key(identity) for identity in world.desired.lingering}
    moved = perhaps_moved(world).items()
    left -= {known_key(old) for new, old in moved if new not in world.desired.lingering}
    waiting = [key for key in left if key in world.ledger.known and not world.ledger.known[key].released]
    brakes = _brakes(world)
    share = len(world.ledger.known) * brakes.max_removal_percent // 100
    if len(waiting) > max(brakes.max_removals, share):
        assert not _released(planned(world))


@settings(max_examples=60, deadline=None)
@given(worlds())
def test_an_empty_repo_releases_nothing(world: World) -> None:
    empty = replace(world, desired=Desired("r2", {}))
    plan = planned(empty)
    assert not _released(plan)
    unreleased = any(not known.released for known in world.ledger.known.values())
    assert bool([held for held in plan.held if held.brake == "removals"]) == unreleased


@settings(max_examples=60, deadline=None)
@given(worlds())
def test_an_approval_covers_what_it_named_and_nothing_else(world: World) -> None:
    world = _tight(world)
    before = planned(world)
    if not before.held:
        return
    approved = before.held[0]
    after = planned(_approved(world, approved.digest))
    assert {held.digest for held in after.held} == {held.digest for held in before.held[1:]}
    if approved.brake == "removals":
        # What a broken file may describe goes once that is mended.
        certain = {key for key in approved.what if not _perhaps_elsewhere(world, object_id(key))}
        assert _released(after) == certain
    else:
        weight = Weight.STOPS if approved.brake == "stops" else Weight.DRAINS
        freed = {a.target for a in after.actions if a.weight is weight} - {
            a.target for a in before.actions if a.weight is weight
        }
        assert freed <= set(approved.targets)


@settings(max_examples=60, deadline=None)
@given(worlds())
def test_an_approval_of_something_else_changes_nothing(world: World) -> None:
    world = _tight(world)
    assert planned(_approved(world, "ab" * 32)).held == planned(world).held


@settings(max_examples=60, deadline=None)
@given(worlds())
def test_what_is_held_says_which_digest_lets_it_pass(world: World) -> None:
    plan = settled(_tight(world))[0]
    digests = {held.digest for held in plan.held}
    braked = [hold.because for hold in plan.holds if hold.because.reason is Reason.HELD_BY_BRAKE]
    for because in braked:
        assert dict(because.numbers)["digest"] in digests
        assert str(dict(because.numbers)["digest"]) in because.text


def _brakes(world: World) -> Brakes:
    site = world.desired.objects.get(SITE)
    brakes: Brakes = site.document.spec.brakes if site is not None else Brakes()
    return brakes


def _perhaps_elsewhere(world: World, identity: ObjectId) -> bool:
    return identity in world.desired.lingering or identity.team in world.desired.unsettled


def _released(plan: Plan) -> set[str]:
    changes = [change for note in plan.notes for change in note.changes if change.table is Table.KNOWN]
    return {change.key for change in changes if getattr(change.record, "released", False)}


def _tight(world: World) -> World:
    """Return the world with brakes that let nothing pass."""
    nothing = Brakes(max_removals=0, max_removal_percent=0, max_stops=0, max_drain_percent=0)
    return _with_site(world, {"brakes": nothing})


def _approved(world: World, digest: str) -> World:
    return _with_site(world, {"approvals": (Approval(plan=digest, reason="drawn"),)})


def _with_site(world: World, changes: dict[str, Any]) -> World:
    site = world.desired.objects.get(SITE) or load("site", {})
    spec = site.document.spec.model_copy(update=changes)
    loaded = replace(site, said=said(site.document.model_copy(update={"spec": spec})))
    known = {**world.ledger.known, "Site//site": Known(loaded.digest, world.now)}
    desired = replace(world.desired, objects={**world.desired.objects, SITE: loaded})
    return replace(world, desired=desired, ledger=replace(world.ledger, known=known))
