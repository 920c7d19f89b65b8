"""A job directory and the runners that are started for it."""

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reconciler.node import processes
from reconciler.node.attempt import MARK
from reconciler.remote.command import node_command
from tests.gateprogram import sha256_of
from tests.node.machine import NodeMachine, kill, until

# The same runner in a hurry: what it does every few seconds, or gives seconds to, takes moments.
_HASTY = """import sys
from pathlib import Path
from reconciler.node import pulse, runner
pulse.BEAT_SECONDS, runner._LEFTOVER_GRACE_SECONDS, runner._KILL_SECONDS = 0.05, 0.1, 0.3
sys.exit(runner.main(Path(sys.argv[2]), sys.argv[3]))
"""
# The same, except that it has all time for what is left, and looks about only when something happens.
_PATIENT = _HASTY.replace("= 0.05, 0.1, 0.3", "= 0.05, 60.0, 60.0\nrunner._POLL_SECONDS = 60.0")

# Ray's own way to a title, of whatever length: it is written over the arguments and the environment behind them.
_TITLED = """import os, time
if os.fork():
    time.sleep(1000)
from ray._raylet import setproctitle
setproctitle("train " + "x" * 100_000)
print(os.getpid(), "ready", flush=True)
time.sleep(1000)
"""
# Programs whose process, of which they tell the pid, bears no mark of its job any more.
HIDDEN = {
    # Where an import of Ray replaces this variable, the title would end before it, and not reach the mark.
    "set its title": ["env", "-u", "RAY_CLIENT_MODE", sys.executable, "-c", _TITLED],
    "cleaned its environment": ["sh", "-c", "env -i sleep 1000 & echo $! ready; wait"],
}


@dataclass
class Job:
    """One job directory and the runners that were started for it."""

    folder: Path
    program: Path
    runners: list[subprocess.Popen[bytes]] = field(default_factory=list)
    digest: str = ""

    def write(self, argv: list[str], **change: Any) -> None:
        """Describe the attempt."""
        (self.folder / "config").mkdir(parents=True, exist_ok=True)
        signers = self.folder.parent / "allowed_signers"
        document = {
            "protocol": 1,
            "submissionId": self.folder.name,
            "cluster": "main",
            "epoch": 3,
            "argv": argv,
            "workingDir": None,
            "env": {},
            "graceSeconds": 5,
            "attemptLimitSeconds": None,
            "headFile": str(self.folder.parent / "head.json"),
            "allowedSigners": signers.read_text() if signers.exists() else "",
            "signer": "rayops",
        }
        data = json.dumps({**document, **change}).encode()
        (self.folder / "config" / "attempt.json").write_bytes(data)
        self.digest = hashlib.sha256(data).hexdigest()

    def start(
        self, stdout: int = subprocess.DEVNULL, command: tuple[str, ...] = (), **env: str
    ) -> subprocess.Popen[bytes]:
        """Start a runner."""
        runner = subprocess.Popen(
            command or self.command,
            stdout=stdout,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **env},
        )
        self.runners.append(runner)
        return runner

    def run(self, argv: list[str], **change: Any) -> int:
        """Run an attempt to its end."""
        self.write(argv, **change)
        return self.start().wait(30)

    @property
    def command(self) -> tuple[str, ...]:
        """How a runner is started."""
        sha256 = sha256_of(self.program)
        return node_command(sys.executable, str(self.program), sha256, "run", str(self.folder), self.digest)

    @property
    def hasty_command(self) -> tuple[str, ...]:
        """How a runner is started that does not take its time."""
        return (sys.executable, "-c", _HASTY, "run", str(self.folder), self.digest)

    @property
    def patient_command(self) -> tuple[str, ...]:
        """How a runner is started that looks at its head hastily and gives all else as long as it takes."""
        return (sys.executable, "-c", _PATIENT, "run", str(self.folder), self.digest)

    @property
    def helpless_command(self) -> tuple[str, ...]:
        """How a hasty runner is started by root without the right to signal what another user owns."""
        return ("setpriv", "--bounding-set", "-kill", *self.hasty_command)

    @property
    def poor_command(self) -> tuple[str, ...]:
        """How a runner is started that has too few open files left to start anything."""
        return ("prlimit", "--nofile=6", *self.command)

    @property
    def result(self) -> dict[str, Any]:
        """How it ended."""
        document: dict[str, Any] = json.loads((self.folder / "result.json").read_text())
        return document

    @property
    def log(self) -> str:
        """What the program wrote."""
        path = self.folder / "logs" / "driver.log"
        return path.read_text() if path.exists() else ""

    def living(self) -> list[processes.Process]:
        """Return what carries the job's mark."""
        return processes.marks(MARK, processes.table()).get(str(self.folder), [])

    def wait_for_beats(self, count: int) -> None:
        """Wait until the runner has beaten so often again, and looked at its head file after each but the last."""
        path = self.folder / "heartbeat.json"
        until(path.exists, bool)
        seen = {path.stat().st_mtime_ns}
        while len(seen) <= count:
            seen.add(until(lambda: path.stat().st_mtime_ns, lambda beat: beat not in seen))

    def wait_for_log(self, text: str) -> None:
        """Wait until the program has written something."""
        until(lambda: self.log, lambda log: text in log)

    def close(self) -> None:
        """Kill what is left."""
        for runner in self.runners:
            runner.kill()
            runner.wait()
        for process in self.living():
            kill(process.pid)


def sweep(machine: NodeMachine, job: Job, *, end: bool = False) -> str:
    """Ask a machine what is left of an attempt, and to end it."""
    args = {"jobDir": str(job.folder), "submissionId": job.folder.name, "kill": end}
    state: str = machine.result("sweep", args)["state"]
    return state
