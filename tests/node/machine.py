"""A machine for tests: the real node program as a child process, its own folder, and a pretended Ray."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from reconciler.node.raystart import temporary_folder
from reconciler.node.slots import Look, Seen, Slot, all_slots
from reconciler.remote.command import GateCommand
from reconciler.remote.program import build
from tests.gateprogram import sha256_of

T = TypeVar("T")

SITE = "c0ffee"
TOKEN = "canary-0123456789abcdef"

# Stands where a cluster's Python is: answers for the version, and starts programs with the names of Ray's own.
_PRETENDED = """#!/bin/sh
here=$(dirname "$0")
if [ "$1" = -c ]; then echo "${PRETEND_VERSION-2.60.0}"; exit "${PRETEND_CODE-0}"; fi
echo "starting with token $(cat "$RAY_AUTH_TOKEN_PATH")"
echo "$*" > "$here/arguments"
env > "$here/environment"
case "${PRETEND-ok}" in hangs) sleep 1000;; esac
case "$*" in *--head*) "$here/gcs_server" 1000 & until grep -q gcs_server "/proc/$!/comm"; do :; done;; esac
case "${PRETEND-ok}" in half) echo "no raylet came up"; exit 1;; esac
"$here/raylet" 1000 &
until grep -q raylet "/proc/$!/comm"; do :; done
case "${PRETEND-ok}" in stubborn) (setsid sh -c 'trap "" TERM; while :; do sleep 1; done' &) ;; esac
case "${PRETEND-ok}" in unmarked) env -i /bin/sleep 1000 & ;; esac
exit 0
"""


@dataclass
class NodeMachine:
    """One machine with its gate. `close` kills what its slots still run."""

    home: Path
    program: Path = field(init=False)

    def __post_init__(self) -> None:
        built = build()
        self.program = self.home / built.name
        self.program.write_bytes(built.data)
        self.node_dir = self.home / "node"
        self.pretended = self.home / "ray" / "python3"
        self.pretended.parent.mkdir()
        self.pretended.write_text(_PRETENDED)
        self.pretended.chmod(0o755)
        for name in ("raylet", "gcs_server"):
            (self.home / "ray" / name).symlink_to("/bin/sleep")

    def send(self, request: bytes, python: str = sys.executable) -> dict[str, Any]:
        """Send raw bytes to the gate."""
        command = GateCommand(str(self.program), sha256_of(self.program), python)
        done = subprocess.run(command.argv(), input=request, capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stderr == b""
        answer: dict[str, Any] = json.loads(done.stdout)
        assert TOKEN not in done.stdout.decode()
        return answer

    def call(self, verb: str, args: dict[str, Any], **request: Any) -> dict[str, Any]:
        """Send one well-formed request."""
        whole = {"protocol": 1, "verb": verb, "site": SITE, "term": 1, "nodeDir": str(self.node_dir), "args": args}
        return self.send(json.dumps({**whole, **request}).encode())

    def result(self, verb: str, args: dict[str, Any], **request: Any) -> dict[str, Any]:
        """Send one request that must succeed."""
        answer = self.call(verb, args, **request)
        assert answer["ok"], answer
        result: dict[str, Any] = answer["result"]
        return result

    def start_head(self, epoch: int = 1, **args: Any) -> dict[str, Any]:
        """Ask for the head of cluster `main`."""
        return self.call("start-head", {**self.order(epoch), "ports": ports(), **args})

    def start_worker(self, epoch: int = 1, node: str = "w1", **args: Any) -> dict[str, Any]:
        """Ask for a worker of cluster `main`."""
        offered: dict[str, Any] = {"cpus": 4, "gpus": 4, "memoryBytes": None, "custom": {}}
        order = {**self.order(epoch), "node": node, "headAddress": "127.0.0.1:1", "resources": offered}
        order |= {"generation": epoch}
        return self.call("start-worker", {**order, **args})

    def order(self, epoch: int) -> dict[str, Any]:
        """Return what both start verbs ask for."""
        return {
            "cluster": "main",
            "node": "n1",
            "epoch": epoch,
            "token": TOKEN,
            "python": str(self.pretended),
            "rayVersion": "2.60.0",
            "address": "127.0.0.1",
            "labels": {},
            "env": {},
        }

    def stop(
        self, role: str = "head", node: str = "n1", grace: int = 5, generation: int = 9, cluster: str = "main"
    ) -> dict[str, Any]:
        """Ask a slot to stop, if it was not started later than the given generation."""
        return self.result("stop", {**names(role, node, generation, cluster), "graceSeconds": grace})

    def slot(self, role: str = "head", node: str = "n1", cluster: str = "main") -> Slot:
        """Return a slot."""
        return Slot(cluster, role, node, self.node_dir / SITE)

    def seen(self, role: str = "head", node: str = "n1", cluster: str = "main") -> Seen:
        """Look at a slot from outside."""
        return Look().at(self.slot(role, node, cluster))

    def until(
        self, state: str, role: str = "head", node: str = "n1", cluster: str = "main", limit: float = 20
    ) -> Seen:
        """Wait until a slot is in a state; where it is dead, also until its keeper has ended."""
        dead = state in {"failed", "stopped"}
        return until(
            lambda: self.seen(role, node, cluster),
            lambda seen: seen.state == state and not (dead and seen.living),
            limit,
        )

    def close(self) -> None:
        """Kill what the slots still run."""
        for slot in all_slots(self.node_dir / SITE):
            while living := Look().at(slot).living:
                for process in living:
                    kill(process.pid)
                time.sleep(0.02)
            shutil.rmtree(temporary_folder(slot.folder, os.getuid()), ignore_errors=True)


def names(role: str = "head", node: str = "n1", generation: int = 9, cluster: str = "main") -> dict[str, Any]:
    """Return how `stop` and `clean` name a slot."""
    return {"cluster": cluster, "role": role, "node": node, "generation": generation}


def until(look: Callable[[], T], fits: Callable[[T], bool], limit: float = 20) -> T:
    """Look again and again until what is seen fits."""
    deadline = time.monotonic() + limit
    while not fits(seen := look()):
        assert time.monotonic() < deadline, f"still {seen} after {limit} s"
        time.sleep(0.05)
    return seen


def kill(pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Signal a process of a test."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def ports() -> dict[str, int]:
    """Return ports of a head for orders that nothing real is started with."""
    return {"gcs": 6379, "dashboard": 8265, "client": 10001}


@contextmanager
def node_machine(home: Path) -> Iterator[NodeMachine]:
    """Run a machine and leave no process of it behind."""
    machine = NodeMachine(home)
    try:
        yield machine
    finally:
        machine.close()
