"""Cases of deciding: what each kind makes of a world; and that no rule, reason or cause is without one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from reconciler.cli.closed import CONDITIONS, STATES
from reconciler.kind import Kind
from reconciler.kinds import ALL
from reconciler.model.job import StopCause
from reconciler.model.plan import Plan, Reason
from tests.kinds.rules import all_rules, watch
from tests.kinds.shorthand import cases_in, compared, told, world_of

HERE = Path(__file__).parent
CASES = [
    pytest.param(kind, case, id=f"{kind.name} {name}")
    for kind in ALL
    for name, case in cases_in(HERE / kind.name.lower() / "cases")
]


@pytest.mark.parametrize(("kind", "case"), CASES)
def test_a_world_leads_to_these_decisions(kind: Kind, case: Mapping[str, Any]) -> None:
    compared(case, [told(decision) for decision in kind.plan(world_of(case))])


def test_every_rule_has_a_case(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = all_rules()
    answered = watch(monkeypatch)
    for kind in ALL:
        for _, case in cases_in(HERE / kind.name.lower() / "cases"):
            list(kind.plan(world_of(case)))
    assert not rules - answered, f"rules without a case: {sorted(rules - answered)}"


def test_every_reason_has_a_case() -> None:
    told_of = {wanted["because"] for _, case in every_case() for wanted in case["expect"] or []}
    # The reason of what needs nothing; only a status says it.
    assert {reason.value for reason in Reason} - told_of == {Reason.AS_DESIRED.value}


@pytest.mark.parametrize("cause", StopCause)
def test_every_cause_of_a_stop_has_a_case(cause: StopCause) -> None:
    expected = [wanted for _, case in every_case() for wanted in case["expect"] or []]
    assert any(f"'cause': '{cause.value}'" in str(wanted) for wanted in expected)


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.name)
def test_people_can_ask_for_every_word_that_a_kind_says(kind: Kind) -> None:
    worlds = [world_of(case) for _, case in every_case()]
    said = [each for world in worlds for each in kind.status(world, Plan(world.desired.revision))]
    assert {each.state for each in said} <= set(STATES[kind.name])
    assert {fact.type for each in said for fact in each.conditions} == set(CONDITIONS.get(kind.name, ()))


def every_case() -> list[tuple[str, Mapping[str, Any]]]:
    folders = [*sorted(HERE.glob("*/cases")), HERE.parent / "plan" / "cases"]
    return [case for folder in folders for case in cases_in(folder)]
