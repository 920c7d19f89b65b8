"""Promise: nothing destructive is decided from what nobody could see (I5, I7; design, promise 2)."""

from typing import Any

from hypothesis import given, settings

from reconciler.model.effect import (
    BurnClaim,
    DeleteRayRecord,
    DrainRayNode,
    StartHead,
    StartWorker,
    StopAttempt,
    StopSlot,
    SubmitAttempt,
    SweepAttempt,
)
from reconciler.model.sighting import Present
from reconciler.model.world import ClaimState, Role, SlotId, World
from tests.promises.plans import blinded, effects, settled
from tests.promises.worlds import worlds


@settings(max_examples=60, deadline=None)
@given(worlds())
def test_a_blind_daemon_starts_and_stops_nothing(world: World) -> None:
    plan, _ = settled(blinded(world))
    assert {type(effect).__name__ for effect in effects(plan)} <= {"WithdrawHead"}


@settings(max_examples=60, deadline=None)
@given(worlds())
def test_each_effect_rests_on_something_that_was_seen(world: World) -> None:
    plan, world = settled(world)
    for effect in effects(plan):
        assert _was_seen(world, effect), effect


@settings(max_examples=60, deadline=None)
@given(worlds())
def test_no_head_starts_where_one_may_live(world: World) -> None:
    plan, world = settled(world)
    for effect in effects(plan, StartHead):
        record = world.ledger.clusters.get(effect.cluster)
        known = record is not None and record.head is not None
        if known:
            assert record is not None
            assert effect.epoch == record.epoch
            assert record.head is not None
            assert record.head.session is None
        else:
            assert effect.epoch > (record.epoch if record is not None else 0)


def _was_seen(world: World, effect: Any) -> bool:
    seen = world.observed
    match effect:
        case StopSlot():
            slot = seen.slots.get(SlotId(effect.cluster, Role(effect.role), effect.node))
            return isinstance(slot, Present) or isinstance(seen.heads.get(effect.cluster), Present)
        case StartHead() | StartWorker():
            role = Role.HEAD if isinstance(effect, StartHead) else Role.WORKER
            slot = seen.slots.get(SlotId(effect.cluster, role, effect.node))
            return isinstance(slot, Present) and not slot.seen.state.alive
        case StopAttempt() | SubmitAttempt() | DeleteRayRecord() | DrainRayNode():
            return isinstance(seen.heads.get(effect.head.cluster), Present)
        case BurnClaim():
            directory = seen.attempts.get(effect.submission_id)
            return isinstance(directory, Present) and not directory.seen.claimed
        case SweepAttempt():
            claim = seen.claims.get(effect.submission_id)
            return isinstance(claim, Present) and claim.seen is ClaimState.ALIVE
        case _:
            return True
