"""An installation whose daemon dies and whose disks fail, and what really happened on it, seen past the daemon."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

from reconciler.clock import SystemClock
from reconciler.model.ray import HeadAddress, HeadSeen
from reconciler.model.sighting import Present
from reconciler.node import processes
from reconciler.node.raystart import SLOT_MARK, temporary_folder
from reconciler.remote.ray_client import RayClient
from tests.e2e.installation import PATIENCE_SECONDS, Installation, Json, Node

REACHED = re.compile(r"fail point reached point=(\S+)")
NODES = ("node-1", "node-2")
# Drains in these stories take all nodes, one after the other.
SITE = "apiVersion: rayops/v1\nkind: Site\nmetadata: {name: site}\nspec: {brakes: {maxDrainPercent: 100}}\n"


class Mortal(Installation):
    """One site with one cluster; `left` are the fail points at which its daemon still is to die.

    Its state, shared and status directories may be file systems of their own.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self.left: list[str] = []
        self.status = self.home / "status"
        self.state = self.home / "state"
        self.log = self.home / "daemon.log"
        self.runs_file = self.home / "runs"
        self._read = 0
        for folder in (self.status, self.state):
            folder.mkdir(mode=0o700)
        settings = self.home / "rayops.toml"
        text = settings.read_text().replace("[paths]\n", f'[paths]\nstatus = "{self.status}"\n')
        # What a dead daemon may or may not have asked for is asked for again soon.
        settings.write_text(text.replace("[tuning]\n", '[tuning]\nstop_repeat = "2s"\n'))

    # What people do

    def commit(self, message: str, files: Mapping[str, str | None]) -> str:
        """Commit. Nobody tells the daemon, which may be dead: it watches the repo."""
        daemon, self.daemon = self.daemon, None
        try:
            return super().commit(message, files)
        finally:
            self.daemon = daemon

    def pool(self, *nodes: str, drain: tuple[str, ...] = ()) -> dict[str, str]:
        """Return the file of the pool with these nodes."""
        text = self.base(Node("head-1"), [Node(name) for name in nodes])["nodepools/gpu.yaml"]
        drains = "".join(f"    - {{node: {name}}}\n" for name in drain)
        return {"nodepools/gpu.yaml": text + (f"  drain:\n{drains}" if drains else "")}

    def describe(self) -> None:
        """Commit the site with its cluster and pool, as it is when nothing happens to it."""
        self.commit(
            "Describe the site",
            {**self.base(Node("head-1"), []), **self.pool(*NODES), "site.yaml": SITE},
        )

    def up(self) -> None:
        """Have the whole site in service, whatever was done to it before."""
        self.describe()
        if self.daemon is None:
            self.start()
        self.wait_for("cluster/main", "Ready")
        self.wait_for("nodepool/gpu", "Ready")

    def down(self) -> None:
        """Have no cluster."""
        if self.object("cluster/main") is not None:
            self.take_down()
            self.wait_gone("cluster/main")

    def take_down(self) -> None:
        """Commit that cluster and pool are gone."""
        self.commit("Take it down", {"clusters/main.yaml": None, "nodepools/gpu.yaml": None})

    # Lives and deaths

    def doom(self, *points: str) -> None:
        """Let the daemon die at each of these points from now on; it is killed at once, so that it takes them."""
        assert not self.left, f"not reached: {self.left}\n{self.trail()}"
        self.left = list(points)
        if self.daemon is not None:
            self.stop(signal.SIGKILL)
        self.revive()

    def revive(self) -> None:
        """Start the daemon with the points that are left."""
        self.start({"RAYOPS_FAIL_POINTS": ",".join(f"kill@{point}" for point in self.left)})

    def died(self) -> bool:
        """Say whether the daemon has died, and count the point; any end that was not planned is a failure."""
        if self.daemon is None or (code := self.daemon.poll()) is None:
            return False
        assert code == -signal.SIGKILL, f"the daemon ended with {code}\n{self.trail()}"
        self.daemon = None
        self.left.remove(REACHED.findall(self.log.read_text())[-1])
        self.nothing_is_torn()
        return True

    def wait(self, holds: Callable[[], object], what: str, *, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until something holds, through any number of deaths."""
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, f"{what}: not in {seconds} s; left: {self.left}\n{self.trail()}"
            if self.died():
                self.revive()
            time.sleep(0.05)

    def wait_all_hit(self) -> None:
        """Wait until the daemon has died at every point that is left, and lives again."""
        self.wait(lambda: not self.left, "the daemon dies at all points")

    def wait_death(self) -> None:
        """Wait until the daemon dies, and leave it dead."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self.died():
            assert time.monotonic() < deadline, f"it lives; left: {self.left}\n{self.trail()}"
            time.sleep(0.05)

    def wait_awake(self) -> None:
        """Wait until this very daemon has looked: right after its start it knows what is written down."""
        self.wait(self._beats, "the daemon lives")
        self.wait_for("cluster/main", "Ready")

    def _beats(self) -> bool:
        assert self.daemon is not None
        beat = self.object("heartbeat")
        return beat is not None and beat["pid"] == self.daemon.pid and beat["revision"] != ""

    # What people read

    def summary(self) -> Json:
        """Return the site on one page."""
        return self.object("summary") or {}

    def state_of(self, path: str) -> str:
        """Return the state that the status tells of the newest revision, or nothing."""
        if self.summary().get("revision") != self.git("rev-parse", "HEAD").strip():
            return ""
        return str((self.object(path) or {}).get("state", ""))

    def wait_for(self, path: str, state: str) -> None:
        """Wait until the status says so of the newest revision."""
        self.wait(lambda: self.state_of(path) == state, f"{path} is {state}")

    def wait_gone(self, path: str) -> None:
        """Wait until the status document is gone."""
        self.wait(lambda: self.object(path) is None, f"{path} is gone")

    def said(self) -> str:
        """Return what the daemon has logged since `hear_out`."""
        with self.log.open("rb") as file:
            file.seek(self._read)
            return file.read().decode(errors="replace")

    def hear_out(self) -> None:
        """Let what was logged so far be old."""
        self._read = self.log.stat().st_size

    def nothing_is_torn(self) -> None:
        """Check that everything that is written in one step reads as a whole."""
        for folder in (self.status, self.shared / ".rayops", self.shared / "jobs"):
            for path in folder.rglob("*.json"):
                with suppress(FileNotFoundError):  # removed or replaced while we look
                    json.loads(path.read_text())

    # What really happened

    def counted(self, name: str, script: str = "true", *, more: str = "") -> dict[str, str]:
        """Return the file of a job whose program first writes down that it runs."""
        return self.job(name, f'echo "$RAYOPS_SUBMISSION_ID" >> {self.runs_file}; {script}', more=more)

    def runs(self, name: str) -> Counter[str]:
        """Return how often the program of a job was really started, by number of the attempt."""
        text = self.runs_file.read_text() if self.runs_file.exists() else ""
        return Counter(re.findall(rf"^rl\.{name}-[0-9a-f]{{8}}-(\d+)$", text, re.MULTILINE))

    def wait_run(self, name: str, attempt: int = 1) -> None:
        """Wait until the program of a job really runs: Ray says so a moment before."""
        self.wait_for(f"job/rl/{name}", "Running")
        self.wait(lambda: self.runs(name)[str(attempt)], f"attempt {attempt} of {name} runs")

    def slot(self, role: str, node: str) -> Path:
        """Return the folder of a slot."""
        (found,) = (self.home / "node").glob(f"*/main/{role}-{node}")
        return found

    def processes_of(self, slot: Path) -> list[processes.Process]:
        """Return what lives in a slot."""
        return processes.marks(SLOT_MARK, processes.table()).get(str(slot), [])

    def sessions(self) -> int:
        """Return how many heads were ever started; Ray makes a folder for each."""
        folder = temporary_folder(self.slot("head", "head-1"), os.getuid())
        return len([each for each in folder.glob("session_2*") if not each.is_symlink()])

    def look(self) -> HeadSeen:
        """Return what the head says of itself."""
        token = (self.state / "tokens/main").read_text().strip()
        door, head = RayClient(SystemClock(), lambda _: token), HeadAddress("main", "127.0.0.1", *self.ports)
        try:
            deadline = time.monotonic() + PATIENCE_SECONDS
            while not isinstance(seen := door.look(head, (), timedelta(seconds=10)), Present):
                assert time.monotonic() < deadline, seen
            return seen.seen
        finally:
            door.close()

    def claimant(self, name: str) -> int:
        """Return the process that runs the newest attempt of a job."""
        newest = max((self.shared / "jobs").glob(f"rl.{name}-*/claim.json"), key=lambda path: path.stat().st_mtime)
        return int(json.loads(newest.read_text())["pid"])

    def lives(self, pid: int) -> bool:
        """Say whether a process lives."""
        row = processes.row(pid)
        return row is not None and row.living

    @contextmanager
    def paused_keeper(self, node: str) -> Iterator[None]:
        """Keep the keeper of a node from doing anything."""
        pid = json.loads((self.slot("worker", node) / "state.json").read_text())["keeper"]["pid"]
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def close(self) -> None:
        """End and remove everything, and what Ray left in its own folders."""
        folders = [temporary_folder(each, os.getuid()) for each in (self.home / "node").glob("*/*/*-*")]
        if self.daemon is not None:
            self.daemon.send_signal(signal.SIGCONT)
        super().close()
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)


def may_mount() -> str:
    """Return why no file systems can be mounted here, or nothing."""
    if os.geteuid() != 0:
        return "mounting needs root"
    probe = subprocess.run(
        ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"], check=False, capture_output=True
    )
    return "" if probe.returncode == 0 else "this container may not mount"


@contextmanager
def mortal() -> Iterator[Mortal]:
    """Make a site whose directories are file systems of their own, if that can be; take all of it away again."""
    made, mounted = Mortal(), []
    try:
        if not may_mount():
            for folder, size in ((made.state, "32m"), (made.shared, "64m"), (made.status, "8m")):
                mount("-t", "tmpfs", "-o", f"size={size},nr_inodes=4k,mode=0755", "rayops-test", folder)
                mounted.append(folder)
        yield made
    finally:
        made.close()
        for folder in mounted:
            subprocess.run(["umount", "--lazy", folder], check=True)
        shutil.rmtree(made.home, ignore_errors=True)


def mount(*words: "str | Path") -> None:
    """Mount something."""
    subprocess.run(["mount", *words], check=True)
