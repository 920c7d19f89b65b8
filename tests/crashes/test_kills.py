"""A daemon that is killed at each step of jobs' lives: programs run once, and what was asked for happens."""

import os
import signal

import pytest

from tests.crashes.mortal import Mortal

pytestmark = pytest.mark.real

IN_TURN = (
    *("before:SubmitAttempt", "after:SubmitAttempt", "settle:SubmitAttempt"),
    *("before:StopAttempt", "after:StopAttempt", "settle:StopAttempt"),
    *("before:DeleteRayRecord", "after:DeleteRayRecord", "settle:DeleteRayRecord"),
)
BURNING = (("before:BurnClaim", "after:BurnClaim"), ("settle:BurnClaim",))
SWEEPING = (("before:SweepAttempt", "after:SweepAttempt"), ("settle:SweepAttempt",))
POINTS = (*IN_TURN, *(point for points in (*BURNING, *SWEEPING) for point in points))

GRACE = "  grace: 1s\n"


def test_jobs_are_submitted_stopped_and_cleaned_up_once(site: Mortal) -> None:
    site.up()
    site.doom(*IN_TURN)
    site.commit("Add a job", site.counted("plain"))
    site.wait_for("job/rl/plain", "Succeeded")

    site.commit("Add one to be edited", site.counted("edited", "sleep 600", more=GRACE))
    site.wait_run("edited")
    site.commit("Edit it", site.counted("edited", more=GRACE))
    site.wait_for("job/rl/edited", "Succeeded")

    site.commit("Add one to be removed", site.counted("removed", "sleep 600", more=GRACE))
    site.wait_run("removed")
    site.commit("Remove it", {"teams/rl/jobs/removed.yaml": None})
    site.wait_gone("job/rl/removed")

    site.wait_all_hit()
    assert (site.runs("plain"), site.runs("edited"), site.runs("removed")) == ({"1": 1}, {"1": 1, "2": 1}, {"1": 1})
    edited = (site.object("job/rl/edited") or {})["detail"]["attempts"]
    assert [(each["number"], each["state"]) for each in edited] == [(1, "Stopped"), (2, "Succeeded")]
    assert not site.look().jobs


def test_what_was_removed_before_ray_heard_of_it_never_runs(site: Mortal) -> None:
    site.up()
    for round_, points in enumerate(BURNING):
        name = f"taken-back-{round_}"
        site.doom("before:SubmitAttempt")
        site.commit("Add a job", site.counted(name))
        site.wait_death()
        site.commit("Remove it", {f"teams/rl/jobs/{name}.yaml": None})
        site.doom(*points)
        site.wait_all_hit()
        site.wait_gone(f"job/rl/{name}")
        assert not site.runs(name)


def test_what_a_killed_runner_left_is_ended_once_it_had_its_grace(site: Mortal) -> None:
    site.up()
    for round_, points in enumerate(SWEEPING):
        name = f"left-{round_}"
        left = site.home / f"left-{round_}.pid"
        site.commit("Add", site.counted(name, f"setsid sleep 600 & echo $! > {left}; wait", more=GRACE))
        site.wait_run(name)
        site.until_file(left, "\n")
        (attempt,) = (site.object(f"job/rl/{name}") or {})["detail"]["attempts"]
        site.doom(*points)
        # The keeper of the node would be faster than the daemon.
        with site.paused_keeper(attempt["nodes"][0]):
            os.kill(site.claimant(name), signal.SIGKILL)
            site.wait_all_hit()
            site.wait_for(f"job/rl/{name}", "Lost")
            assert not site.lives(int(left.read_text()))
        assert site.runs(name) == {"1": 1}
