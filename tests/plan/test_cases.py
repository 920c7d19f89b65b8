"""Cases of whole plans: renames, removals, brakes, pace, and what is remembered of objects."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from reconciler.model.plan import Decision
from reconciler.plan.lint import lint
from tests.kinds.shorthand import cases_in, compared, told, world_of
from tests.promises.plans import planned

CASES = [pytest.param(case, id=name) for name, case in cases_in(Path(__file__).parent / "cases")]


@pytest.mark.parametrize("case", CASES)
def test_a_world_leads_to_this_plan(case: Mapping[str, Any]) -> None:
    plan = planned(world_of(case))
    lint(plan)
    decisions: list[Decision] = [*plan.notes, *plan.actions, *plan.holds]
    compared(case, [told(decision) for decision in decisions])
