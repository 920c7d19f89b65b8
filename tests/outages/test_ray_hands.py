"""What people do to a job past RayOps: never are there two copies of it, and the status says what happened."""

import json
import os
import signal
from pathlib import Path
from urllib.request import Request, urlopen

import grpc  # type: ignore[import-untyped]  # grpcio ships no types
import pytest
from ray.core.generated import gcs_service_pb2, gcs_service_pb2_grpc

from tests.outages.scene import REQUEST_SECONDS, Scene, Work

pytestmark = pytest.mark.real

ONCE_MORE = "  grace: 1s\n  retry: {limit: 1, backoff: 1s}\n"


def token(site: Scene) -> str:
    return (site.site.home / "state/tokens/main").read_text().strip()


def test_a_job_whose_record_is_deleted_is_ended_before_it_runs_again(site: Scene) -> None:
    work = Work(site.site, "erased").begun(ONCE_MORE)
    attempt = work.attempts[-1]["submissionId"]
    with grpc.insecure_channel(f"{site.head.place[0]}:{site.site.ports[0]}") as channel:
        # Ray's own interface refuses to delete the record of a running job.
        request = gcs_service_pb2.InternalKVDelRequest(
            key=f"_ray_internal_job_info_{attempt}".encode(), namespace=b"job"
        )
        store = gcs_service_pb2_grpc.InternalKVGcsServiceStub(channel)
        mine = (("authorization", f"Bearer {token(site)}"),)
        assert store.InternalKVDel(request, timeout=REQUEST_SECONDS, metadata=mine).deleted_num == 1
    work.begins(2)
    work.ends()
    assert work.lives() == ["began 1", "began 2", "ended 2"]
    lost, repeated = work.attempts
    assert (lost["state"], repeated["state"]) == ("Lost", "Succeeded")
    assert "Ray has no record of it any more" in lost["message"]
    said = [event["reason"] for event in site.site.events(work.path)]
    assert "ProcessLeft" in said, "it was found alive, and ended by its machine"


def test_a_job_that_somebody_stops_is_stopped_by_hand_and_not_run_again(site: Scene) -> None:
    work = Work(site.site, "halted").begun(ONCE_MORE)
    host, port = site.head.server
    address = f"http://{host}:{port}/api/jobs/{work.attempts[-1]['submissionId']}/stop"
    stop = Request(address, method="POST", headers={"Authorization": f"Bearer {token(site)}"})
    with urlopen(stop, timeout=REQUEST_SECONDS * 5) as answer:
        assert json.load(answer) == {"stopped": True}
    site.site.until(work.path, "Stopped")
    (attempt,) = work.attempts
    assert attempt["reason"] == "StoppedByHand"
    assert work.lives() == ["began 1"]


@pytest.mark.parametrize(("victim", "state"), [("program", "Failed"), ("runner", "Lost")])
def test_a_job_that_somebody_kills_runs_again_as_its_policy_says(site: Scene, victim: str, state: str) -> None:
    work = Work(site.site, f"killed-{victim}").begun(ONCE_MORE)
    claim = json.loads((site.site.shared / "jobs" / work.attempts[-1]["submissionId"] / "claim.json").read_text())
    runner = int(claim["pid"])
    (program,) = map(int, Path(f"/proc/{runner}/task/{runner}/children").read_text().split())
    os.kill(program if victim == "program" else runner, signal.SIGKILL)
    work.begins(2)
    work.ends()
    assert work.lives() == ["began 1", "began 2", "ended 2"]
    assert [each["state"] for each in work.attempts] == [state, "Succeeded"]
    assert ("signal 9" if victim == "program" else "no result") in work.attempts[0]["message"]
