"""One Ray cluster to experiment on: the fake one, or a real one on loopback. Tests do not know which."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from signal import SIGCONT, SIGKILL, SIGSTOP
from typing import Protocol

from reconciler.clock import SystemClock
from reconciler.model.ray import HeadAddress, HeadSeen, RayJob, RayNode, RayNodeState
from reconciler.model.sighting import Present
from reconciler.remote.ray import RayApi
from reconciler.remote.ray_client import RayClient
from tests.fakes.ray import FakeRay
from tests.fakes.ray_world import LONELY, RayWorld
from tests.raycluster import RayCluster

LIMIT = timedelta(seconds=15)
# How long a job may wait for a place before Ray gives it up; 15 minutes by default.
START_LIMIT = 20.0


class Lab(Protocol):
    """A cluster with one head and two workers, `w1` and `w2`, of 4 CPUs and 4 GPUs each."""

    ray: RayApi
    head: HeadAddress

    def with_token(self, token: str) -> RayApi: ...
    def wait(self, seconds: float) -> None: ...
    def now(self) -> float: ...
    def drivers(self, submission_id: str, word: str) -> int: ...
    def start_worker(self, name: str, lonely: float = LONELY) -> None: ...
    def raylets(self, name: str) -> int: ...
    def kill_worker(self, name: str) -> None: ...
    def freeze(self) -> None: ...
    def thaw(self) -> None: ...
    def kill_head(self) -> None: ...
    def start_head(self) -> None: ...
    def close(self) -> None: ...


def until(lab: Lab, done: Callable[[], bool], seconds: float = 40.0) -> None:
    """Wait until something is so."""
    passed = 0.0
    while not done():
        assert passed < seconds, "it did not happen in time"
        lab.wait(0.25)
        passed += 0.25


def seen(lab: Lab, *submission_ids: str) -> HeadSeen:
    """Look, and expect the head to be there."""
    sighting = lab.ray.look(lab.head, submission_ids, LIMIT)
    assert isinstance(sighting, Present), sighting
    return sighting.seen


def job(lab: Lab, submission_id: str) -> RayJob:
    """Return a job that Ray must know."""
    return seen(lab, submission_id).jobs[submission_id]


def node(lab: Lab, name: str) -> RayNode:
    """Return the living node that carries our name."""
    (found,) = [each for each in seen(lab).nodes if each.labels.get("rayops-node") == name]
    return found


def state(lab: Lab, node_id: str) -> RayNodeState:
    """Return what the head believes of a node that it must list."""
    (found,) = [each.state for each in seen(lab).nodes if each.node_id == node_id]
    return found


class FakeLab:
    """The fake cluster; time passes only when a test waits."""

    def __init__(self) -> None:
        self.world = RayWorld()
        self.head = HeadAddress("main", "10.0.0.1", 6379, 8265, 10001)
        self.ray: RayApi = self.with_token("token")
        self._head = self.world.start_head(self.head, start_limit=START_LIMIT)
        self._nodes = {name: self.world.start_worker(self._head, name) for name in ("w1", "w2")}

    def with_token(self, token: str) -> RayApi:
        return FakeRay(self.world, SystemClock(), lambda _cluster: token)

    def wait(self, seconds: float) -> None:
        self.world.advance(seconds)

    def now(self) -> float:
        return self.world.seconds

    def drivers(self, submission_id: str, word: str) -> int:
        return len(self.world.running(submission_id))

    def start_worker(self, name: str, lonely: float = LONELY) -> None:
        self._nodes[name] = self.world.start_worker(self._head, name, lonely=lonely)

    def raylets(self, name: str) -> int:
        return int(self._nodes[name].running)

    def kill_worker(self, name: str) -> None:
        self.world.kill_node(self._head, self._nodes[name])

    def freeze(self) -> None:
        self.world.freeze(self._head)

    def thaw(self) -> None:
        self.world.thaw(self._head)

    def kill_head(self) -> None:
        self.world.kill_head(self._head)

    def start_head(self) -> None:
        self._head = self.world.start_head(self.head)

    def close(self) -> None:
        pass


class RealLab:
    """A real cluster; time passes by itself."""

    def __init__(self, workers: Sequence[str] = ("w1", "w2"), env: Mapping[str, str] | None = None) -> None:
        self.cluster = RayCluster(env=env or {})
        self.head = self.cluster.head
        self._clients: list[RayClient] = []
        try:
            self.ray: RayApi = self.with_token(self.cluster.token)
            self.cluster.start_head({"RAY_JOB_START_TIMEOUT_SECONDS": str(START_LIMIT)})
            for name in workers:
                self.cluster.start_worker(name)
        except BaseException:
            self.close()
            raise

    def with_token(self, token: str) -> RayApi:
        self._clients.append(RayClient(SystemClock(), lambda _cluster: token))
        return self._clients[-1]

    def wait(self, seconds: float) -> None:
        time.sleep(seconds)

    def now(self) -> float:
        return time.monotonic()

    def drivers(self, submission_id: str, word: str) -> int:
        return sum(len(self.cluster.pids(role, word)) for role in self.cluster.roles())

    def start_worker(self, name: str, lonely: float = LONELY) -> None:
        # The variable's own default is LONELY.
        self.cluster.start_worker(name, env={"RAY_gcs_rpc_server_reconnect_timeout_s": str(int(lonely))})

    def raylets(self, name: str) -> int:
        return len(self.cluster.pids(name, "raylet/raylet"))

    def kill_worker(self, name: str) -> None:
        self.cluster.signal(name, SIGKILL, "raylet/raylet")

    def freeze(self) -> None:
        self.cluster.signal("head", SIGSTOP, "dashboard")

    def thaw(self) -> None:
        self.cluster.signal("head", SIGCONT, "dashboard")

    def kill_head(self) -> None:
        self.cluster.kill("head")

    def start_head(self) -> None:
        self.cluster.start_head()

    def close(self) -> None:
        for client in self._clients:
            client.close()
        with suppress(FileNotFoundError):
            self.cluster.close()
