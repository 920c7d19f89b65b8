"""Promises about every plan: its notes settle, everything has a reason, frozen objects are left alone (I30)."""

from dataclasses import replace
from datetime import timedelta

from hypothesis import given, settings

from reconciler.model.plan import Decision, Weight
from reconciler.model.views import frozen_because
from reconciler.model.world import World
from reconciler.plan.lint import lint
from tests.promises.plans import planned, settled, written
from tests.promises.worlds import worlds


@settings(max_examples=60, deadline=None)
@given(worlds())
def test_notes_settle_and_then_there_are_none(world: World) -> None:
    plan, after = settled(world)
    again = planned(after)
    assert not again.notes
    assert again.actions == plan.actions


@settings(max_examples=60, deadline=None)
@given(worlds())
def test_every_plan_keeps_the_rules_of_the_house(world: World) -> None:
    lint(planned(world))
    lint(settled(world)[0])


@settings(max_examples=60, deadline=None)
@given(worlds())
def test_every_decision_says_why(world: World) -> None:
    plan = planned(world)
    decisions: list[Decision] = [*plan.actions, *plan.notes, *plan.holds]
    for decision in decisions:
        assert decision.because.text.strip(), decision


@settings(max_examples=60, deadline=None)
@given(worlds())
def test_a_timer_never_lies_in_the_past(world: World) -> None:
    plan = settled(world)[0]
    assert all(hold.until is None or world.now.is_before(hold.until) for hold in plan.holds)
    assert plan.wake is None or world.now.is_before(plan.wake)


@settings(max_examples=60, deadline=None)
@given(worlds())
def test_before_the_timer_nothing_but_limits_can_change(world: World) -> None:
    plan, after = settled(world)
    wake = plan.wake if plan.wake is not None else world.now + timedelta(seconds=1)
    half = (wake.since(world.now)) / 2
    later = settled(replace(after, now=after.now + min(half, timedelta(milliseconds=1))))[0]
    assert [action.effect for action in later.actions] == [action.effect for action in plan.actions]


@settings(max_examples=60, deadline=None)
@given(worlds())
def test_frozen_objects_are_left_alone(world: World) -> None:
    plan = settled(world)[0]
    assert all(frozen_because(world, action.target) is None for action in plan.actions)


@settings(max_examples=60, deadline=None)
@given(worlds())
def test_what_is_under_way_is_not_begun_again(world: World) -> None:
    plan, after = settled(world)
    intents = after.ledger.apply(change for action in plan.actions for change in action.before)
    busy = frozenset(action.pace for action in plan.actions) | world.in_flight
    again = settled(replace(after, ledger=intents, in_flight=busy))[0]
    assert not {action.pace for action in again.actions} & busy


@settings(max_examples=60, deadline=None)
@given(worlds())
def test_the_same_world_is_planned_the_same_twice(world: World) -> None:
    assert written(planned(world)) == written(planned(world))


@settings(max_examples=60, deadline=None)
@given(worlds())
def test_weights_are_told_only_by_what_takes_away(world: World) -> None:
    harmless = {"SubmitAttempt", "StartHead", "StartWorker", "PublishHead", "DeleteRayRecord"}
    for action in planned(world).actions:
        assert action.weight is Weight.NONE or action.verb not in harmless
