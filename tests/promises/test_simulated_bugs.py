"""The oracle can fail: every planted bug is found, and within how many worlds."""

from collections.abc import Callable

import pytest

from tests.simulator.bugs import BUGS, Patch, planted
from tests.simulator.events import story
from tests.simulator.run import play

# Three times what the slowest of them needs today; a bug that hides longer means that the stories became too tame.
SEEDS = 60


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_a_planted_bug_is_found(bug: Callable[[], list[Patch]]) -> None:
    with planted(bug):
        assert any(play(seed, story(seed))[0] for seed in range(SEEDS)), f"{bug.__name__} was not found"
