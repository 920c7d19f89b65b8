"""From a commit to a job that Ray has accepted: the daemon as its own process, woken by a signal."""

import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import urllib3

from reconciler.app.parts import ground
from reconciler.config import read_settings
from reconciler.desired.load import load_tree
from reconciler.model.ray import NODE_LABEL
from reconciler.remote.tokens import Tokens
from tests.benchmarks.figures import Figure, compared
from tests.benchmarks.site import git
from tests.e2e.installation import Installation, Node, installation
from tests.gitremote import http_server

# Where a floor finds a commit that the daemon is not told of.
FLOOR = "refs/floor/main"


class Jobs:
    """Ray's own interface to jobs, spoken plainly."""

    def __init__(self, place: Installation) -> None:
        token = Tokens(ground(read_settings(place.home / "rayops.toml")).state).of("main").reveal()
        self._http, self._headers = urllib3.PoolManager(), {"Authorization": f"Bearer {token}"}
        self._url = f"http://127.0.0.1:{place.ports[1]}/api/jobs/"

    def submit(self, submission_id: str) -> None:
        """Hand a job to Ray, in the same form as the daemon does."""
        body = {
            "submission_id": submission_id,
            "entrypoint": "exec true",
            "runtime_env": {"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": "45", "OMP_NUM_THREADS": "1"}},
            "metadata": {"team": "rl", "job": submission_id, "digest": "0" * 64, "attempt": "1"},
            "entrypoint_label_selector": {NODE_LABEL: "n1"},
        }
        assert self._http.request("POST", self._url, json=body, headers=self._headers).status == 200

    def accepted(self, submission_id: str) -> float:
        """Wait until Ray has a job, and return when it had accepted it, in seconds since 1970 by Ray's own clock.

        It is seldom asked, as it is slower to take a job while it answers.
        """
        return float(self._until(submission_id, "start_time")) / 1e3

    def ended(self, submission_id: str) -> None:
        """Wait until a job has ended."""
        self._until(submission_id, "end_time")

    def _until(self, submission_id: str, field: str) -> int:
        for _ in range(200):
            time.sleep(0.3)
            answer = self._http.request("GET", self._url + submission_id, headers=self._headers)
            if answer.status == 200 and (found := answer.json()[field]):
                return int(found)
        raise AssertionError(f"{submission_id} has no {field}")


def reaction(_: int, rounds: int) -> Iterator[Figure]:
    """Measure a small site with one node: what grows with the site is in the figures of whole passes."""
    with installation() as place:
        site = _started(place)
        times = [_round(site, number, lambda: _wake(place)) for number in range(3 * rounds)]
        name = "commit to accepted by Ray, woken by a signal"
        said = "floor: fetch, blob and submit"
        yield compared(name, 1.5, ((each.ours, each.floor) for each in times), said)
        said = "and until Ray has answered"
        yield compared(name, 1.5, ((each.ours + each.answer, each.floor) for each in times), said)


def polled(_: int, rounds: int) -> Iterator[Figure]:
    """Measure the same of a remote that nobody tells about, by the interval that is set for remotes by default."""
    with installation() as place, http_server(place.home) as server:
        settings = place.home / "rayops.toml"
        url = f"http://127.0.0.1:{server.server_address[1]}/{place.repo.name}/.git"
        text = settings.read_text().replace(
            f'url = "{place.repo}"\npoll = "30s"', f'url = "{url}"\nallow_http = true'
        )
        settings.write_text(text)
        interval = read_settings(settings).source.poll.total_seconds()
        site = _started(place)
        times = [_round(site, number, lambda: None) for number in range(min(rounds, 5))]
        waits = [(each.ours, interval + each.floor) for each in times]
        name = "commit to accepted by Ray, by polling"
        yield compared(name, 1.0, iter(waits), f"floor: one interval of {interval:.0f} s, fetch and submit")


@dataclass
class _Site:
    """A site with one node, Ray's own interface to its head, and a mirror for floors."""

    place: Installation
    jobs: Jobs
    mirror: Path


@dataclass(frozen=True, slots=True)
class _Times:
    """Seconds of one round: ours to Ray's acceptance, and the floor to Ray's answer, `answer` after acceptance."""

    ours: float
    floor: float
    answer: float


def _started(place: Installation) -> _Site:
    place.commit("site", place.base(Node("head-01"), [Node("n1")]))
    place.start()
    place.until("cluster/main", "Ready")
    place.until("nodepool/gpu", "Ready")
    mirror = place.home / "floor.git"
    git("clone", "--quiet", "--bare", str(place.repo), str(mirror))
    return _Site(place, Jobs(place), mirror)


def _wake(place: Installation) -> None:
    assert place.daemon is not None
    place.daemon.send_signal(signal.SIGUSR1)


def _round(site: _Site, number: int, wake: Callable[[], None]) -> _Times:
    place = site.place
    files = place.job(f"try-{number}", "true")
    (loaded,) = load_tree({path: text.encode() for path, text in files.items()}).objects.values()
    (path, text), submission_id = files.popitem(), f"rl.try-{number}-{loaded.digest[:8]}-1"
    (place.repo / path).parent.mkdir(parents=True, exist_ok=True)
    (place.repo / path).write_text(text)
    place.git("add", "--all")
    tree = place.git("write-tree").strip()
    revision = place.git("commit-tree", tree, "-p", "HEAD", "-m", path).strip()

    def ours() -> float:
        began = time.time()
        (place.repo / ".git/refs/heads/main").write_text(f"{revision}\n")  # what a push does last
        wake()
        took = site.jobs.accepted(submission_id) - began
        place.until(f"job/rl/try-{number}", "Succeeded")
        return took

    def floor() -> tuple[float, float]:
        at, began = ("-C", str(site.mirror)), time.time()
        git(*at, "fetch", "--quiet", "origin", f"+{FLOOR}:{FLOOR}")
        git(*at, "cat-file", "blob", f"{FLOOR}:{path}")
        site.jobs.submit(f"floor-{number}")
        answered = time.time()
        accepted = site.jobs.accepted(f"floor-{number}")
        site.jobs.ended(f"floor-{number}")
        return answered - began, answered - accepted

    git("-C", str(place.repo), "update-ref", FLOOR, revision)
    # What the job before left to do is not part of this one.
    time.sleep(2)
    first = ours() if number % 2 == 0 else None
    least, answer = floor()
    time.sleep(2)
    return _Times(first if first is not None else ours(), least, answer)
