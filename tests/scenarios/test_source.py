"""A source that gives less than all: what could not be read is read again, without another commit."""

import errno
from collections.abc import Mapping, Sequence

import pytest

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


def test_a_revision_whose_load_was_cut_short_is_loaded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    story = Story()
    story.job("one")
    monkeypatch.setattr(story.world.source, "read", _no_room)
    story.people.commit()
    assert story.loop.once().trouble.startswith("a bug: OSError")
    monkeypatch.undo()
    story.live(60)
    assert story.state("job/rl/one") == "Succeeded"


def _no_room(_: Sequence[str]) -> Mapping[str, bytes]:
    raise OSError(errno.EMFILE, "too many open files")
