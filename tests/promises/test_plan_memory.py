"""Promise: what was planned before changes nothing: plan and status follow from their world alone."""

from dataclasses import replace
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.kinds import ALL
from reconciler.loop import settled_plan
from reconciler.model.desired import Desired
from reconciler.model.ledger import Ledger, Meta
from reconciler.model.plan import Plan
from reconciler.model.status import ObjectStatus
from reconciler.model.world import Observed, World
from tests.kinds.moments import NOW
from tests.promises.plans import written
from tests.promises.worlds import worlds

NOTHING = World(Desired("", {}), Observed(), Ledger(Meta("site")), NOW)


def afresh(world: World) -> tuple[Plan, list[ObjectStatus]]:
    """Return plan and status by a planner that has just seen a world without anything in it."""
    said(NOTHING)
    return said(world)


def said(world: World) -> tuple[Plan, list[ObjectStatus]]:
    plan, after = settled_plan(world, ALL)
    return plan, [each for kind in ALL for each in kind.status(after, plan)]


def assert_same(one: tuple[Plan, list[ObjectStatus]], other: tuple[Plan, list[ObjectStatus]]) -> None:
    assert written(one[0]) == written(other[0])
    assert [replace(each, revision="") for each in one[1]] == [replace(each, revision="") for each in other[1]]


@settings(max_examples=40)
@given(st.lists(worlds(), min_size=2, max_size=3))
def test_other_worlds_before_change_nothing(passes: list[World]) -> None:
    for world in passes:
        remembered = said(world)
        assert_same(remembered, said(world))
    assert_same(remembered, afresh(passes[-1]))


@settings(max_examples=25)
@given(worlds(), worlds(), st.timedeltas(timedelta(0), timedelta(days=2)))
def test_nor_does_the_same_world_a_while_before(world: World, other: World, later: timedelta) -> None:
    said(world)
    plan, after = settled_plan(world, ALL)
    ledger = after.ledger.apply(change for action in plan.actions for change in action.before)
    for following in (
        replace(after, now=after.now + later),
        replace(after, ledger=ledger, now=after.now + later),
        replace(after, ledger=ledger, observed=other.observed),
        replace(after, desired=other.desired),
    ):
        remembered = said(following)
        assert_same(remembered, afresh(following))
        said(world)
