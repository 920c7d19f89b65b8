"""What needs a real Ray of another make than the contract's: an open head, a hung GCS, Ray's own traps."""

import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP

import orjson
import pytest
import urllib3

from reconciler.clock import SystemClock
from reconciler.model.outcome import NotDone, Unknown
from reconciler.model.ray import HeadSeen, RayJobStatus, Submission
from reconciler.model.sighting import Present, Unreachable
from reconciler.remote.ray_client import RayClient
from tests.contract.ray_lab import RealLab, until
from tests.raycluster import RayCluster

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]
CLOCK = SystemClock()
LIMIT = timedelta(seconds=15)
ON_W1 = {"rayops-node": "w1"}


@pytest.fixture(scope="module")
def lab() -> Iterator[RealLab]:
    made = RealLab(workers=("w1",), env={"RAY_AUTH_MODE": "disabled"})
    yield made
    made.close()


def seen(lab: RealLab, *ids: str) -> HeadSeen:
    sighting = lab.ray.look(lab.head, ids, LIMIT)
    assert isinstance(sighting, Present), sighting
    return sighting.seen


def raw(cluster: RayCluster, method: str, path: str, document: object = None) -> tuple[int, str]:
    body = None if document is None else orjson.dumps(document)
    url = f"http://{cluster.head.host}:{cluster.head.dashboard_port}{path}"
    headers = {"Authorization": f"Bearer {cluster.token}", "Content-Type": "application/json"}
    with urllib3.PoolManager() as pool:
        answer = pool.request(method, url, body=body, headers=headers, retries=False, timeout=15)
        return answer.status, answer.data.decode()


def test_a_head_that_lets_strangers_in_is_seen_as_open(lab: RealLab) -> None:
    assert not seen(lab).token_required
    assert not seen(lab).token_required  # never remembered as closed


def test_a_hung_gcs_is_unreachable_in_time_and_leaves_effects_unknown(lab: RealLab) -> None:
    worker = next(each.node_id for each in seen(lab).nodes if not each.is_head)
    lab.cluster.signal("head", SIGSTOP, "gcs_server")
    try:
        for _ in range(2):
            began = CLOCK.now().ticks
            assert isinstance(lab.ray.look(lab.head, [], timedelta(seconds=1)), Unreachable)
            assert isinstance(lab.ray.drain(lab.head, worker, "repair", timedelta(seconds=1)), Unknown | NotDone)
            assert CLOCK.now().ticks - began < 3
    finally:
        lab.cluster.signal("head", SIGCONT, "gcs_server")
    assert seen(lab).session


def test_ray_keeps_ghosts_of_ids_that_we_refuse(lab: RealLab) -> None:
    """Why ids are checked before they are sent."""
    status, _ = raw(lab.cluster, "POST", "/api/jobs/", {"submission_id": "a/b", "entrypoint": "exec true"})
    assert status == 500
    jobs = orjson.loads(raw(lab.cluster, "GET", "/api/jobs/")[1])
    assert [(each["submission_id"], each["status"]) for each in jobs] == [("a/b", "PENDING")]


def test_without_exec_a_driver_outlives_its_raylet(lab: RealLab) -> None:
    """Why entrypoints begin with exec."""
    sleeper = f"{sys.executable} -c 'import time; time.sleep(301.7)'"
    for submission_id, command in (
        ("bare-1", f"{sleeper}; true"),
        ("exec-1", f"exec {sleeper.replace('7)', '8)')}"),
    ):
        document = {"submission_id": submission_id, "entrypoint": command, "entrypoint_label_selector": ON_W1}
        assert raw(lab.cluster, "POST", "/api/jobs/", document)[0] == 200
    until(lab, lambda: all(lab.drivers("", f"sleep({word})") for word in ("301.7", "301.8")))
    lab.cluster.signal("w1", SIGKILL, "raylet/raylet")
    until(lab, lambda: not _runs(lab, "301.8"), 15)
    assert _runs(lab, "301.7")


def _runs(lab: RealLab, word: str) -> bool:
    """Say whether a Python driver itself runs, not the shell that started it."""
    pids = lab.cluster.pids("w1", f"sleep({word})")
    return any(Path(f"/proc/{pid}/cmdline").read_bytes().startswith(sys.executable.encode()) for pid in pids)


def test_one_client_follows_a_head_that_was_replaced_by_a_closed_one(lab: RealLab) -> None:
    before = seen(lab).session
    lab.kill_head()
    lab.cluster.start_head({"RAY_AUTH_MODE": "token"})
    after = seen(lab)
    assert after.session != before
    assert after.token_required
    submission = Submission("here-1", "exec true", {}, {}, {})
    lab.ray.submit(lab.head, submission, LIMIT)
    until(lab, lambda: seen(lab, "here-1").jobs["here-1"].status is RayJobStatus.SUCCEEDED)


def test_children_of_a_closed_client_are_gone(lab: RealLab) -> None:
    client = RayClient(CLOCK, lambda _cluster: lab.cluster.token)
    client.look(lab.head, [], LIMIT)
    before = _children()
    client.close()
    assert len(before) - len(_children()) == 1


def _children() -> list[str]:
    tasks = Path("/proc/self/task").glob("*/children")
    return [pid for task in tasks for pid in task.read_text(encoding="ascii").split()]
