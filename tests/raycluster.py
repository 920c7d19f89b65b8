"""A real Ray cluster on loopback for tests: token on, pretend GPUs, ended by pid and never by name."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.model.ray import HeadAddress

# Everything that Ray starts inherits this variable, whatever session or parent it ends up with.
MARK = "RAYOPS_TEST_CLUSTER"
# A head takes 7-9 s on a quiet machine and was seen to take 27 s on a busy one.
START_LIMIT_SECONDS = 90.0


def free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """Return ports that nobody listens on right now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind((host, 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


@dataclass
class RayCluster:
    """One head and its workers; `close` leaves no process and no file behind."""

    cluster: str = "main"
    env: Mapping[str, str] = field(default_factory=dict)
    token: str = field(default_factory=lambda: os.urandom(16).hex())
    home: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="rc", dir="/tmp")))
    head: HeadAddress = field(init=False)

    def __post_init__(self) -> None:
        # An address of its own per cluster: fixed ports of two clusters on one machine cannot meet.
        last = int.from_bytes(os.urandom(2), "big")
        self.ip = f"127.77.{last >> 8}.{last % 250 + 2}"
        gcs, dashboard, client = free_ports(3)
        self.head = HeadAddress(self.cluster, self.ip, gcs, dashboard, client)
        self.token_file = self.home / "token"
        self.token_file.write_text(self.token, encoding="ascii")
        self.token_file.chmod(0o600)

    def start_head(self, env: Mapping[str, str] | None = None) -> None:
        """Start the head and return once it accepts jobs. The same ports are used again after `kill_head`."""
        self._ray_start(
            "head",
            env or {},
            [
                "--head",
                "--num-cpus=0",
                "--num-gpus=0",
                f"--port={self.head.gcs_port}",
                f"--dashboard-host={self.ip}",
                f"--dashboard-port={self.head.dashboard_port}",
                f"--ray-client-server-port={self.head.client_port}",
                "--no-monitor",
                "--labels=rayops-node=head-01",
            ],
        )

    def start_worker(
        self, name: str, *, cpus: int = 4, gpus: int = 4, env: Mapping[str, str] | None = None
    ) -> None:
        """Start one worker with pretend GPUs; it is labelled as our node `name`."""
        self._ray_start(
            name,
            env or {},
            [
                f"--address={self.ip}:{self.head.gcs_port}",
                f"--num-cpus={cpus}",
                f"--num-gpus={gpus}",
                f"--labels=rayops-node={name}",
            ],
        )

    def pids(self, role: str, word: str = "") -> list[int]:
        """Return the living processes that `role` started and whose command line holds `word`."""
        mark = f"{MARK}={self.home}/{role}\0".encode()
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if mark in (folder / "environ").read_bytes() + b"\0" and word in (folder / "cmdline").read_text():
                    found.append(int(folder.name))
        return found

    def signal(self, role: str, number: signal.Signals, word: str = "") -> None:
        """Send a signal to the processes of one role."""
        for pid in self.pids(role, word):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self, role: str) -> None:
        """Kill all of one role at once, as a power cut does."""
        while self.pids(role):
            self.signal(role, signal.SIGKILL)
            time.sleep(0.02)

    def close(self) -> None:
        """Kill everything of this cluster and remove its files."""
        for role in self.roles():
            self.kill(role)
        shutil.rmtree(self.home, ignore_errors=True)

    def roles(self) -> list[str]:
        """Return the names of everything that was started."""
        return sorted(each.name for each in self.home.iterdir() if each.is_dir())

    def _ray_start(self, role: str, env: Mapping[str, str], arguments: list[str]) -> None:
        (self.home / role).mkdir(exist_ok=True)
        # A folder per life: Ray remembers its address there and refuses to start again while any raylet names it.
        temp = tempfile.mkdtemp(dir=self.home / role)
        agent, agent_rpc, metrics, runtime_env, dashboard_metrics = free_ports(5)
        command = [
            *(sys.executable, "-m", "ray.scripts.scripts", "start", *arguments),
            f"--node-ip-address={self.ip}",
            f"--temp-dir={temp}",
            f"--dashboard-agent-listen-port={agent}",
            f"--dashboard-agent-grpc-port={agent_rpc}",
            f"--metrics-export-port={metrics}",
            f"--runtime-env-agent-port={runtime_env}",
            *("--min-worker-port=0", "--max-worker-port=0", "--object-store-memory=100000000"),
            *("--include-log-monitor=false", "--disable-usage-stats"),
        ]
        clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        log = self.home / f"{role}.log"
        with log.open("wb") as out:
            done = subprocess.run(
                command,
                env={
                    **clean,
                    MARK: f"{self.home}/{role}",
                    "RAY_AUTH_MODE": "token",
                    "RAY_AUTH_TOKEN_PATH": str(self.token_file),
                    "DASHBOARD_METRIC_PORT": str(dashboard_metrics),
                    # Seconds instead of minutes until a killed raylet counts as dead.
                    "RAY_health_check_period_ms": "1000",
                    "RAY_health_check_timeout_ms": "2000",
                    "RAY_health_check_failure_threshold": "3",
                    "RAY_health_check_initial_delay_ms": "1000",
                    **self.env,
                    **env,
                },
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=self.home,
                timeout=START_LIMIT_SECONDS,
                check=False,
            )
        assert done.returncode == 0, log.read_text(errors="replace")[-2000:]


@contextmanager
def ray_cluster(*workers: str, env: Mapping[str, str] | None = None) -> Iterator[RayCluster]:
    """Run a head and the named workers, and end them by pid."""
    cluster = RayCluster()
    try:
        cluster.start_head(env)
        for name in workers:
            cluster.start_worker(name)
        yield cluster
    finally:
        cluster.close()
