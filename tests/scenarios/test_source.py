"""A source that gives less than all: what could not be read is read again, without another commit."""

from tests.scenarios.stories import Story


def test_a_content_that_could_not_be_read_is_taken_in_once_it_can_be() -> None:
    story = Story()
    job = story.job("long", seconds=30)
    story.people.commit()
    story.live(15)
    story.people.edit(job.uid, seconds=10)
    story.world.source.hide(story.people.jobs[job.uid].document())
    story.people.commit()
    story.live(10)
    assert story.status("job/rl/long")["sync"] == "Stale"
    assert [outcome for _, outcome in story.runs()] == ["runs"]
    story.world.source.heal()
    story.live(60)
    assert story.status("job/rl/long")["sync"] == "Synced"
    assert [outcome for _, outcome in story.runs()] == ["stopped", "exited"]
