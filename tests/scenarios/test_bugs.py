"""A rule of ours that breaks: nothing is begun, what runs runs on, and people are told."""

from typing import Any

from reconciler.plan import planner
from tests.scenarios.stories import Story


class Defect:
    """A planner that breaks one of its own rules while it is there."""

    def __init__(self) -> None:
        self.there = False

    def plan(self, world: Any) -> Any:
        assert not self.there, "a rule of ours"
        return ()


def test_a_broken_rule_begins_nothing_and_is_told(monkeypatch: Any) -> None:
    story, defect = Story(), Defect()
    job = story.job("long", seconds=200)
    story.people.commit()
    story.live(20)
    assert story.state("job/rl/long") == "Running"
    make = planner.decide
    monkeypatch.setattr("reconciler.plan.planner.decide", lambda *given: [defect.plan(given), make(*given)][1])
    defect.there = True
    effects = story.world.oracle.effects
    story.people.remove([job.uid])
    story.people.commit()
    loop = story.loop
    for _ in range(5):
        report = loop.once()
        story.world.advance(5)
    assert report.trouble.startswith("a bug: AssertionError in plan; see")
    assert not report.quiet
    assert story.world.oracle.effects == effects
    assert story.runs() == [(story.runs()[0][0], "runs")]
    assert story.status("summary")["readOnly"]["reason"] == report.trouble
    assert story.state("job/rl/long") == "Running"
    defect.there = False
    story.live(120)
    assert story.status("summary")["readOnly"] is None
    assert story.runs()[0][1] == "stopped"


def test_a_plan_that_breaks_a_rule_is_not_begun(monkeypatch: Any) -> None:
    story = Story()
    story.job("one")
    story.people.commit()
    monkeypatch.setattr("reconciler.plan.planner.lint", _nothing_may_start)
    effects = story.world.oracle.effects
    loop = story.loop
    assert loop.once().trouble.startswith("a bug: AssertionError in _nothing_may_start")
    story.world.advance(5)
    assert story.world.oracle.effects == effects
    monkeypatch.undo()
    story.live(60)
    assert story.state("job/rl/one") == "Succeeded"


def _nothing_may_start(plan: Any) -> None:
    assert not plan.actions, "an action"
    raise AssertionError("any plan breaks this rule")
