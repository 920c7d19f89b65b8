"""From a commit to a job that Ray has accepted: the daemon as its own process, woken by a signal."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import urllib3

from reconciler.app.parts import ground
from reconciler.config import read_settings
from reconciler.desired.load import load_tree
from reconciler.remote.tokens import Tokens
from tests.benchmarks.figures import Figure, compared, seconds
from tests.benchmarks.site import git
from tests.e2e.installation import Installation, Node, installation


class Jobs:
    """Ray's own interface to jobs, spoken plainly."""

    def __init__(self, place: Installation) -> None:
        token = Tokens(ground(read_settings(place.home / "rayops.toml")).state).of("main").reveal()
        self._http, self._headers = urllib3.PoolManager(), {"Authorization": f"Bearer {token}"}
        self._url = f"http://127.0.0.1:{place.ports[1]}/api/jobs/"

    def wait_for(self, submission_id: str) -> None:
        """Return once Ray knows a job."""
        ends = time.monotonic() + 60
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
        place.commit("site", place.base(Node("head-01"), [Node("n1")]))
        place.start()
        place.until("cluster/main", "Ready")
        place.until("nodepool/gpu", "Ready")
        jobs, mirror = Jobs(place), place.home / "floor.git"
        git("clone", "--quiet", "--bare", str(place.repo), str(mirror))
        pairs = [_round(place, jobs, mirror, number) for number in range(rounds)]
        yield compared(
            "commit to accepted by Ray, woken by a signal", 1.5, iter(pairs), "with intents and job files"
        )


def _round(place: Installation, jobs: Jobs, mirror: Path, number: int) -> tuple[float, float]:
    daemon = place.daemon
    assert daemon is not None
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
        daemon.send_signal(signal.SIGUSR1)
        jobs.wait_for(submission_id)

    def floor() -> None:
        git("-C", str(mirror), "fetch", "--quiet", "origin", "+refs/heads/main:refs/heads/main")
        jobs.submit(f"floor-{number}")

    time.sleep(2)  # what the job before left to do is not part of this one
    took = seconds(ours)
    place.until(f"job/rl/try-{number}", "Succeeded")
    return took, seconds(floor)
