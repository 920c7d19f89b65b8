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
from reconciler.remote.tokens import Tokens
from tests.benchmarks.figures import Figure, compared, seconds
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
        self._folders = place.shared / "jobs"
        self._url = f"http://127.0.0.1:{place.ports[1]}/api/jobs/"

    def wait_for(self, submission_id: str) -> None:
        """Return once Ray knows a job; it is not asked before the job's files are there, as that would slow it."""
        ends = time.monotonic() + 60
        while not (self._folders / submission_id / "config/attempt.json").exists():
            assert time.monotonic() < ends, submission_id
            time.sleep(0.0005)
        while self._http.request("GET", self._url + submission_id, headers=self._headers).status != 200:
            assert time.monotonic() < ends, submission_id
            time.sleep(0.002)

    def submit(self, submission_id: str) -> None:
        """Hand a job to Ray."""
        body = {"submission_id": submission_id, "entrypoint": "exec true"}
        assert self._http.request("POST", self._url, json=body, headers=self._headers).status == 200


def reaction(_: int, rounds: int) -> Iterator[Figure]:
    """Measure a small site with one node: what grows with the site is in the figures of whole passes."""
    with installation() as place:
        site = _started(place)
        pairs = [_round(site, number, lambda: _wake(place)) for number in range(3 * rounds)]
        name = "commit to accepted by Ray, woken by a signal"
        yield compared(name, 1.5, iter(pairs), "with intents and job files")


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
        pairs = [_round(site, number, lambda: None) for number in range(min(rounds, 5))]
        waits = [(took, interval + floor) for took, floor in pairs]
        name = "commit to accepted by Ray, by polling"
        yield compared(name, 1.0, iter(waits), f"floor: one interval of {interval:.0f} s, fetch and submit")


@dataclass
class _Site:
    """A site with one node, Ray's own interface to its head, and a mirror for floors."""

    place: Installation
    jobs: Jobs
    mirror: Path


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


def _round(site: _Site, number: int, wake: Callable[[], None]) -> tuple[float, float]:
    place = site.place
    files = place.job(f"try-{number}", "true")
    (loaded,) = load_tree({path: text.encode() for path, text in files.items()}).objects.values()
    (path, text), submission_id = files.popitem(), f"rl.try-{number}-{loaded.digest[:8]}-1"
    (place.repo / path).parent.mkdir(parents=True, exist_ok=True)
    (place.repo / path).write_text(text)
    place.git("add", "--all")
    tree = place.git("write-tree").strip()
    revision = place.git("commit-tree", tree, "-p", "HEAD", "-m", path).strip()

    def ours() -> None:
        (place.repo / ".git/refs/heads/main").write_text(f"{revision}\n")  # what a push does last
        wake()
        site.jobs.wait_for(submission_id)

    def floor() -> None:
        at = ("-C", str(site.mirror))
        git(*at, "fetch", "--quiet", "origin", f"+{FLOOR}:{FLOOR}")
        git(*at, "cat-file", "blob", f"{FLOOR}:{path}")
        site.jobs.submit(f"floor-{number}")

    git("-C", str(place.repo), "update-ref", FLOOR, revision)
    time.sleep(2)  # what the job before left to do is not part of this one
    # Whoever is first finds what git has just written on its way to the disk.
    if number % 2:
        least, took = seconds(floor), seconds(ours)
    else:
        took, least = seconds(ours), seconds(floor)
    place.until(f"job/rl/try-{number}", "Succeeded")
    return took, least
