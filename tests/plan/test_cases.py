"""Cases of whole plans: renames, removals, brakes, pace, and what is remembered of objects."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from reconciler.model.ledger import Table
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


def test_a_job_that_is_renamed_before_it_began_has_the_folder_of_its_new_name() -> None:
    ledger = {"known/job/rl/new": None, "known/job/rl/old": {"like": "job/rl/new"}, "job/rl/old": "queued"}
    (note,) = planned(world_of({"desired": {"job/rl/new": {}}, "ledger": ledger})).notes
    assert {change.table for change in note.changes} == {Table.KNOWN, Table.JOBS}
