"""The oracle can fail: every planted bug is found, and within how many worlds."""

from itertools import chain
from pathlib import Path

import pytest

from tests.simulator.bugs import BUGS, first_find, known, row
from tests.simulator.museum.patch import Bug

# A bug that hides longer means that the stories became too tame.
SEEDS = 100
PAGE = Path(__file__).parents[2] / "docs" / "testing.md"


def test_the_page_says_how_many_worlds_find_each_bug() -> None:
    page, finds = PAGE.read_text().splitlines(), known()
    assert list(finds) == [bug.__name__ for bug in BUGS]
    assert not [told for bug in BUGS if (told := row(bug, finds[bug.__name__])) not in page]


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_a_planted_bug_is_found(bug: Bug) -> None:
    seed = known()[bug.__name__].seed
    assert seed < SEEDS
    # Where it was found last first; only after a change that lets other worlds find it must all of them be tried.
    assert first_find(bug, chain([seed], range(SEEDS))) is not None, f"{bug.__name__} was not found"
