"""Whatever happens to the world of a seed, the promises hold, and in the end everything is as people want it."""

import pytest

from tests.simulator.run import try_seed

# More of them: `python -m tests.simulator --seeds 20000`.
SEEDS = 300


@pytest.mark.parametrize("seed", range(SEEDS))
def test_the_promises_hold_in_the_world_of_a_seed(seed: int) -> None:
    found = try_seed(seed)
    assert found is None, str(found)
