"""The plans of recorded worlds stay what they were, or somebody says that they shall change."""

import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings

from reconciler.model.desired import Desired, Loaded
from reconciler.model.effect import Effect
from reconciler.model.plan import Reason
from reconciler.model.world import Observed, World
from tests.promises.plans import planned
from tests.promises.worlds import worlds as any_worlds
from tests.replay import plans, records, worlds
from tests.replay.records import Recorded
from tests.simulator.bugs import planted
from tests.simulator.museum import jobs, wishes
from tests.simulator.museum.patch import Bug


@pytest.fixture(scope="module")
def recorded() -> list[Recorded]:
    return records.load()


def test_recorded_worlds_get_the_plans_that_they_got_before(recorded: list[Recorded]) -> None:
    changed = records.changes(recorded)
    assert not changed, (
        f"{records.report(changed, len(recorded))}\n"
        "if each of these is wanted: python -m tests.replay accept, and say why in the commit"
    )


def test_they_show_every_effect_and_every_reason(recorded: list[Recorded]) -> None:
    decisions = [each for record in recorded for each in record.plan["decisions"]]
    assert {each.__name__ for each in get_args(Effect)} <= {each["verb"] for each in decisions}
    # AsDesired is what a status says when a plan says nothing.
    assert set(Reason) - {Reason.AS_DESIRED} == {each["because"]["reason"] for each in decisions}


@pytest.mark.parametrize(
    ("bug", "words"),
    [
        (
            jobs.taken_nodes_are_free,
            r"job/\S+: before hold because WaitsForNodes .*, now SubmitAttempt because New",
        ),
        (wishes.no_brakes, r"the brake on removals no longer holds: \d+ of \d+ objects left the repo"),
    ],
    ids=["decision", "brake"],
)
def test_a_planted_bug_changes_plans_and_is_told(recorded: list[Recorded], bug: Bug, words: str) -> None:
    with planted(bug):
        changed = records.changes(recorded)
    assert re.search(words, records.report(changed, len(recorded)))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (
            {"now": {"wall": "noon", "boot": "b", "ticks": 0.0}},
            "of another shape than the model; record anew: .*now.wall",
        ),
        ({"ledger": ""}, "of another shape than the model; record anew: Corrupt"),
    ],
    ids=["field", "ledger"],
)
def test_a_world_that_cannot_be_read_any_more_asks_for_a_new_recording(
    recorded: list[Recorded], spoil: dict[str, Any], words: str
) -> None:
    world = recorded[0].world
    assert isinstance(world, dict)
    (changed,) = records.changes([replace(recorded[0], world={**world, **spoil})])
    assert re.search(words, changed.differences[0], re.DOTALL)


@settings(max_examples=50, deadline=None)
@given(any_worlds())
def test_any_world_comes_back_as_it_was_written(world: World) -> None:
    lingering = frozenset(sorted(world.desired.objects)[:2])
    world = replace(world, desired=replace(world.desired, lingering=lingering))
    # What was thought of it once is no part of it.
    planned(world)
    assert worlds.read(worlds.written(world)) == world


def test_no_part_of_a_world_is_left_out(recorded: list[Recorded]) -> None:
    document: Any = worlds.written(worlds.read(recorded[0].world))
    kept = {World: document, Desired: document["desired"], Observed: document["observed"]}
    for kind, part in kept.items():
        assert {each.name for each in fields(kind)} == part.keys()
    # Who it is, what digest it has and what is written of it follows from the document.
    kept_of_object = {each.name for each in fields(Loaded)} - {"id", "digest", "said"} | {"document"}
    assert kept_of_object == document["desired"]["objects"][0].keys()


def test_records_come_back_as_they_were_saved(recorded: list[Recorded], tmp_path: Path) -> None:
    records.save(recorded[:3], tmp_path / "some")
    assert records.load(tmp_path / "some") == recorded[:3]


WAITS = {"verb": "hold", "target": "job/rl/a", "part": "", "until": None}
STARTS = {"verb": "SubmitAttempt", "target": "job/rl/a", "part": "", "with": {"nodes": ["n1", "n2"]}}
BUSY = {"because": {"reason": "WaitsForNodes", "text": "needs 2 nodes", "numbers": {}}}
NEW = {"because": {"reason": "New", "text": "attempt 1", "numbers": {}}}
BRAKE = {"brake": "stops", "message": "3 jobs would stop", "what": [], "digest": "d"}
CHANGES: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    (
        "another decision",
        {"decisions": [WAITS | BUSY]},
        {"decisions": [STARTS | NEW]},
        "job/rl/a: before hold because WaitsForNodes (needs 2 nodes), now SubmitAttempt because New (attempt 1)",
    ),
    ("one more", {}, {"decisions": [STARTS | NEW]}, "job/rl/a: now also SubmitAttempt because New (attempt 1)"),
    ("one less", {"decisions": [STARTS | NEW]}, {}, "job/rl/a: no longer SubmitAttempt because New (attempt 1)"),
    (
        "the same with something else",
        {"decisions": [STARTS | NEW]},
        {"decisions": [STARTS | NEW | {"with": {"nodes": ["n1", "n3"]}}]},
        "job/rl/a: SubmitAttempt (New) says something else: with.nodes[1] was 'n2', is 'n3'",
    ),
    (
        "another order",
        {"decisions": [WAITS | BUSY, STARTS | NEW]},
        {"decisions": [STARTS | NEW, WAITS | BUSY]},
        "decides the same in another order",
    ),
    ("a brake", {}, {"held": [BRAKE]}, "the brake on stops holds now: 3 jobs would stop"),
    ("no wake", {"wake": {"wall": "12:00"}}, {}, "wakes at no time, before at 12:00"),
]  # fmt: skip


@pytest.mark.parametrize(("before", "now", "words"), [case[1:] for case in CHANGES], ids=[c[0] for c in CHANGES])
def test_a_changed_plan_is_told_in_words(before: dict[str, Any], now: dict[str, Any], words: str) -> None:
    empty: dict[str, Any] = {"revision": "r1", "decisions": [], "held": [], "wake": None}
    assert plans.differences({**empty, **before}, {**empty, **now}) == [words]
    assert plans.differences({**empty, **now}, {**empty, **now}) == []
