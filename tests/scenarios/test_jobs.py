"""Stories of jobs, told on the whole loop: what people commit, what happens, and what they read."""

import json
from collections.abc import Collection
from datetime import timedelta
from pathlib import Path

import pytest

from reconciler.model.ledger import JobRecord
from tests.fakes.gate import Mishap
from tests.scenarios.stories import Story
from tests.simulator.events import Event

HERE = Path(__file__).parent


@pytest.fixture
def story() -> Story:
    return Story()


def test_a_commit_becomes_a_running_job_and_its_end_a_status_file(story: Story) -> None:
    story.job("hello", seconds=20)
    story.people.commit()
    story.live(10)
    assert story.state("job/rl/hello") == "Running"
    story.live(60)
    assert [outcome for _, outcome in story.runs()] == ["exited"]
    status = json.dumps(story.status("job/rl/hello"), indent=2, sort_keys=True)
    assert status == (HERE / "succeeded.json").read_text().rstrip()


def test_a_site_says_why_it_holds_and_is_as_desired_again_once_that_is_approved(story: Story) -> None:
    jobs = [story.job(f"many-{number}", seconds=5) for number in range(6)]
    story.people.commit()
    story.live(300)
    story.people.remove([job.uid for job in jobs])
    story.people.commit()
    story.live(10)
    site = story.status("site/site")
    assert (site["state"], site["reason"]) == ("Held", "HeldByBrake")
    assert site["message"] == site["detail"]["held"][0]["message"]
    story.people.approve([site["detail"]["held"][0]["digest"]])
    story.live(60)
    site = story.status("site/site")
    assert (site["state"], site["reason"]) == ("Ready", "AsDesired")


@pytest.mark.parametrize(
    ("at_first", "then", "outcome"),
    [(40, 300, "exited"), (40, None, "exited"), (300, 40, "stopped"), (None, 40, "stopped")],
)
def test_a_limit_that_is_changed_holds_for_what_runs(
    story: Story, at_first: int | None, then: int | None, outcome: str
) -> None:
    wish = story.job("long", seconds=100, limit=at_first)
    story.people.commit()
    story.live(30)
    story.people.steer(wish.uid, limit=then)
    story.people.commit()
    story.live(120)
    assert [ended for _, ended in story.runs()] == [outcome]
    assert story.state("job/rl/long") == ("Succeeded" if outcome == "exited" else "TimedOut")


def test_a_removal_is_told_once(story: Story) -> None:
    ran, waits = story.job("ran", seconds=5), story.job("waits", seconds=5, suspend=True)
    story.people.commit()
    story.live(60)
    story.people.remove([ran.uid, waits.uid])
    story.people.commit()
    story.live(60)
    for name in ("ran", "waits"):
        assert story.status(f"job/rl/{name}") == {}
        assert [text for text in story.history(f"job/rl/{name}") if text.startswith("removed")] == [
            "removed from the repo; nothing of it is left"
        ]


def test_a_job_whose_head_dies_runs_once_more_and_only_after_the_first_run_is_gone(story: Story) -> None:
    story.job("long", seconds=600, retry=1)
    story.people.commit()
    story.live(20)
    Event("kill_head", wait=0).happen(story.world)
    story.live(2000)
    (first, ended), (second, outcome) = story.runs()
    assert first != second
    assert ended in {"stopped", "fenced", "killed"}
    assert outcome == "exited"
    assert story.state("job/rl/long") == "Succeeded"
    assert [each["state"] for each in story.status("job/rl/long")["detail"]["attempts"]] == ["Lost", "Succeeded"]


def test_a_broken_file_harms_nobody_else(story: Story) -> None:
    broken = story.job("broken", seconds=600)
    story.people.commit()
    story.live(20)
    story.people.steer(broken.uid, broken=True)
    story.job("other", team="nlp", seconds=5)
    story.people.commit()
    story.live(60)
    assert (story.state("job/rl/broken"), story.state("job/nlp/other")) == ("Running", "Succeeded")
    assert story.status("job/rl/broken")["sync"] == "Stale"


@pytest.mark.parametrize("trouble", ["source_down", "rewrite_history", "delete_branch"])
def test_a_source_that_cannot_be_followed_changes_nothing(story: Story, trouble: str) -> None:
    story.job("long", seconds=600)
    story.people.commit()
    story.live(20)
    effects = story.world.oracle.effects
    Event(trouble, wait=100).happen(story.world)
    assert story.world.oracle.effects == effects
    assert story.state("job/rl/long") == "Running"
    assert story.status("summary")["source"] is not None


@pytest.mark.parametrize("token", [None, b"", b"spoiled"])
def test_a_token_that_is_lost_ends_nothing_and_all_goes_on_once_it_is_back(
    story: Story, token: bytes | None
) -> None:
    story.job("long", seconds=2000)
    story.people.commit()
    story.live(20)
    effects = story.world.oracle.effects
    paths = [f"tokens/{cluster}" for cluster in story.people.clusters]
    good = {path: story.world.state.read(path) or b"" for path in paths}
    for path in paths:
        story.world.state.remove(path) if token is None else story.world.state.write(path, token)
    story.live(600)
    assert story.world.oracle.effects == effects, "nothing was fenced, and no token was made"
    told = story.status(f"cluster/{story.people.clusters[0]}")
    assert (told["state"], told["reason"]) == ("Unknown", "HeadUnreachable")
    for path, content in good.items():
        story.world.state.write(path, content)
    story.live(2000)
    assert story.state("job/rl/long") == "Succeeded"
    assert len(story.runs()) == 1


def test_a_mass_deletion_waits_for_its_approval(story: Story) -> None:
    for number in range(5):
        story.job(f"j{number}", seconds=600)
    story.people.commit()
    story.live(30)
    effects = story.world.oracle.effects
    Event("remove_all", wait=60).happen(story.world)
    assert story.world.oracle.effects == effects
    held = story.status("plan")["held"]
    assert [each["brake"] for each in held] == ["removals", "stops"]
    story.people.approve([each["digest"] for each in held])
    story.live(200)
    assert {outcome for _, outcome in story.runs()} == {"stopped"}
    assert story.status("job/rl/j0") == {}


def test_a_daemon_that_dies_between_intent_and_effect_submits_once(story: Story) -> None:
    story.job("hello", seconds=20)
    story.people.commit()
    world = story.world
    # The first moment at a door after the intent is the one before the request leaves.
    while not any(record.live for record in _jobs(story)):
        world.step()
    world.fate.die_at = world.fate.points + 1
    story.live(60)
    assert world.lives == 2
    assert [outcome for _, outcome in story.runs()] == ["exited"]
    assert story.state("job/rl/hello") == "Succeeded"


def _jobs(story: Story) -> Collection[JobRecord]:
    daemon = story.world.daemon
    assert daemon is not None
    assert daemon.ledger is not None
    return daemon.ledger.jobs.values()


def test_what_became_of_a_job_is_found_out_although_the_clock_went_back_with_a_reboot(story: Story) -> None:
    story.job("long", seconds=300)
    story.people.commit()
    story.live(15)
    (run,) = story.world.machines.runners.runs
    story.world.clock.set_wall(timedelta(hours=-24))
    story.world.power_fails = True
    story.world.died("its machine starts again")
    story.world.machines.runners.kill(run)
    story.live(300)
    assert story.state("job/rl/long") == "Lost"


@pytest.mark.parametrize("fate", ["newly installed", "gone for good"])
def test_what_its_machine_can_never_settle_is_settled_once_its_claim_is_removed(story: Story, fate: str) -> None:
    """As docs/operations.md tells operators who know that nothing of the attempt runs any more."""
    story.job("long", seconds=3000, retry=1)
    story.people.commit()
    story.live(20)
    (run,) = story.world.machines.runners.runs
    (machine,) = [each for each in story.world.machines.all.values() if each.place == run.place]
    story.world.machines.reboot(machine)
    machine.known_boots.clear()
    machine.slots.clear()
    if fate == "gone for good":
        story.world.gate.script(machine.machine, Mishap.UNREACHABLE)
    story.live(3000)
    told = story.status("job/rl/long")
    assert (told["state"], len(story.runs())) == ("Running", 1)
    assert told["reason"] == ("OutcomeUnknown" if fate == "newly installed" else "MachineUnreachable")
    assert "remove claim.json" in told["message"] or fate == "gone for good"
    story.world.shared.remove(f"jobs/{run.submission_id}/claim.json")
    story.live(600)
    (first, _), (second, _) = story.runs()
    assert first != second
    assert b"burnt" in (story.world.shared.read_elsewhere(f"jobs/{first}/claim.json") or b"")
