"""A share that takes no anchor: nothing is begun on what it does not know, and nothing is written twice."""

import errno

from reconciler.model.ledger import Ledger
from tests.scenarios.stories import Story

ANCHOR = ".rayops/site.json"


def test_nothing_is_begun_until_the_share_knows_how_far_the_ledger_has_come() -> None:
    story = Story()
    story.world.shared.fail(errno.ENOSPC, path=ANCHOR, times=1000)
    story.job("one")
    story.people.commit()
    effects = story.world.oracle.effects
    story.live(60)
    assert story.world.oracle.effects == effects
    assert "the ledger cannot be written" in story.status("summary")["readOnly"]["reason"]
    sequence = _ledger(story).sequence
    story.live(60)
    assert _ledger(story).sequence == sequence, "what is in the ledger already is not written again"
    story.world.shared.mend()
    story.live(60)
    assert story.state("job/rl/one") == "Succeeded"
    assert story.status("summary")["readOnly"] is None


def test_an_outcome_counts_once_however_often_the_share_refuses_the_anchor() -> None:
    story = Story()
    story.job("one")
    story.people.commit()
    story.world.shared.fail(errno.ENOSPC, step="write", path="jobs/", times=1000)
    while not ((report := story.world.step()) and report.plan.actions):
        story.world.advance(1)
    story.world.shared.fail(errno.ENOSPC, path=ANCHOR, times=1000)
    story.live(30)
    assert [each.failures for each in _ledger(story).backoffs.values()] == [1]


def _ledger(story: Story) -> Ledger:
    assert story.world.daemon is not None
    assert story.world.daemon.ledger is not None
    return story.world.daemon.ledger
