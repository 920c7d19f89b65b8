"""A daemon that dies at any step of one whole story loses nothing and repeats nothing.

Here it dies in some of its moments; beside the tests `make test` lets it die in most of them, and
`python -m tests.simulator --crashes all` in every one.
"""

import pytest

from tests.fakes.files import Crash
from tests.simulator.crashes import DISKS, DOOR, dooms, moments, survive
from tests.simulator.doors import Fate

TRIES = 40


def test_the_story_has_many_moments_at_every_place_and_three_of_each_effect() -> None:
    found = moments()
    assert found.keys() == {DOOR, *DISKS}
    assert all(len(steps) > 60 for steps in found.values())
    assert len(found[DOOR]) % 3 == 0


def test_a_request_on_its_way_arrives_although_its_sender_dies() -> None:
    arrivals: list[float] = []
    fate = Fate(die_at=1)
    with pytest.raises(Crash):
        fate.send(arrivals.append)
    assert len(arrivals) == 1
    fate.send(arrivals.append)
    assert len(arrivals) == 1


@pytest.mark.parametrize("number", range(TRIES))
def test_a_daemon_that_dies_loses_and_repeats_nothing(number: int) -> None:
    every = list(dooms())
    doom = every[number * len(every) // TRIES]
    found, world = survive(doom)
    assert found is None, f"a daemon that {doom}: {found}"
    assert world.lives > 1
