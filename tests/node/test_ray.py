"""The node program with a real Ray: one machine, one address, two clusters."""

import json
import os
import re
import shlex
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.node import processes
from reconciler.node.slots import RUNNING
from tests.node.jobs import HIDDEN, Job
from tests.node.machine import TOKEN, NodeMachine, kill, node_machine, until
from tests.raycluster import free_ports

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]

# A start takes 7-9 s on a quiet machine; several at once on two busy cores were seen to take a minute.
START_LIMIT = 150.0
DETACHED = ["/bin/sh", "-c", "setsid sleep 1000 & echo $! ready; wait"]


class RayMachine:
    """A machine with a real head and its workers."""

    def __init__(self, machine: NodeMachine) -> None:
        self.machine = machine
        self.python = {"python": sys.executable}
        gcs, dashboard, client = free_ports(3, "")
        self.ports = {"gcs": gcs, "dashboard": dashboard, "client": client}

    def start(self, *workers: str, cluster: str = "main", epoch: int = 1) -> None:
        """Start a head and workers."""
        head = self.machine.start_head(epoch, cluster=cluster, ports=self.ports, **self.python)
        assert head["ok"], head
        self.until("running", "head", "n1", cluster)
        for name in workers:
            self.join(name, cluster, epoch)
        for name in workers:
            self.until("running", "worker", name, cluster)

    def join(self, name: str, cluster: str = "main", epoch: int = 1, generation: int = 1) -> None:
        """Start a worker."""
        address = f"127.0.0.1:{self.ports['gcs']}"
        order = {"cluster": cluster, "headAddress": address, "labels": {"pool": "h20"}, "generation": generation}
        answer = self.machine.start_worker(epoch, name, **order, **self.python)
        assert answer["ok"], answer

    def until(self, state: str, role: str, node: str, cluster: str = "main") -> None:
        """Wait until a slot is in a state; tell its log when it failed instead."""
        seen = until(
            lambda: self.machine.seen(role, node, cluster),
            lambda seen: seen.state in {state, "failed"} and not (state == "stopped" and seen.living),
            START_LIMIT,
        )
        assert seen.state == state, seen.document()

    def ask(self, path: str, body: object = None) -> Any:
        """Ask the head's API."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.ports['dashboard']}{path}", data)
        request.add_header("Authorization", f"Bearer {TOKEN}")
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def nodes(self) -> dict[str, Any]:
        """Return the living nodes by our label."""
        rows = self.ask("/api/v0/nodes?detail=1")["data"]["result"]["result"]
        return {row["labels"]["rayops-node"]: row for row in rows if row["state"] == "ALIVE"}

    def submit(self, job: Job, **env: str) -> None:
        """Hand a job's runner to Ray, as the daemon does."""
        self.ask(
            "/api/jobs/",
            {
                "submission_id": job.folder.name,
                "entrypoint": "exec " + shlex.join(job.command),
                "entrypoint_num_cpus": 0.1,
                "runtime_env": {"env_vars": env},
            },
        )

    def status(self, job: Job) -> str:
        """Return what Ray says of a job."""
        text: str = self.ask(f"/api/jobs/{job.folder.name}")["status"]
        return text


@pytest.fixture(scope="module")
def ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayMachine]:
    with node_machine(tmp_path_factory.mktemp("ray")) as machine:
        ray = RayMachine(machine)
        ray.start("w1", "w2")
        yield ray


@pytest.fixture
def job(ray: RayMachine, request: pytest.FixtureRequest) -> Iterator[Job]:
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")
    folder = ray.machine.home / "jobs" / name
    folder.mkdir(parents=True)
    each = Job(folder, ray.machine.program)
    yield each
    each.close()


def test_a_head_and_two_workers_share_one_address(ray: RayMachine) -> None:
    nodes = until(ray.nodes, lambda nodes: len(nodes) == 3, 30)
    assert {name: row["resources_total"].get("GPU", 0) for name, row in nodes.items()} == {
        "n1": 0,
        "w1": 4,
        "w2": 4,
    }
    assert {row["node_ip"] for row in nodes.values()} == {"127.0.0.2"}
    assert nodes["w1"]["labels"]["pool"] == "h20"


def test_the_head_asks_for_the_token(ray: RayMachine) -> None:
    url = f"http://127.0.0.1:{ray.ports['dashboard']}/api/jobs/"
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(url, timeout=10)


def test_the_token_is_in_no_command_line_and_in_no_log(ray: RayMachine) -> None:
    living = [
        each for role, name in (("head", "n1"), ("worker", "w1")) for each in ray.machine.seen(role, name).living
    ]
    assert len(living) > 10
    assert not any(TOKEN in argument for each in living for argument in processes.command_line(each))
    logs = [path for path in Path(f"/tmp/rayops-{os.getuid()}").rglob("*") if path.is_file()]
    assert not [path for path in logs if TOKEN.encode() in path.read_bytes()]


def test_a_second_cluster_lives_beside_the_first(ray: RayMachine) -> None:
    other = RayMachine(ray.machine)
    other.start("w1", cluster="other", epoch=5)
    assert set(until(other.nodes, lambda nodes: len(nodes) == 2, 30).keys()) == {"n1", "w1"}
    living = ray.machine.seen("head", "n1", "other").living + ray.machine.seen("worker", "w1", "other").living
    for role, node in (("worker", "w1"), ("head", "n1")):
        assert ray.machine.stop(role, node, grace=10, cluster="other")["state"] == "stopping"
        other.until("stopped", role, node, "other")
    assert not [each for each in living if processes.alive(each)]
    assert len(ray.nodes()) == 3


@pytest.mark.parametrize(("code", "status"), [(0, "SUCCEEDED"), (7, "FAILED")])
def test_a_job_ends_in_ray_as_it_ended_for_us(ray: RayMachine, job: Job, code: int, status: str) -> None:
    program = f"import ray; ray.init(); print(ray.cluster_resources()['GPU']); raise SystemExit({code})"
    job.write([sys.executable, "-c", program])
    ray.submit(job)
    until(lambda: ray.status(job), lambda seen: seen in {"SUCCEEDED", "FAILED"}, 120)
    assert ray.status(job) == status
    assert job.result.items() >= {"outcome": "exited", "exitCode": code}.items()
    assert "8.0" in job.log


def test_a_stop_by_ray_lets_the_program_save_once(ray: RayMachine, job: Job) -> None:
    save = "lambda *_: (print('saving', flush=True), time.sleep(4), sys.exit(3))"
    wait = "print('ready', flush=True); time.sleep(1000)"
    program = f"import signal, sys, time; signal.signal(signal.SIGTERM, {save}); {wait}"
    job.write([sys.executable, "-c", program], graceSeconds=20)
    ray.submit(job, RAY_JOB_STOP_WAIT_TIME_S="25")
    until(lambda: job.log, lambda log: "ready" in log, 60)
    ray.ask(f"/api/jobs/{job.folder.name}/stop", {})
    until(lambda: ray.status(job), lambda seen: seen == "STOPPED", 60)
    until((job.folder / "result.json").exists, bool, 20)
    assert job.log.count("saving") == 1
    assert job.result.items() >= {"outcome": "stopped", "exitCode": 3}.items()


def test_an_attempt_that_was_claimed_fails_in_ray_and_runs_nothing(ray: RayMachine, job: Job) -> None:
    job.write(["echo", "ran"])
    (job.folder / "claim.json").write_bytes(b"{}")
    ray.submit(job)
    until(lambda: ray.status(job), lambda seen: seen == "FAILED", 60)
    assert job.log == ""


@pytest.mark.parametrize("argv", [DETACHED, *HIDDEN.values()], ids=["left its session", *HIDDEN])
def test_what_a_killed_runner_leaves_is_ended_by_the_keeper(ray: RayMachine, job: Job, argv: list[str]) -> None:
    job.write(argv)
    ray.submit(job)
    until(lambda: job.log, lambda log: "ready" in log, 60)
    row = processes.row(int(job.log.split()[0]))
    assert row is not None
    claim = json.loads((job.folder / "claim.json").read_text())
    kill(claim["pid"])
    try:
        until(lambda: processes.alive(row.process), lambda alive: not alive, 40)
        until(job.living, lambda living: not living)
    finally:
        if processes.alive(row.process):
            kill(row.process.pid)


def test_a_killed_raylet_fails_its_slot_and_the_worker_can_join_again(ray: RayMachine) -> None:
    record = ray.machine.seen("worker", "w2").record
    assert record is not None
    kill(record.core["raylet"].pid)
    seen = ray.machine.until("failed", "worker", "w2", limit=30)
    assert seen.message == "raylet was ended by SIGKILL"
    ray.join("w2", generation=2)
    ray.until("running", "worker", "w2")
    until(ray.nodes, lambda nodes: "w2" in nodes, 30)


def test_a_worker_without_keeper_stops_and_leaves_nothing(ray: RayMachine) -> None:
    seen = ray.machine.seen("worker", "w1")
    keeper = seen.record.keeper if seen.record else None
    assert keeper is not None
    kill(keeper.pid, signal.SIGKILL)
    orphaned = until(lambda: ray.machine.seen("worker", "w1"), lambda now: keeper not in now.living)
    assert orphaned.state == RUNNING
    assert ray.machine.stop("worker", "w1")["state"] == "stopped"
    assert not [each for each in seen.living if processes.alive(each)]
