"""One machine to experiment on: the fake one, or the real node program with a pretended Ray. Tests do not know."""

import hashlib
import json
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from signal import SIGKILL
from typing import Any, Protocol

from reconciler.model.machine import Machine
from reconciler.model.ray import HeadAddress, Submission
from reconciler.node.processes import Process
from tests.fakes.files import FakeFiles
from tests.fakes.job_runner import ROOT, Run
from tests.fakes.machine import Machines
from tests.fakes.ray_world import Head, Job
from tests.fakes.signer import FakeSigner
from tests.fakes.slot import Slot
from tests.node.jobs import Job as RealJob
from tests.node.machine import SITE, TOKEN, NodeMachine, kill, names, ports
from tests.node.signed import HeadKey

ID = "rl.ppo-0a1b2c3d-1"
NO_DIGEST = "0" * 64
NODES = {"head": "n1", "worker": "w1"}
# Runs SECONDS and ends with CODE; asked to end, it takes STOP_SECONDS for it.
_WORK = """#!/bin/sh
trap 'sleep "$3"; exit 143' TERM
sleep "$1" & wait $!
exit "$2"
"""


class MachineLab(Protocol):
    """A machine with a gate, the slots of one cluster on it, and one job attempt."""

    def ask(self, verb: str, args: dict[str, Any], term: int = 1, role: str = "worker") -> dict[str, Any]: ...
    def start(self, role: str, generation: int = 1, **change: Any) -> dict[str, Any]: ...
    def wait(self, seconds: float) -> None: ...
    def kill_ray(self, role: str) -> None: ...
    def kill_keeper(self, role: str) -> None: ...

    def describe(self, seconds: float = 1000, code: int = 0, stop: float = 0.0, **change: Any) -> None: ...
    def run(self) -> None: ...
    def runs(self) -> bool: ...
    def code(self) -> int | None: ...
    def ask_to_end(self) -> None: ...
    def kill_runner(self) -> None: ...
    def kill_program(self) -> None: ...
    def exhaust(self) -> None: ...
    def publish(self, epoch: int, *, signed: bool = True) -> None: ...
    def write(self, name: str, document: dict[str, Any]) -> None: ...
    def read(self, name: str) -> dict[str, Any] | None: ...
    def restart_machine(self) -> None: ...
    def close(self) -> None: ...


def until(lab: MachineLab, done: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait until something is so."""
    passed = 0.0
    while not done():
        assert passed < seconds, "it did not happen in time"
        lab.wait(0.1)
        passed += 0.1


def state(lab: MachineLab, role: str) -> str:
    """Return what a probe tells of a slot."""
    args = {"slots": [{"cluster": "main", "role": role, "node": NODES[role]}]}
    slots: list[dict[str, str]] = lab.ask("probe", args, role=role)["result"]["slots"]
    return slots[0]["state"]


def becomes(lab: MachineLab, role: str, wanted: str) -> None:
    """Wait until a slot is in a state."""
    until(lab, lambda: state(lab, role) == wanted)


def stop(lab: MachineLab, role: str, generation: int = 9) -> dict[str, Any]:
    """Ask a slot to stop, if it was not started later than the given generation."""
    return lab.ask("stop", {**names(role, NODES[role], generation), "graceSeconds": 5}, role=role)


def sweep(lab: MachineLab, *, end: bool = False) -> str:
    """Return what a sweep finds of the attempt."""
    job_dir = lab.folder if isinstance(lab, RealMachineLab) else f"{ROOT}/jobs/{ID}"
    found: str = lab.ask("sweep", {"jobDir": str(job_dir), "submissionId": ID, "kill": end})["result"]["state"]
    return found


def _order(role: str, generation: int) -> dict[str, Any]:
    order: dict[str, Any] = {"cluster": "main", "node": NODES[role], "epoch": generation, "token": TOKEN}
    order |= {"rayVersion": "2.60.0", "labels": {}, "env": {}}
    if role == "head":
        return {**order, "ports": ports()}
    offered: dict[str, Any] = {"cpus": 4, "gpus": 4, "memoryBytes": None, "custom": {}}
    return {**order, "generation": generation, "resources": offered}


def _task(work: str, seconds: float, code: int, stop_seconds: float) -> dict[str, Any]:
    argv = [work, str(seconds), str(code), str(stop_seconds)]
    return {"submissionId": ID, "argv": argv, "epoch": 3, "graceSeconds": 2, "attemptLimitSeconds": None}


class FakeMachineLab:
    """Two fake machines, so that head and worker are apart; time passes only when a test waits."""

    def __init__(self) -> None:
        self.shared = FakeFiles()
        self.machines = Machines(self.shared)
        self.places = {"head": Machine("10.0.0.1", "ray"), "worker": Machine("10.0.0.2", "ray")}
        for machine in self.places.values():
            self.machines.add(machine)
        self._folder = f"jobs/{ID}"
        self._digest = NO_DIGEST

    def ask(self, verb: str, args: dict[str, Any], term: int = 1, role: str = "worker") -> dict[str, Any]:
        request = {"protocol": 1, "verb": verb, "site": SITE, "term": term, "nodeDir": "~/.rayops", "args": args}
        return dict(self.machines.answer(self.places[role], request))

    def start(self, role: str, generation: int = 1, **change: Any) -> dict[str, Any]:
        order = {**_order(role, generation), "python": "python3", "address": self.places[role].host}
        if role == "worker":
            silent = change.pop("silent_head", False)
            order["headAddress"] = f"{self.places['head'].host}:{1 if silent else ports()['gcs']}"
        return self.ask(f"start-{role}", {**order, **change}, role=role)

    def wait(self, seconds: float) -> None:
        self.machines.ray.advance(seconds)

    def kill_ray(self, role: str) -> None:
        self.machines.kill_ray(self._slot(role))

    def kill_keeper(self, role: str) -> None:
        self.machines.kill_keeper(self._slot(role))

    def describe(self, seconds: float = 1000, code: int = 0, stop: float = 0.0, **change: Any) -> None:
        task = {**_task("work", seconds, code, stop), "env": {"RAYOPS_NODES": "w1"}, **change}
        task |= {"headFile": f"{ROOT}/head.json", "allowedSigners": FakeSigner().allowed_signers()}
        self.write("config/attempt", task)
        self._digest = hashlib.sha256(
            self.shared.read_elsewhere(f"{self._folder}/config/attempt.json") or b""
        ).hexdigest()

    def run(self) -> None:
        for role in ("head", "worker"):
            if state(self, role) == "none":
                self.start(role)
                becomes(self, role, "running")
        self.kill_keeper("worker")  # nobody is above the runner on the other machine either
        # Ray forgets and is told again: the only way to a second runner.
        self._head.jobs.pop(ID, None)
        entrypoint = f"exec python3 -I /shared/node.pyz run {ROOT}/{self._folder} {self._digest}"
        self.machines.ray.submit(self._head, Submission(ID, entrypoint, {}, {}, {"rayops-node": "w1"}))
        self.wait(2)

    def runs(self) -> bool:
        return any(run.alive for run in self.machines.runners.runs)

    def code(self) -> int | None:
        return self._job.exit_code

    def ask_to_end(self) -> None:
        self.machines.runners.terminate(self._run, 30)

    def kill_runner(self) -> None:
        self.machines.runners.kill_alone(self._run)

    def kill_program(self) -> None:
        self.machines.runners.crash(self._run)

    def exhaust(self) -> None:
        """Let the machine of the worker lack what it needs to start another program."""
        self.machines.runners.exhausted.add(self.places["worker"].host)

    def publish(self, epoch: int, *, signed: bool = True) -> None:
        payload = json.dumps({"cluster": "main", "epoch": epoch})
        signature = FakeSigner().sign(payload.encode() if signed else b"another text")
        self.shared.write("head.json", json.dumps({"payload": payload, "signature": signature}).encode())

    def write(self, name: str, document: dict[str, Any]) -> None:
        self.shared.write(f"{self._folder}/{name}.json", json.dumps({"cluster": "main", **document}).encode())

    def read(self, name: str) -> dict[str, Any] | None:
        data = self.shared.read_elsewhere(f"{self._folder}/{name}.json")
        return None if data is None else dict(json.loads(data))

    def restart_machine(self) -> None:
        self.machines.reboot(self.machines.all[self.places["worker"]])

    def close(self) -> None:
        pass

    def _slot(self, role: str) -> Slot:
        return next(slot for _, slot in self.machines.slots() if slot.role == role)

    @property
    def _head(self) -> Head:
        gcs, dashboard, client = ports().values()
        found = self.machines.ray.head_at(HeadAddress("main", "10.0.0.1", gcs, dashboard, client))
        assert found is not None
        return found

    @property
    def _job(self) -> Job:
        return self._head.jobs[ID]

    @property
    def _run(self) -> Run:
        return self.machines.runners.runs[-1]


class RealMachineLab:
    """The node program on this machine; a worker's head is a socket that answers."""

    def __init__(self, home: Path) -> None:
        self.machine = NodeMachine(home)
        self.folder = home / "jobs" / ID
        (self.folder / "config").mkdir(parents=True)
        self.work = home / "work"
        self.work.write_text(_WORK)
        self.work.chmod(0o755)
        self._job = RealJob(self.folder, self.machine.program)
        self._key = HeadKey(self.folder.parent)
        self._head = socket.create_server(("127.0.0.2", 0))
        self._exhausted = False

    def ask(self, verb: str, args: dict[str, Any], term: int = 1, role: str = "worker") -> dict[str, Any]:
        return self.machine.call(verb, args, term=term)

    def start(self, role: str, generation: int = 1, **change: Any) -> dict[str, Any]:
        order = {**_order(role, generation), "python": str(self.machine.pretended), "address": "127.0.0.1"}
        if role == "worker":
            port = 1 if change.pop("silent_head", False) else self._head.getsockname()[1]
            order["headAddress"] = f"127.0.0.1:{port}" if port == 1 else f"127.0.0.2:{port}"
        return self.machine.call(f"start-{role}", {**order, **change})

    def wait(self, seconds: float) -> None:
        time.sleep(seconds)

    def kill_ray(self, role: str) -> None:
        record = self.machine.seen(role, NODES[role]).record
        assert record is not None
        kill(record.core["raylet"].pid)

    def kill_keeper(self, role: str) -> None:
        record = self.machine.seen(role, NODES[role]).record
        assert record is not None
        assert record.keeper is not None
        kill(record.keeper.pid)

    def describe(self, seconds: float = 1000, code: int = 0, stop: float = 0.0, **change: Any) -> None:
        task = {**_task(str(self.work), seconds, code, stop), **change}
        self._job.write(task.pop("argv"), **task)

    def run(self) -> None:
        """Start a runner, and return once its program runs or it has ended."""
        self._job.start(command=self._job.poor_command if self._exhausted else ())
        until(self, lambda: self.code() is not None or bool(self._programs()))

    def runs(self) -> bool:
        return bool(self._job.living())

    def code(self) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            return self._job.runners[-1].wait(0.05)
        return None

    def ask_to_end(self) -> None:
        self._job.runners[-1].terminate()

    def kill_runner(self) -> None:
        self._job.runners[-1].kill()

    def kill_program(self) -> None:
        for process in self._programs():
            kill(process.pid, SIGKILL)

    def exhaust(self) -> None:
        self._exhausted = True

    def _programs(self) -> list[Process]:
        """Return what lives of the attempt besides its runners."""
        runners = {runner.pid for runner in self._job.runners}
        return [process for process in self._job.living() if process.pid not in runners]

    def publish(self, epoch: int, *, signed: bool = True) -> None:
        self._key.publish(signed=signed, epoch=epoch)

    def write(self, name: str, document: dict[str, Any]) -> None:
        (self.folder / f"{name}.json").write_text(json.dumps(document))

    def read(self, name: str) -> dict[str, Any] | None:
        path = self.folder / f"{name}.json"
        return dict(json.loads(path.read_text())) if path.exists() else None

    def restart_machine(self) -> None:
        """Let the attempt have begun in an earlier boot of this machine, and end what runs."""
        self._job.close()
        claim = self.read("claim")
        assert claim is not None
        self.write("claim", {**claim, "bootId": "b0.1"})
        known = self.machine.node_dir / SITE / ".boots"
        self.machine.result("probe", {})  # makes the site's folder
        known.mkdir(mode=0o700, exist_ok=True)
        (known / "b0.1").touch()

    def close(self) -> None:
        self._job.close()
        self.machine.close()
        self._head.close()
