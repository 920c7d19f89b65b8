"""What every Ray door does. Each promise runs on the fake world and on a real head with two workers."""

import shlex
import sys
from collections.abc import Iterator

import pytest

from reconciler.model.outcome import Done, FailureKind, NotDone, Unknown
from reconciler.model.ray import RayJobStatus, RayNodeState, Submission
from reconciler.model.sighting import Absent, Unreachable
from tests.contract.ray_lab import LIMIT, START_LIMIT, FakeLab, Lab, RealLab, job, node, seen, state, until

PENDING, RUNNING = RayJobStatus.PENDING, RayJobStatus.RUNNING
NOWHERE = {"rayops-node": "nowhere"}
ON_W1 = {"rayops-node": "w1"}

# Reserves CPUs of `w1` in bundles so small that Ray shows hundreds of amounts for them, and holds them.
RESERVING = """
import sys, time, ray
from ray.util.placement_group import placement_group
ray.init(log_to_driver=False)
bundles = [{"CPU": float(sys.argv[2]) / 160}] * 160
group = placement_group(bundles, bundle_label_selector=[{"rayops-node": "w1"}] * 160)
time.sleep(300.94)
"""


@pytest.fixture(
    scope="module", params=["fake", pytest.param("real", marks=[pytest.mark.real, pytest.mark.timeout(600)])]
)
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    made: Lab = RealLab() if request.param == "real" else FakeLab()
    yield made
    made.close()


def start(lab: Lab, submission_id: str, command: str, where: dict[str, str] = ON_W1, **env: str) -> None:
    submission = Submission(submission_id, f"exec {command}", env, {"digest": "d1"}, where)
    assert lab.ray.submit(lab.head, submission, LIMIT) == Done({"existed": False})


def ended(lab: Lab, submission_id: str) -> bool:
    return job(lab, submission_id).status.ended


def test_a_head_shows_session_version_nodes_and_that_it_is_closed(lab: Lab) -> None:
    view = seen(lab)
    assert view.session
    assert view.ray_version == "2.60.0"
    assert view.token_required
    assert {each.labels["rayops-node"]: each.is_head for each in view.nodes} == {
        "head-01": True,
        "w1": False,
        "w2": False,
    }
    assert node(lab, "w1").total["GPU"] == node(lab, "w1").available["GPU"] == 4
    assert {each.state for each in view.nodes} == {RayNodeState.ALIVE}
    assert view.jobs == {}


def test_a_job_that_never_gets_a_place_fails(lab: Lab) -> None:
    start(lab, "nowhere-1", "sleep 1", NOWHERE)
    assert job(lab, "nowhere-1").status is PENDING
    until(lab, lambda: ended(lab, "nowhere-1"), START_LIMIT + 10)
    assert job(lab, "nowhere-1").error_type == "JOB_SUPERVISOR_ACTOR_START_TIMEOUT"


def test_a_job_runs_where_it_shall_and_carries_its_stamp(lab: Lab) -> None:
    start(lab, "run-1", "sleep 2")
    # Not until it is seen to run: on a busy machine two looks may be further apart than that.
    until(lab, lambda: job(lab, "run-1").node_id != "")
    assert job(lab, "run-1").node_id == node(lab, "w1").node_id
    assert job(lab, "run-1").metadata == {"digest": "d1"}
    until(lab, lambda: ended(lab, "run-1"))
    record = job(lab, "run-1")
    assert (record.status, record.exit_code, record.error_type) == (RayJobStatus.SUCCEEDED, 0, "")


def test_a_job_without_wishes_runs_on_the_head(lab: Lab) -> None:
    start(lab, "wishless-1", "sleep 300.1", {})
    until(lab, lambda: job(lab, "wishless-1").status is RUNNING)
    assert job(lab, "wishless-1").node_id == node(lab, "head-01").node_id
    lab.ray.stop(lab.head, "wishless-1", LIMIT)


def test_a_failed_job_shows_its_exit_code(lab: Lab) -> None:
    start(lab, "fail-1", "sh -c 'exit 7'")
    until(lab, lambda: ended(lab, "fail-1"))
    record = job(lab, "fail-1")
    assert (record.status, record.exit_code) == (RayJobStatus.FAILED, 7)
    assert record.error_type == "JOB_ENTRYPOINT_COMMAND_ERROR"


def test_threads_are_one_unless_they_are_set(lab: Lab) -> None:
    start(lab, "threads-1", "sh -c 'exit $OMP_NUM_THREADS'")
    start(lab, "threads-2", "sh -c 'exit $OMP_NUM_THREADS'", OMP_NUM_THREADS="12")
    until(lab, lambda: ended(lab, "threads-1") and ended(lab, "threads-2"))
    assert [job(lab, each).exit_code for each in ("threads-1", "threads-2")] == [1, 12]


def test_an_id_runs_once(lab: Lab) -> None:
    start(lab, "once-1", "sleep 300.2")
    again = Submission("once-1", "exec sleep 300.2", {}, {}, ON_W1)
    assert lab.ray.submit(lab.head, again, LIMIT) == Done({"existed": True})
    until(lab, lambda: job(lab, "once-1").status is RUNNING)
    until(lab, lambda: lab.drivers("once-1", "300.2") == 1)
    lab.ray.stop(lab.head, "once-1", LIMIT)
    until(lab, lambda: ended(lab, "once-1"))
    assert lab.ray.submit(lab.head, again, LIMIT) == Done({"existed": True})
    assert job(lab, "once-1").status is RayJobStatus.STOPPED


def test_an_id_is_free_again_after_delete(lab: Lab) -> None:
    start(lab, "free-1", "true")
    until(lab, lambda: ended(lab, "free-1"))
    assert lab.ray.delete(lab.head, "free-1", LIMIT) == Done({"existed": True})
    assert seen(lab, "free-1").jobs == {}
    start(lab, "free-1", "true")


def test_an_unknown_job_is_missing_and_needs_neither_stop_nor_delete(lab: Lab) -> None:
    view = seen(lab, "unknown-1", "../evil")
    assert view.jobs == {}
    # An id that Ray may keep under another name is not proven absent.
    assert view.asked == {"unknown-1"}
    assert lab.ray.stop(lab.head, "unknown-1", LIMIT) == Done({"known": False})
    assert lab.ray.delete(lab.head, "unknown-1", LIMIT) == Done({"existed": False})


def test_a_pending_job_can_be_stopped(lab: Lab) -> None:
    start(lab, "pending-1", "sleep 300.3", NOWHERE)
    refused = lab.ray.delete(lab.head, "pending-1", LIMIT)
    assert isinstance(refused, NotDone)
    assert refused.kind is FailureKind.TRANSIENT
    # Ray may say that it has the job before there is anything that could be ended; then it is asked again.
    pending = Done({"known": True, "signalled": True, "pending": True})
    until(lab, lambda: lab.ray.stop(lab.head, "pending-1", LIMIT) == pending, START_LIMIT / 2)
    until(lab, lambda: ended(lab, "pending-1"), START_LIMIT / 2)
    assert job(lab, "pending-1").status is RayJobStatus.FAILED
    assert lab.ray.delete(lab.head, "pending-1", LIMIT) == Done({"existed": True})


def test_a_running_job_is_stopped_and_not_deleted(lab: Lab) -> None:
    start(lab, "stop-1", "sleep 300.4")
    until(lab, lambda: job(lab, "stop-1").status is RUNNING)
    assert isinstance(lab.ray.delete(lab.head, "stop-1", LIMIT), NotDone)
    assert lab.ray.stop(lab.head, "stop-1", LIMIT) == Done({"known": True, "signalled": True, "pending": False})
    until(lab, lambda: ended(lab, "stop-1"), 10)
    assert job(lab, "stop-1").status is RayJobStatus.STOPPED
    until(lab, lambda: lab.drivers("stop-1", "300.4") == 0, 10)
    assert lab.ray.stop(lab.head, "stop-1", LIMIT) == Done({"known": True, "signalled": False})


def test_a_stop_takes_the_job_s_grace(lab: Lab) -> None:
    deaf = "sh -c \"trap '' TERM; n=7; while :; do sleep 0.5\\$n; done\""
    start(lab, "grace-1", deaf, RAY_JOB_STOP_WAIT_TIME_S="6")
    until(lab, lambda: job(lab, "grace-1").status is RUNNING)
    # It sleeps only once it is deaf.
    until(lab, lambda: lab.drivers("grace-1", "0.57") == 1)
    asked = lab.now()
    lab.ray.stop(lab.head, "grace-1", LIMIT)
    until(lab, lambda: ended(lab, "grace-1"), 20)
    assert lab.now() - asked > 5


def test_a_job_may_reserve_its_whole_node_in_many_bundles(lab: Lab) -> None:
    until(lab, lambda: node(lab, "w1").available.get("CPU") == 4)
    start(lab, "bundles-1", shlex.join([sys.executable, "-c", RESERVING, "reserve", "4"]))
    until(lab, lambda: node(lab, "w1").available.get("CPU", 0) == 0)
    assert set(node(lab, "w1").total) == {"CPU", "GPU", "memory"}
    assert job(lab, "bundles-1").status is RUNNING
    lab.ray.stop(lab.head, "bundles-1", LIMIT)
    until(lab, lambda: node(lab, "w1").available.get("CPU") == 4)


@pytest.mark.parametrize("token", ["wrong", "other-token"])
def test_a_wrong_token_is_refused_and_does_nothing(lab: Lab, token: str) -> None:
    stranger = lab.with_token(token)
    outcome = stranger.submit(lab.head, Submission(f"stranger-{token}", "exec true", {}, {}, {}), LIMIT)
    assert isinstance(outcome, NotDone)
    assert outcome.kind is FailureKind.REFUSED
    assert token not in outcome.message
    assert isinstance(stranger.look(lab.head, [], LIMIT), Unreachable)
    drained = stranger.drain(lab.head, node(lab, "w1").node_id, "repair", LIMIT)
    assert isinstance(drained, NotDone)
    assert drained.kind is FailureKind.REFUSED
    assert seen(lab, f"stranger-{token}").jobs == {}


def test_the_head_s_own_node_is_never_drained(lab: Lab) -> None:
    outcome = lab.ray.drain(lab.head, node(lab, "head-01").node_id, "repair", LIMIT)
    assert isinstance(outcome, NotDone)
    assert outcome.kind is FailureKind.REFUSED
    assert node(lab, "head-01").state is RayNodeState.ALIVE


def test_a_drained_node_takes_nothing_new_and_leaves(lab: Lab) -> None:
    start(lab, "stays-1", "sleep 300.6", {"rayops-node": "w2"})
    until(lab, lambda: job(lab, "stays-1").status is RUNNING)
    w2 = node(lab, "w2").node_id
    assert lab.ray.drain(lab.head, w2, "repair", LIMIT) == Done({"gone": False})
    until(lab, lambda: node(lab, "w2").state is RayNodeState.DRAINING, 5)
    # A node without a job would be gone by now; its job holds it, though it takes nothing of it.
    lab.wait(3)
    start(lab, "pinned-1", "true", {"rayops-node": "w2"})
    start(lab, "new-1", "sleep 300.7", {"rayops-node": "in(w1,w2)"})
    until(lab, lambda: job(lab, "new-1").status is RUNNING)
    assert job(lab, "new-1").node_id == node(lab, "w1").node_id
    assert job(lab, "stays-1").status is RUNNING
    # Ray gives up what got no place for so long, and this machine may have needed as long for the other one.
    pinned = job(lab, "pinned-1")
    assert pinned.status is PENDING or pinned.error_type == "JOB_SUPERVISOR_ACTOR_START_TIMEOUT"
    for each in ("stays-1", "pinned-1", "new-1"):
        lab.ray.stop(lab.head, each, LIMIT)
    until(lab, lambda: state(lab, w2) is RayNodeState.DEAD)
    assert lab.ray.drain(lab.head, w2, "repair", LIMIT) == Done({"gone": True})
    assert lab.ray.drain(lab.head, "ab" * 28, "repair", LIMIT) == Done({"gone": True})


def test_a_frozen_head_obeys_late(lab: Lab) -> None:
    late = Submission("late-1", "exec true", {}, {}, ON_W1)
    seen(lab)
    lab.freeze()
    short = LIMIT / 15
    try:
        assert isinstance(lab.ray.look(lab.head, [], short), Unreachable)
        assert isinstance(lab.ray.submit(lab.head, late, short), Unknown)
    finally:
        lab.thaw()
    until(lab, lambda: "late-1" in seen(lab, "late-1").jobs, 10)
    assert lab.ray.submit(lab.head, late, LIMIT) == Done({"existed": True})


def test_a_killed_node_stays_listed_as_dead(lab: Lab) -> None:
    lab.start_worker("w3")
    w3 = node(lab, "w3").node_id
    start(lab, "lost-1", "sleep 300.8", {"rayops-node": "w3"})
    until(lab, lambda: job(lab, "lost-1").status is RUNNING)
    lab.kill_worker("w3")
    until(lab, lambda: state(lab, w3) is RayNodeState.DEAD)
    # Ray forgets what a dead node was called; whoever wants to know remembers its id.
    assert [each.labels for each in seen(lab).nodes if each.node_id == w3] == [{}]
    until(lab, lambda: ended(lab, "lost-1"))
    assert job(lab, "lost-1").error_type == "JOB_SUPERVISOR_ACTOR_DIED"
    # The entrypoint begins with exec: nothing outlives the raylet.
    until(lab, lambda: lab.drivers("lost-1", "300.8") == 0, 10)


def test_a_job_that_is_stopped_while_it_starts_never_runs_on(lab: Lab) -> None:
    start(lab, "early-1", "sleep 300.91")
    assert isinstance(lab.ray.stop(lab.head, "early-1", LIMIT), Done)
    until(lab, lambda: ended(lab, "early-1"), 20)
    until(lab, lambda: lab.drivers("early-1", "300.91") == 0, 10)
    assert job(lab, "early-1").status in {RayJobStatus.STOPPED, RayJobStatus.FAILED}


def test_an_id_that_ray_would_mistreat_is_not_sent(lab: Lab) -> None:
    for bad in ("../evil", "a/b", "", "<img src=x>", "x" * 300):
        outcome = lab.ray.submit(lab.head, Submission(bad, "exec true", {}, {}, {}), LIMIT)
        assert isinstance(outcome, NotDone)
        assert outcome.kind is FailureKind.INVALID


def test_what_a_frozen_head_was_asked_dies_with_it(lab: Lab) -> None:
    """From here on the head is dead: the stories that follow go on with what it leaves."""
    start(lab, "orphan-1", "sleep 300.9")
    until(lab, lambda: job(lab, "orphan-1").status is RUNNING)
    lab.start_worker("w4", lonely=5)
    lab.freeze()
    never = Submission("never-1", "exec sleep 300.92", {}, {}, ON_W1)
    assert isinstance(lab.ray.submit(lab.head, never, LIMIT / 15), Unknown)
    lab.kill_head()
    lab.wait(2)
    assert lab.drivers("never-1", "300.92") == 0


def test_a_dead_head_is_absent_and_its_drivers_run_on(lab: Lab) -> None:
    # A connection that was open when the head died breaks first; only a refused one proves that nobody is there.
    until(lab, lambda: isinstance(lab.ray.look(lab.head, ["orphan-1"], LIMIT), Absent), 10)
    assert isinstance(lab.ray.submit(lab.head, Submission("x-1", "exec true", {}, {}, {}), LIMIT), NotDone)
    assert isinstance(lab.ray.drain(lab.head, "ab" * 28, "repair", LIMIT), NotDone)
    assert lab.drivers("orphan-1", "300.9") == 1


def test_a_worker_of_a_dead_head_ends_by_itself(lab: Lab) -> None:
    until(lab, lambda: lab.raylets("w4") == 0, 20)
    assert lab.raylets("w1") == 1


def test_a_new_head_knows_nothing(lab: Lab) -> None:
    lab.start_head()
    view = seen(lab, "orphan-1", "once-1", "never-1")
    assert view.jobs == {}
    # The raylets of its predecessor still live; none of them is a node of this one.
    assert [each.labels["rayops-node"] for each in view.nodes if each.state is RayNodeState.ALIVE] == ["head-01"]
    assert view.token_required
    start(lab, "orphan-1", "true", {})
