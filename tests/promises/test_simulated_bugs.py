"""The oracle can fail: every planted bug is found, and within how many worlds."""

import re
from itertools import chain
from pathlib import Path

import pytest

from tests.simulator.bugs import BUGS, first_find
from tests.simulator.museum.patch import Bug

# Three times what the slowest of them needs today; a bug that hides longer means that the stories became too tame.
SEEDS = 60
PAGE = Path(__file__).parents[2] / "docs" / "testing.md"
# `python -m tests.simulator --bugs` writes these rows.
ROW = re.compile(r"^\| `(\w+)` .*\| (\d+) \| I\d+ \|$", re.MULTILINE)
ROWS = {name: int(seed) for name, seed in ROW.findall(PAGE.read_text())}


def test_the_page_lists_every_bug() -> None:
    assert list(ROWS) == [bug.__name__ for bug in BUGS]


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_a_planted_bug_is_found(bug: Bug) -> None:
    known = ROWS[bug.__name__]
    assert known < SEEDS
    # The seed that the page names is tried first: it says how long the bug hides from those who search.
    assert first_find(bug, chain([known], range(SEEDS))) is not None, f"{bug.__name__} was not found"
