"""A whole installation for tests: a repo, a shared directory, and the real daemon as its own process."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import ray

from reconciler.clock import SystemClock
from reconciler.model.machine import Machine
from reconciler.remote.command import GateCommand
from reconciler.remote.local import LocalGate
from tests.gateprogram import sha256_of
from tests.raycluster import free_ports

ROOT = Path(__file__).resolve().parents[2]
# A head takes 7-9 s on a quiet machine and was seen to take 27 s on a busy one.
PATIENCE_SECONDS = 120.0
GIT = ("-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false")

Json = dict[str, Any]


@dataclass
class Node:
    """A machine as the YAML names it."""

    name: str
    host: str = "127.0.0.1"
    user: str = "root"
    port: int = 22

    def yaml(self) -> str:
        """Return the entry of a head candidate or pool node."""
        return f"{{name: {self.name}, host: {self.host}, user: {self.user}, port: {self.port}}}"


@dataclass
class Installation:
    """One site on this machine. `machines` is the settings section that says how machines are reached.

    `more` are further settings by section; their values are TOML, and a value there replaces the usual one.
    """

    home: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="rayops-e2e-")))
    machines: Mapping[str, str] = field(default_factory=lambda: {"transport": '"local"'})
    more: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    daemon: "subprocess.Popen[bytes] | None" = None

    def __post_init__(self) -> None:
        self.repo, self.shared, self.status = (
            self.home / "desired",
            self.home / "shared",
            self.home / "shared/status",
        )
        self.shared.mkdir()
        self.ports = free_ports(3)
        self._git_at(self.home, "init", "--quiet", "--initial-branch", "main", str(self.repo))
        (self.home / "rayops.toml").write_text(self._settings())

    def _settings(self) -> str:
        usual: dict[str, Mapping[str, str]] = {
            "source": {"url": f'"{self.repo}"', "poll": '"30s"'},
            "paths": {"state": f'"{self.home}/state"', "shared": f'"{self.shared}"'},
            "machines": {"python": f'"{sys.executable}"', "node_dir": f'"{self.home}/node"', **self.machines},
            "daemon": {"resync": '"1s"', "heartbeat": '"1s"'},
            "tuning": {"visibility": '"1s"', "head_silence": '"15s"', "backoff_base": '"1s"'},
        }
        sections = {name: {**usual.get(name, {}), **self.more.get(name, {})} for name in {**usual, **self.more}}
        return "".join(
            f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in values.items()) + "\n"
            for name, values in sections.items()
        )

    # What people do

    def commit(self, message: str, files: Mapping[str, str | None]) -> str:
        """Write (or, with None, remove) files, commit, wake the daemon; return the revision."""
        for name, text in files.items():
            path = self.repo / name
            if text is None:
                path.unlink()
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        if self.daemon is not None:
            self.rayops("sync")
        return self.git("rev-parse", "HEAD").strip()

    def git(self, *words: str) -> str:
        """Run git in the repo."""
        return self._git_at(self.repo, *words)

    def rayops(self, *words: str, code: int | None = 0, timeout: float = 150) -> str:
        """Run the command line and return what it prints; `code` is the exit code that must come."""
        done = subprocess.run(
            [sys.executable, "-m", "reconciler", "--config", str(self.home / "rayops.toml"), *words],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )
        assert code is None or done.returncode == code, (
            f"rayops {words}: {done.returncode}\n{done.stdout}{done.stderr}"
        )
        return done.stdout + done.stderr

    # What the operator does

    def start(self, env: Mapping[str, str] | None = None) -> None:
        """Start the daemon."""
        log = (self.home / "daemon.log").open("ab")
        self.daemon = subprocess.Popen(
            [sys.executable, "-m", "reconciler", "--config", str(self.home / "rayops.toml"), "run"],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, **(env or {})},
        )
        log.close()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End the daemon with a signal and return its exit code."""
        assert self.daemon is not None
        self.daemon.send_signal(number)
        code = self.daemon.wait(timeout=30)
        self.daemon = None
        return code

    # What people read

    def object(self, path: str) -> Json | None:
        """Return a status document, None while there is none."""
        try:
            found: Json = json.loads((self.status / f"{path}.json").read_text())
        except FileNotFoundError:
            return None
        return found

    def until(self, path: str, state: str, *, seconds: float = PATIENCE_SECONDS) -> Json:
        """Wait until a status document has a state, and return it."""
        deadline = time.monotonic() + seconds
        while True:
            found = self.object(path)
            if found is not None and found["state"] == state:
                return found
            assert time.monotonic() < deadline, f"{path} is not {state}: {found}\n{self.trail()}"
            time.sleep(0.2)

    def until_gone(self, path: str, *, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until a status document is gone."""
        deadline = time.monotonic() + seconds
        while (found := self.object(path)) is not None:
            assert time.monotonic() < deadline, f"{path} is still there: {found}\n{self.trail()}"
            time.sleep(0.2)

    def until_file(self, path: Path, text: str, *, seconds: float = 60.0) -> None:
        """Wait until a file is there and holds a text."""
        deadline = time.monotonic() + seconds
        while not path.exists() or text not in path.read_text(errors="replace"):
            assert time.monotonic() < deadline, f"{path} does not hold {text!r}\n{self.trail()}"
            time.sleep(0.2)

    def is_calm(self, beats: int = 4) -> bool:
        """Say whether there are few passes from one heartbeat, one a second, to the next."""
        counted: list[int] = []
        deadline = time.monotonic() + PATIENCE_SECONDS
        while len(counted) <= beats:
            assert time.monotonic() < deadline, f"no heartbeat\n{self.trail()}"
            found = (self.object("heartbeat") or {}).get("pass", 0)
            if not counted or found != counted[-1]:
                counted.append(found)
            time.sleep(0.05)
        return bool(counted[-1] - counted[0] <= 5 * beats)

    def events(self, target: str = "") -> list[Json]:
        """Return the history, oldest first."""
        lines = [
            line for path in sorted(self.status.glob("history/*.jsonl")) for line in path.read_text().splitlines()
        ]
        events = []
        for line in lines:
            with suppress(json.JSONDecodeError):  # a full disk leaves half of a line, which readers pass over
                events.append(json.loads(line))
        return [event for event in events if not target or event["object"] == target]

    def trail(self) -> str:
        """Return what helps to understand a failure."""
        events = "\n".join(
            f"{e['at']} {e['object']} {e['type']} {e['reason']} {e['message']}" for e in self.events()
        )
        log = (self.home / "daemon.log").read_text(errors="replace") if (self.home / "daemon.log").exists() else ""
        return f"--- events\n{events[-6000:]}\n--- daemon\n{log[-4000:]}"

    # Documents

    def base(self, head: Node, nodes: list[Node], gpus: int = 4) -> dict[str, str]:
        """Return the files of a site with one cluster and one pool."""
        gcs, dashboard, client = self.ports
        listed = "".join(f"    - {node.yaml()}\n" for node in nodes)
        return {
            "site.yaml": "apiVersion: rayops/v1\nkind: Site\nmetadata: {name: site}\nspec: {}\n",
            "users/alice.yaml": "apiVersion: rayops/v1\nkind: User\nmetadata: {name: alice}\nspec: {}\n",
            "teams/rl/team.yaml": (
                "apiVersion: rayops/v1\nkind: Team\nmetadata: {name: rl}\nspec: {members: [alice]}\n"
            ),
            "clusters/main.yaml": (
                "apiVersion: rayops/v1\nkind: Cluster\nmetadata: {name: main}\nspec:\n"
                f"  ray: {{version: {ray.__version__}, python: {sys.executable}}}\n"
                f"  head:\n    candidates: [{head.yaml()}]\n"
                f"    ports: {{gcs: {gcs}, dashboard: {dashboard}, client: {client}}}\n"
            ),
            "nodepools/gpu.yaml": (
                "apiVersion: rayops/v1\nkind: NodePool\nmetadata: {name: gpu}\nspec:\n"
                f"  cluster: main\n  join: ssh\n  perNode: {{gpus: {gpus}, cpus: 2}}\n  nodes:\n{listed}"
            ),
        }

    def job(self, name: str, script: str, *, nodes: int = 1, more: str = "") -> dict[str, str]:
        """Return the file of a job that runs a shell script."""
        return {
            f"teams/rl/jobs/{name}.yaml": (
                f"apiVersion: rayops/v1\nkind: Job\nmetadata: {{name: {name}, team: rl}}\nspec:\n"
                f"  user: alice\n  pool: gpu\n  resources: {{nodes: {nodes}, gpusPerNode: 4}}\n"
                f"  workload: {{type: command, argv: [sh, -c, {json.dumps(script)}]}}\n{more}"
            )
        }

    def close(self) -> None:
        """End the daemon and every slot that it started on this machine, and remove all files."""
        if self.daemon is not None:
            self.daemon.kill()
            self.daemon.wait(timeout=30)
        self._stop_slots()
        shutil.rmtree(self.home, ignore_errors=True)

    def _stop_slots(self) -> None:
        """Let the gate end what it recorded: a test ends only what it started."""
        with suppress(FileNotFoundError, StopIteration):
            site = json.loads((self.shared / ".rayops/site.json").read_text())
            program = next(iter(sorted((self.shared / ".rayops/bin").glob("*.pyz"))))
            gate = LocalGate(GateCommand(str(program), sha256_of(program), sys.executable), SystemClock())
            for folder in sorted((self.home / "node").glob("*/*/*-*")):
                role, _, node = folder.name.partition("-")
                args = {"cluster": folder.parent.name, "role": role, "node": node, "graceSeconds": 0}
                # Whatever runs there.
                args |= {"generation": 1 << 53}
                request = {"protocol": 1, "verb": "stop", "site": site["site"], "term": site["term"] + 1}
                request |= {"nodeDir": str(self.home / "node"), "args": args}
                gate.call(Machine("127.0.0.1", "root"), request, timedelta(seconds=20))

    def _git_at(self, folder: Path, *words: str) -> str:
        done = subprocess.run(["git", "-C", str(folder), *GIT, *words], check=True, capture_output=True, text=True)
        return done.stdout


@contextmanager
def installation(
    machines: Mapping[str, str] | None = None, more: Mapping[str, Mapping[str, str]] | None = None
) -> Iterator[Installation]:
    """Make an installation, and end and remove all of it afterwards."""
    made = Installation(machines=machines or {"transport": '"local"'}, more=more or {})
    try:
        yield made
    finally:
        made.close()
