"""Promises about jobs: one live attempt, ids that are used once, places that hold, nothing above its bound."""

from collections import Counter
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.kinds.job.submit import submission_id
from reconciler.model.effect import StartHead, StartWorker, StopSlot, SubmitAttempt
from reconciler.model.ids import ObjectId
from reconciler.model.views import holders, live_attempts
from reconciler.model.world import World
from tests.kinds.desired_words import host
from tests.promises.plans import effects, settled
from tests.promises.worlds import worlds

NAMES = st.from_regex(r"[a-c]([a-c0-9-]{0,3}[a-c])?", fullmatch=True)


@settings(max_examples=60, deadline=None)
@given(worlds())
def test_a_job_has_at_most_one_live_attempt(world: World) -> None:
    for job, record in _after_intents(world).ledger.jobs.items():
        assert all(attempt.ended is not None for attempt in record.attempts[:-1]), job


@settings(max_examples=60, deadline=None)
@given(worlds())
def test_a_submission_id_is_used_once(world: World) -> None:
    plan, before = settled(world)
    used = Counter(a.submission_id for record in before.ledger.jobs.values() for a in record.attempts)
    new = Counter(effect.submission_id for effect in effects(plan, SubmitAttempt))
    live = {attempt.submission_id for _, _, attempt in live_attempts(before.ledger)}
    assert all(count == 1 for count in new.values())
    assert all(who in live or who not in used for who in new)


@settings(max_examples=60, deadline=None)
@given(*(st.tuples(NAMES, NAMES, st.integers(1, 12)) for _ in range(2)))
def test_different_attempts_have_different_ids(one: tuple[str, str, int], other: tuple[str, str, int]) -> None:
    ids = {submission_id(ObjectId("Job", team, job), "0" * 64, number) for team, job, number in (one, other)}
    assert len(ids) == len({one, other})


@settings(max_examples=60, deadline=None)
@given(worlds())
def test_a_job_gets_nodes_that_nobody_has_and_that_stay(world: World) -> None:
    plan, before = settled(world)
    held = holders(before)
    stopped = {(effect.cluster, effect.node) for effect in effects(plan, StopSlot)}
    restarted = {effect.cluster for effect in effects(plan, StartHead)}
    live = {attempt.submission_id for _, _, attempt in live_attempts(before.ledger)}
    taken: set[tuple[str, str]] = set()
    for effect in effects(plan, SubmitAttempt):
        if effect.submission_id in live:
            continue
        places = {(effect.head.cluster, node) for node in effect.nodes}
        assert len(places) == len(effect.nodes)
        assert not places & taken
        assert not places & stopped
        # Each name is one machine, whatever cluster it is in.
        assert not {node for _, node in places} & {node for busy in held.values() for node in busy}
        assert effect.head.cluster not in restarted
        taken |= places


@settings(max_examples=60, deadline=None)
@given(worlds())
def test_no_worker_begins_on_a_machine_that_another_one_has(world: World) -> None:
    plan, before = settled(world)
    there = {(record.machine.host, key) for key, record in before.ledger.nodes.items()}
    there |= {(host(node), f"{cluster}/{node}") for cluster, busy in holders(before).items() for node in busy}
    for effect in effects(plan, StartWorker):
        key = f"{effect.cluster}/{effect.node}"
        others = {other for machine, other in there if machine == effect.machine.host} - {key}
        assert key in before.ledger.nodes or not others


@settings(max_examples=60, deadline=None)
@given(worlds())
def test_no_head_gets_more_than_it_may_run(world: World) -> None:
    before = settled(world)[1]
    was = Counter(attempt.cluster for _, _, attempt in live_attempts(before.ledger))
    now = Counter(attempt.cluster for _, _, attempt in live_attempts(_after_intents(world).ledger))
    for cluster, count in now.items():
        loaded = before.desired.objects.get(ObjectId("Cluster", "", cluster))
        bound = loaded.document.spec.max_running_jobs if loaded is not None else 0
        assert count <= max(bound, was[cluster])


@settings(max_examples=60, deadline=None)
@given(worlds())
def test_numbers_of_attempts_only_grow(world: World) -> None:
    after = _after_intents(world)
    for job, record in after.ledger.jobs.items():
        numbers = [attempt.number for attempt in record.attempts]
        assert numbers == sorted(set(numbers))
        assert not numbers or after.ledger.numbers[job] >= numbers[-1]


def _after_intents(world: World) -> World:
    """Return the world as the ledger has it when the plan's effects begin."""
    plan, before = settled(world)
    return replace(
        before, ledger=before.ledger.apply(change for action in plan.actions for change in action.before)
    )
