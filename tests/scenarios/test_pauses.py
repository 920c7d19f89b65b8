"""Stories of a daemon that stood still: suspended with its machine, or blocked by a share that hung."""

from tests.scenarios.stories import Story
from tests.simulator.faults import freeze_head
from tests.simulator.lives import doze


def epochs(story: Story) -> list[int]:
    """Return how many heads each cluster has had."""
    return [story.status(f"cluster/{name}")["detail"]["epoch"] for name in story.people.clusters]


def test_a_head_that_is_well_but_for_two_moments_outlives_a_pause() -> None:
    story = Story()
    before = epochs(story)
    doze(story.world, 0, 2)
    story.live(300)
    assert epochs(story) == before


def test_a_head_that_stays_silent_after_a_pause_is_fenced() -> None:
    story = Story()
    before = epochs(story)
    freeze_head(story.world, 0, 0)
    story.world.step()
    story.world.nobody_looks(600)
    story.live(80)
    assert epochs(story) == before, "the silence before it does not count"
    story.live(60)
    assert sum(epochs(story)) == sum(before) + 1
