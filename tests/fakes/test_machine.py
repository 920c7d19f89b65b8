"""What the machines of the fake kind do; `tests/node/` shows the same of the node program."""

import hashlib
import json
from typing import Any

import pytest

from reconciler.model.machine import Machine
from reconciler.model.ray import HeadAddress, Submission
from tests.fakes.files import FakeFiles
from tests.fakes.machine import Machines
from tests.fakes.signer import FakeSigner

HEAD, WORKER = Machine("10.0.0.1", "ray"), Machine("10.0.0.2", "ray")
TOKEN = "0123456789abcdef" * 2
FOLDER = "jobs/rl.a-1234-1"


class Lab:
    """A head and one worker, and a job directory."""

    def __init__(self) -> None:
        self.shared = FakeFiles()
        self.machines = Machines(self.shared)
        self.machines.add(HEAD)
        self.machines.add(WORKER)

    def ask(self, machine: Machine, verb: str, args: dict[str, Any], term: int = 1) -> dict[str, Any]:
        request = {"protocol": 1, "verb": verb, "site": "s1", "term": term, "nodeDir": "~/.rayops", "args": args}
        return dict(self.machines.answer(machine, request))

    def start(self, epoch: int = 1) -> None:
        order = {"cluster": "main", "epoch": epoch, "token": TOKEN, "python": "python3", "rayVersion": "2.60.0"}
        order = {**order, "labels": {}, "env": {}}
        ports = {"gcs": 6379, "dashboard": 8265, "client": 10001}
        head = {**order, "node": "n1", "address": HEAD.host, "ports": ports}
        assert self.ask(HEAD, "start-head", head)["ok"]
        self.machines.ray.advance(10)
        offered: dict[str, Any] = {"cpus": 4, "gpus": 4, "memoryBytes": None, "custom": {}}
        worker = {**order, "node": "w1", "address": WORKER.host, "headAddress": f"{HEAD.host}:6379"}
        worker |= {"generation": epoch}
        assert self.ask(WORKER, "start-worker", {**worker, "resources": offered})["ok"]
        self.machines.ray.advance(5)

    def run(self, seconds: float, stop_seconds: float = 0.0, code: int = 0, limit: int | None = None) -> None:
        task = {
            "argv": ["work", str(seconds), str(code), str(stop_seconds)],
            "cluster": "main",
            "epoch": 1,
            "env": {"RAYOPS_NODES": "w1"},
            "graceSeconds": 10,
            "attemptLimitSeconds": limit,
            "headFile": "/shared/.rayops/clusters/main/head.json",
            "allowedSigners": FakeSigner().allowed_signers(),
        }
        data = json.dumps(task).encode()
        self.shared.write(f"{FOLDER}/config/attempt.json", data)
        digest = hashlib.sha256(data).hexdigest()
        entrypoint = f"exec python3 -I /shared/node.pyz run /shared/{FOLDER} {digest}"
        address = HeadAddress("main", HEAD.host, 6379, 8265, 10001)
        head = self.machines.ray.head_at(address)
        assert head is not None
        self.machines.ray.submit(head, Submission(FOLDER[5:], entrypoint, {}, {}, {"rayops-node": "w1"}))
        self.machines.ray.advance(2)

    def state(self, machine: Machine, role: str, node: str) -> str:
        args = {"slots": [{"cluster": "main", "role": role, "node": node}]}
        slots: list[dict[str, str]] = self.ask(machine, "probe", args)["result"]["slots"]
        return slots[0]["state"]

    def sweep(self, *, kill: bool = False) -> str:
        args = {"jobDir": f"/shared/{FOLDER}", "submissionId": FOLDER[5:], "kill": kill}
        state: str = self.ask(WORKER, "sweep", args)["result"]["state"]
        return state

    @property
    def outcome(self) -> str | None:
        data = self.shared.read_elsewhere(f"{FOLDER}/result.json")
        return json.loads(data)["outcome"] if data is not None else None


@pytest.fixture
def lab() -> Lab:
    made = Lab()
    made.start()
    return made


def test_a_job_runs_beats_and_writes_its_result_last(lab: Lab) -> None:
    lab.run(20)
    assert lab.sweep() == "alive"
    lab.machines.ray.advance(20)
    assert (lab.outcome, lab.sweep()) == ("exited", "gone")


@pytest.mark.parametrize(("stop_seconds", "outcome"), [(0.0, "stopped"), (9.0, None)])
def test_a_killed_raylet_takes_its_job_along_in_time_or_without_a_word(
    lab: Lab, stop_seconds: float, outcome: str | None
) -> None:
    lab.run(100, stop_seconds)
    slot = next(slot for _, slot in lab.machines.slots() if slot.role == "worker")
    lab.machines.kill_ray(slot)
    lab.machines.ray.advance(10)
    assert (lab.state(WORKER, "worker", "w1"), lab.sweep(), lab.outcome) == ("failed", "gone", outcome)


def test_without_its_keeper_a_job_outlives_its_raylet_until_it_is_swept(lab: Lab) -> None:
    lab.run(1000)
    slot = next(slot for _, slot in lab.machines.slots() if slot.role == "worker")
    lab.machines.kill_keeper(slot)
    lab.machines.kill_ray(slot)
    lab.machines.ray.advance(100)
    assert (lab.state(WORKER, "worker", "w1"), lab.sweep()) == ("running", "alive")
    assert lab.sweep(kill=True) == "gone"


@pytest.mark.parametrize(("keeper", "left"), [(True, "gone"), (False, "alive")])
def test_what_a_killed_runner_leaves_is_ended_by_the_keeper(lab: Lab, keeper: bool, left: str) -> None:
    lab.run(1000)
    if not keeper:
        lab.machines.kill_keeper(next(slot for _, slot in lab.machines.slots() if slot.role == "worker"))
    lab.machines.kill_runner(lab.machines.runners.runs[0])
    lab.machines.ray.advance(5)
    assert lab.sweep() == "alive"
    lab.machines.ray.advance(10)
    assert (lab.sweep(), lab.outcome) == (left, None)


def test_a_stranger_with_the_number_of_a_runner_is_never_swept(lab: Lab) -> None:
    lab.run(1000)
    run = lab.machines.runners.runs[0]
    lab.machines.runners.kill(run)
    lab.machines.runners.take_number(run)
    (stranger,) = lab.machines.runners.strangers
    assert (stranger.place, stranger.pid) == (run.place, run.pid)
    assert (lab.sweep(kill=True), stranger.alive) == ("gone", True)


def test_the_attempt_limit_and_a_newer_head_end_a_job(lab: Lab) -> None:
    lab.run(1000, stop_seconds=2, limit=50)
    lab.machines.ray.advance(60)
    assert lab.outcome == "timed-out"


def test_a_job_directory_that_cannot_be_written_runs_nothing(lab: Lab) -> None:
    lab.machines.runners.blind.add(WORKER.host)
    lab.run(20)
    assert (lab.machines.runners.runs, lab.sweep(), lab.outcome) == ([], "unclaimed", None)


def head_file(cluster: str, key: str = "key") -> bytes:
    payload = json.dumps({"cluster": cluster, "epoch": 2})
    return json.dumps({"payload": payload, "signature": FakeSigner(key).sign(payload.encode())}).encode()


@pytest.mark.parametrize(
    ("head", "outcome"),
    [
        (head_file("main"), "fenced"),
        (head_file("main", "another key"), None),
        (head_file("other"), None),
        (head_file("main")[:40], None),
        (b"[]", None),
    ],
    ids=["signed", "by another key", "of another cluster", "torn", "something else"],
)
def test_a_newer_head_file_ends_a_job_only_when_it_is_true(lab: Lab, head: bytes, outcome: str | None) -> None:
    lab.run(1000)
    lab.shared.write(".rayops/clusters/main/head.json", head)
    lab.machines.ray.advance(15)
    assert lab.outcome == outcome


def test_a_reboot_ends_everything_without_a_word(lab: Lab) -> None:
    lab.run(1000)
    lab.machines.reboot(lab.machines.all[WORKER])
    assert (lab.state(WORKER, "worker", "w1"), lab.sweep(), lab.outcome) == ("stopped", "gone", None)


def test_an_older_leader_is_refused(lab: Lab) -> None:
    assert lab.ask(HEAD, "probe", {}, term=5)["ok"]
    answer = lab.ask(HEAD, "probe", {}, term=4)
    assert (answer["ok"], answer["kind"]) == (False, "refused")


def test_a_generation_that_ended_never_comes_back(lab: Lab) -> None:
    stop = {"cluster": "main", "role": "head", "node": "n1", "generation": 1, "graceSeconds": 5}
    assert lab.ask(HEAD, "stop", stop)["result"]["state"] == "stopping"
    # Long enough for its worker to give up, too.
    lab.machines.ray.advance(100)
    assert lab.state(HEAD, "head", "n1") == "stopped"
    with pytest.raises(AssertionError):
        lab.start(epoch=1)
    lab.start(epoch=2)
    assert lab.state(HEAD, "head", "n1") == "running"
