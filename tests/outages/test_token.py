"""The token of a cluster, lost, wrong and rotated: a refusal is never taken for the end of a job."""

import subprocess
from datetime import datetime
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.gitremote import needs
from tests.outages.scene import SECONDS, SILENCE_SECONDS, Scene

pytestmark = pytest.mark.real


def file_of(site: Scene) -> Path:
    return site.site.home / "state/tokens/main"


def test_a_lost_token_ends_nothing_and_the_status_says_where_it_is(site: Scene) -> None:
    file, before = file_of(site), site.cluster["detail"]["head"]
    token = file.read_bytes()
    file.unlink()
    try:
        site.site.until("cluster/main", "Unknown")
        assert "tokens/main in the state directory is missing; put it back" in site.cluster["message"]
        assert site.steady.status["state"] == "Running"
        assert not file.exists(), "none was made in its place"
    finally:
        file.write_bytes(token)
    site.site.until("cluster/main", "Ready")
    assert site.cluster["detail"]["head"] == before


def test_a_wrong_token_is_told_and_the_right_one_mends_it(site: Scene) -> None:
    file, before = file_of(site), site.cluster["detail"]["head"]
    token = file.read_bytes()
    file.write_bytes(b"f" * 64)
    try:
        site.site.until("cluster/main", "Silent")
        site.until(lambda: "UTC if it stays so" in site.cluster["message"], "how long it may")
        assert "the head refuses our token (HTTP 403)" in site.cluster["message"]
        assert site.steady.status["state"] == "Running"
    finally:
        file.write_bytes(token)
    site.site.until("cluster/main", "Ready")
    assert site.cluster["detail"]["head"] == before


@needs("openssl")
def test_a_rotated_token_costs_a_new_head_and_not_before_the_limit(shared: Scene) -> None:
    shared.is_well()
    file, epoch = file_of(shared), shared.cluster["detail"]["epoch"]
    old = file.read_text().strip()
    # As docs/operations.md tells operators to.
    subprocess.run(["sh", "-c", f"umask 077; openssl rand -hex 32 > {file}"], check=True)
    shared.until(lambda: shared.cluster["detail"]["epoch"] > epoch, "a head with the new token")
    silent, fenced = (moment_of(shared, kind) for kind in ("State", "Action"))
    assert (fenced - silent).total_seconds() >= SILENCE_SECONDS
    for path in ("cluster/main", "nodepool/calm", "nodepool/gpu"):
        shared.site.until(path, "Ready", seconds=SECONDS)
    assert file.read_text().strip() != old
    host, port = shared.head.server
    stranger = Request(f"http://{host}:{port}/api/version", headers={"Authorization": f"Bearer {old}"})
    with pytest.raises(HTTPError, match="403"):
        urlopen(stranger, timeout=SECONDS)
    # Its head is gone, and with it the attempt, which is told; nothing ran twice.
    shared.site.until(shared.steady.path, "Lost")
    assert shared.steady.lives() == ["began 1"]


def moment_of(site: Scene, kind: str) -> datetime:
    """Return when the head was last told to be silent, or fenced for it."""
    events = site.site.events("cluster/main")
    return datetime.fromisoformat([e["at"] for e in events if (e["type"], e["reason"]) == (kind, "HeadSilent")][-1])
