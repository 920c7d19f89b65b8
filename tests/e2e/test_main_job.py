"""From a commit to a result, on real Git, real Ray and the real daemon: one cluster on loopback for all stories."""

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.installation import Installation, Node, installation

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def site() -> Iterator[Installation]:
    with installation() as made:
        made.commit("Describe the site", made.base(Node("head-1"), [Node("node-1"), Node("node-2")]))
        made.start()
        made.until("cluster/main", "Ready")
        made.until("nodepool/gpu", "Ready")
        yield made


def test_a_committed_job_runs_and_its_result_comes_back(site: Installation) -> None:
    script = "echo nodes=$RAYOPS_NODES gpus=$RAYOPS_GPUS_PER_NODE omp=$OMP_NUM_THREADS"
    revision = site.commit("Add a job", site.job("hello", script, nodes=2))
    seen = site.until("job/rl/hello", "Succeeded")
    assert seen["observed"]["revision"] == revision
    attempt = seen["detail"]["attempts"][0]
    assert attempt["exitCode"] == 0
    assert attempt["nodes"] == ["node-1", "node-2"]
    folder = site.shared / "jobs" / attempt["submissionId"]
    assert "nodes=node-1,node-2 gpus=4 omp=1" in (folder / "logs/driver.log").read_text()
    assert json.loads((folder / "result.json").read_text())["outcome"] == "exited"
    assert site.rayops("logs", "job/rl/hello").startswith("nodes=node-1,node-2")


def test_the_plan_of_what_is_in_force_is_empty_and_repeats_byte_for_byte(site: Installation) -> None:
    first = site.rayops("plan", "-o", "json", "--detailed-exitcode", code=0)
    assert first == site.rayops("plan", "-o", "json", "--detailed-exitcode", code=0)
    assert json.loads(first)["actions"] == []


def test_a_site_at_rest_is_looked_at_about_once_in_each_interval(site: Installation) -> None:
    assert site.is_calm()


def test_a_failing_job_says_its_exit_code_and_is_retried_as_often_as_it_says(site: Installation) -> None:
    retry = "  retry: {limit: 1, on: [user], backoff: 1s}\n"
    site.commit("Add a failing job", site.job("fails", "echo oops >&2; exit 7", more=retry))
    seen = site.until("job/rl/fails", "Failed")
    deadline = time.monotonic() + 60
    while len(seen["detail"]["attempts"]) < 2 or seen["state"] != "Failed":
        assert time.monotonic() < deadline, seen
        time.sleep(0.2)
        seen = site.object("job/rl/fails") or seen
    assert [each["exitCode"] for each in seen["detail"]["attempts"]] == [7, 7]


def test_a_stop_gives_the_job_its_grace(site: Installation) -> None:
    script = "trap 'echo saved; exit 0' TERM; echo began; while :; do sleep 0.2; done"
    site.commit("Add an endless job", site.job("endless", script))
    running = site.until("job/rl/endless", "Running")
    folder = site.shared / "jobs" / running["detail"]["attempts"][-1]["submissionId"]
    site.until_file(folder / "logs/driver.log", "began")
    site.commit("Stop it", site.job("endless", script, more="  stop: true\n"))
    site.until("job/rl/endless", "Stopped")
    assert "saved" in (folder / "logs/driver.log").read_text()
    assert json.loads((folder / "result.json").read_text())["outcome"] == "stopped"


def test_an_edit_runs_the_job_again_and_a_deletion_removes_it(site: Installation) -> None:
    site.commit("Add", site.job("edited", "echo one"))
    site.until("job/rl/edited", "Succeeded")
    site.commit("Edit", site.job("edited", "echo two; sleep 1"))
    site.until("job/rl/edited", "Running")
    seen = site.until("job/rl/edited", "Succeeded")
    assert [each["state"] for each in seen["detail"]["attempts"]] == ["Succeeded", "Succeeded"]
    site.commit("Delete", {"teams/rl/jobs/edited.yaml": None})
    site.until_gone("job/rl/edited")


def test_a_job_that_waits_says_why(site: Installation) -> None:
    site.commit("Fill the pool", site.job("wide", "sleep 8", nodes=2))
    site.until("job/rl/wide", "Running")
    site.commit("One more", site.job("waiting", "echo at last"))
    waiting = site.until("job/rl/waiting", "Queued")
    assert waiting["reason"] == "WaitsForNodes"
    assert "needs 1 free nodes of gpu, 0 of 2 are free" in waiting["message"]
    assert "wide" in site.rayops("why", "job/rl/waiting") or "gpu" in site.rayops("why", "job/rl/waiting")
    site.until("job/rl/waiting", "Succeeded")


def test_a_broken_file_harms_only_itself(site: Installation) -> None:
    good = site.job("fragile", "sleep 6; echo fine")
    site.commit("Add", good)
    site.until("job/rl/fragile", "Running")
    site.commit("Break it", {"teams/rl/jobs/fragile.yaml": "kind: [\n", **site.job("other", "echo other")})
    site.until("job/rl/other", "Succeeded")
    seen = site.until("job/rl/fragile", "Succeeded")
    assert seen["sync"] == "Stale"
    errors = json.loads((site.status / "summary.json").read_text())["errors"]
    assert [error["path"] for error in errors] == ["teams/rl/jobs/fragile.yaml"]
    site.commit("Mend it", good)


def test_a_force_push_is_held_and_what_runs_goes_on(site: Installation) -> None:
    site.commit("Add", site.job("steady", "sleep 8; echo steady"))
    site.until("job/rl/steady", "Running")
    before = site.git("rev-parse", "HEAD").strip()
    site.git("reset", "--quiet", "--hard", "HEAD~2")
    site.git("commit", "--quiet", "--allow-empty", "--message", "Rewritten")
    site.rayops("sync")
    site.until("job/rl/steady", "Succeeded")
    assert json.loads((site.status / "summary.json").read_text())["source"]["fault"] == "HistoryRewritten"
    site.git("reset", "--quiet", "--hard", before)
    site.rayops("sync")


def test_an_operator_may_accept_a_rewritten_history(site: Installation) -> None:
    site.commit("Add", site.job("doomed", "true", more="  suspend: true\n"))
    site.until("job/rl/doomed", "Suspended")
    site.git("reset", "--quiet", "--hard", "HEAD~1")
    site.git("commit", "--quiet", "--allow-empty", "--message", "Rewritten")
    site.rayops("accept", site.git("rev-parse", "HEAD").strip())
    site.until_gone("job/rl/doomed")


def test_a_killed_daemon_loses_nothing_and_repeats_nothing(site: Installation) -> None:
    site.commit("Add", site.job("survivor", "sleep 6; echo survived"))
    site.until("job/rl/survivor", "Running")
    site.stop(signal.SIGKILL)
    time.sleep(1)
    site.start()
    seen = site.until("job/rl/survivor", "Succeeded")
    assert len(seen["detail"]["attempts"]) == 1


def test_a_second_daemon_is_refused_and_says_why(site: Installation) -> None:
    said = site.rayops("once", code=6)
    assert "another daemon" in said


def test_a_mass_deletion_is_held_until_it_is_approved_by_digest(site: Installation) -> None:
    jobs = [site.job(f"many-{number}", "true", more="  suspend: true\n") for number in range(12)]
    site.commit("Add many", {path: text for job in jobs for path, text in job.items()})
    site.until("job/rl/many-11", "Suspended")
    site.commit("Delete them", {path: None for job in jobs for path in job})
    held = site.until("site/site", "Held")["detail"]["held"]
    assert site.object("job/rl/many-0") is not None
    site.rayops("approve", held[0]["digest"], "--reason", "they were examples", "--repo", str(site.repo))
    site.rayops("sync")
    for number in range(12):
        site.until_gone(f"job/rl/many-{number}")


def raylet_of(site: Installation, node: str) -> int:
    (record,) = (site.home / "node").glob(f"*/main/worker-{node}/state.json")
    # Between two generations there is no raylet.
    return int(json.loads(record.read_text())["core"].get("raylet", {"pid": 0})["pid"])


def until_back(site: Installation, node: str, dead: int) -> None:
    """Wait until a node has another raylet than the dead one: the next story must not begin on that."""
    deadline = time.monotonic() + 120
    while raylet_of(site, node) in {0, dead}:
        assert time.monotonic() < deadline, f"{node} is not started anew\n{site.trail()}"
        time.sleep(0.2)
    site.until("nodepool/gpu", "Ready")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_job_whose_raylet_ends_is_retried(site: Installation, number: signal.Signals) -> None:
    name = f"evicted-{int(number)}"
    script = "test -e $RAYOPS_CHECKPOINT_DIR/began && exit 0; touch $RAYOPS_CHECKPOINT_DIR/began; sleep 60"
    site.commit("Add", site.job(name, script, more="  retry: {limit: 3, backoff: 1s}\n"))
    running = site.until(f"job/rl/{name}", "Running")
    site.until_file(site.shared / f"users/alice/checkpoints/rl/{name}/began", "")
    node = running["detail"]["attempts"][0]["nodes"][0]
    raylet = raylet_of(site, node)
    os.kill(raylet, number)
    seen = site.until(f"job/rl/{name}", "Succeeded", seconds=150)
    states = [each["state"] for each in seen["detail"]["attempts"]]
    # Whether the program was ended by a signal first, or its runner before it could tell, both are retried. An
    # attempt between them may have been meant for the dead node before Ray had noticed, and never began.
    assert states[0] in {"Lost", "Failed"}
    assert states.count("Succeeded") == 1
    until_back(site, node, raylet)


def test_a_program_that_failed_when_a_node_of_its_gang_died_is_retried_for_that(site: Installation) -> None:
    begun, go = (site.shared / "users/alice/checkpoints/rl/gang" / name for name in ("begun", "go"))
    script = f"test -e {begun} && exit 0; touch {begun}; until [ -e {go} ]; do sleep 0.1; done; exit 1"
    retry = "  retry: {limit: 1, on: [node], backoff: 1s}\n"
    site.commit("Add", site.job("gang", script, nodes=2, more=retry))
    site.until_file(begun, "")
    raylet = raylet_of(site, "node-2")
    os.kill(raylet, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while (site.object("nodepool/gpu") or {})["detail"]["nodes"][1]["state"] == "online":
        assert time.monotonic() < deadline, "Ray does not notice"
        time.sleep(0.2)
    go.touch()
    first, second = site.until("job/rl/gang", "Succeeded", seconds=150)["detail"]["attempts"]
    assert (first["state"], first["message"]) == ("Failed", "exit code 1; node-2 failed under it")
    assert second["state"] == "Succeeded"
    until_back(site, "node-2", raylet)


def test_a_dead_head_is_replaced_and_its_job_is_retried(site: Installation) -> None:
    site.commit("Add", site.job("orphan", "sleep 20; echo done", more="  retry: {limit: 2, backoff: 1s}\n"))
    site.until("job/rl/orphan", "Running")
    epoch = (site.object("cluster/main") or {})["detail"]["epoch"]
    for pid in head_processes(site):
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 150
    while (site.object("cluster/main") or {})["detail"]["epoch"] == epoch or not ready(site):
        assert time.monotonic() < deadline, site.trail()
        time.sleep(0.5)
    seen = site.until("job/rl/orphan", "Succeeded", seconds=150)
    states = [each["state"] for each in seen["detail"]["attempts"]]
    assert states[-1] == "Succeeded"
    assert states.count("Succeeded") == 1


def ready(site: Installation) -> bool:
    return (site.object("cluster/main") or {}).get("state") == "Ready"


def head_processes(site: Installation) -> list[int]:
    """Return the processes of this installation's GCS, by the port in their command line."""
    gcs = f"--gcs_server_port={site.ports[0]}"
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                if gcs.encode() in (entry / "cmdline").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    assert found, "the head's GCS was not found"
    return found


def test_no_secret_is_in_status_logs_or_job_directories(site: Installation) -> None:
    tokens = [path.read_bytes().strip() for path in (site.home / "state/tokens").iterdir() if path.is_file()]
    assert tokens
    places = [site.status, site.shared / "jobs", site.shared / ".rayops", site.repo]
    files = [file for place in places for file in place.rglob("*") if file.is_file()]
    files.append(site.home / "daemon.log")
    for file in files:
        with suppress(FileNotFoundError):  # a temporary file that was renamed meanwhile
            content = file.read_bytes()
            assert not any(token in content for token in tokens), file


def test_taking_the_site_down_by_commit_leaves_no_process(site: Installation) -> None:
    site.commit("Take it down", {"clusters/main.yaml": None, "nodepools/gpu.yaml": None})
    site.until_gone("cluster/main")
    with pytest.raises(AssertionError, match="not found"):
        head_processes(site)
    assert site.stop() == 0
