"""The Git remote, served over HTTP, in all its moods: what runs goes on, and nothing is removed."""

import signal
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.outages.scene import FETCH_SECONDS, Scene, Work
from tests.remote.stub_head import drips

pytestmark = pytest.mark.real

USER = "apiVersion: rayops/v1\nkind: User\nmetadata: {{name: {0}}}\nspec: {{}}\n"


def user(name: str) -> dict[str, str]:
    return {f"users/{name}.yaml": USER.format(name)}


def told_since(site: Scene) -> float:
    """Return how many seconds ago the trouble began, as people read it."""
    since = datetime.fromisoformat(site.source["since"])
    return (datetime.now(UTC) - since).total_seconds()


def test_a_remote_that_is_gone_is_told_with_its_age_and_followed_when_it_is_back(site: Scene) -> None:
    before = site.objects
    with site.remote.gone():
        began = time.monotonic()
        site.site.commit("Nobody sees this yet", user("carol"))
        said = site.source_is("Unreachable")
        assert "Connection refused" in said["message"] or "Failed to connect" in said["message"]
        site.until(lambda: told_since(site) >= 2, "it grows old")
        assert told_since(site) <= time.monotonic() - began + 1
        assert site.objects == before
    site.site.until("user/carol", "Ready")


def test_a_remote_that_drips_keeps_nobody_waiting(site: Scene) -> None:
    work = Work(site.site, "patient").begun()
    asked = len(site.remote.requests)
    with site.remote.faulty(drips(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000, 1.0)):
        site.until(lambda: len(site.remote.requests) > asked, "the remote is asked")
        assert "no answer yet" in site.source_is("Unreachable")["message"]
        began = time.monotonic()
        work.ends()
        assert site.source["fault"] == "Unreachable"
        # A daemon that starts meanwhile knows what was in force, and one that ends waits for no remote either.
        assert site.site.stop(signal.SIGTERM) == 0
        site.site.start()
        assert Work(site.site, "patient").attempts
        heard = site.site.object("heartbeat")
        site.until(lambda: site.site.object("heartbeat") != heard, "the new daemon beats")
        site.source_is("Unreachable")
        assert site.cluster["state"] == "Ready"
        assert time.monotonic() - began < FETCH_SECONDS
    assert work.lives() == ["began 1", "ended 1"]


def test_a_rewritten_history_is_held_until_an_operator_accepts_it(site: Scene) -> None:
    site.site.commit("Add dave", user("dave"))
    site.site.until("user/dave", "Ready")
    site.site.git("reset", "--quiet", "--hard", "HEAD~1")
    revision = site.site.commit("Add erin instead", user("erin"))
    said = site.source_is("HistoryRewritten")
    assert said["revision"] == revision
    assert f"accept {revision}" in said["message"]
    assert "user/dave.json" in site.objects
    assert "user/erin.json" not in site.objects
    site.site.rayops("accept", revision)
    site.site.until("user/erin", "Ready")
    site.site.until_gone("user/dave")


@pytest.mark.parametrize("harm", ["flip", "cut"])
def test_a_damaged_remote_is_held_and_followed_once_it_is_whole(site: Scene, harm: str) -> None:
    before, name = site.objects, f"grace-{harm}"
    with site.remote.gone():
        site.site.commit(f"Add {name}", user(name))
        blob = site.site.git("rev-parse", f"HEAD:users/{name}.yaml").strip()
        damaged = (flipped if harm == "flip" else halved)(site, blob)
    try:
        assert site.source_is("Corrupt")["message"]
        assert site.objects == before
    finally:
        damaged.path.write_bytes(damaged.whole)
    site.site.until(f"user/{name}", "Ready")


@dataclass
class Damaged:
    """A file of the remote, and what is to be in it."""

    path: Path
    whole: bytes

    def spoil(self, content: bytes) -> "Damaged":
        self.path.chmod(0o600)
        self.path.write_bytes(content)
        return self


def flipped(site: Scene, blob: str) -> Damaged:
    """Flip a byte of this very object in the pack that holds everything."""
    site.site.git("repack", "-adq")
    (pack,) = (site.site.repo / ".git/objects/pack").glob("*.pack")
    rows = site.site.git("verify-pack", "--verbose", str(pack.with_suffix(".idx"))).splitlines()
    (row,) = [line.split() for line in rows if line.startswith(blob)]
    place = int(row[4]) + int(row[3]) // 2
    whole = pack.read_bytes()
    return Damaged(pack, whole).spoil(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])


def halved(site: Scene, blob: str) -> Damaged:
    """Cut the file of this object in two."""
    path = site.site.repo / ".git/objects" / blob[:2] / blob[2:]
    whole = path.read_bytes()
    return Damaged(path, whole).spoil(whole[: len(whole) // 2])


def test_a_deleted_branch_deletes_nothing(site: Scene) -> None:
    before, tip = site.objects, site.site.git("rev-parse", "HEAD").strip()
    site.site.git("update-ref", "-d", "refs/heads/main")
    try:
        assert site.source_is("NoBranch")["message"]
        assert site.objects == before
    finally:
        site.site.git("update-ref", "refs/heads/main", tip)


def test_an_emptied_tree_empties_nothing(site: Scene) -> None:
    before = site.objects
    site.site.git("rm", "-rq", ".")
    site.site.commit("Remove everything", {})
    try:
        assert "no desired file" in site.source_is("EmptyTree")["message"]
        assert site.objects == before
    finally:
        site.site.git("revert", "--no-edit", "HEAD")
