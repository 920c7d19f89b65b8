"""The reading verbs on what the daemon's own writers write."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from reconciler.model.status import Condition, Event, Health, ObjectStatus, Sync
from reconciler.record.document import Overview
from reconciler.record.history import History
from reconciler.record.status import StatusWriter
from reconciler.remote.disk import DiskFiles
from tests.cli.site import NOW, Clock, Site

ATTEMPT = {
    "number": 1,
    "submissionId": "rl-ppo-00000000-1",
    "nodes": ["n1", "n2"],
    "state": "Running",
    "exitCode": None,
}
NODES = [
    {"name": "n1", "host": "10.0.0.1", "state": "online", "gpus": 4, "job": "rl/ppo", "started": NOW, "reason": ""},
    {
        "name": "n2",
        "host": "10.0.0.2",
        "state": "lost",
        "gpus": 4,
        "job": None,
        "started": None,
        "reason": "NodeLost",
    },
]


def status(kind: str, name: str, state: str, team: str = "", **detail: object) -> ObjectStatus:
    ready = Condition("Ready", "True", "AsDesired", "it is")
    usual = (
        kind,
        team,
        name,
        "4f2c9d1",
        "d" * 64,
        state,
        Sync.SYNCED,
        Health.READY,
        "AsDesired",
        "it is as desired",
    )
    return ObjectStatus(*usual, conditions=(ready,), detail=detail)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path / "shared")
    clock = Clock(at=NOW - timedelta(minutes=30))
    writer = StatusWriter(DiskFiles(site.status), clock)
    needs = {"nodes": 2, "gpusPerNode": 4}
    job = {"user": "alice", "pool": "h20", "needs": needs, "attempts": [ATTEMPT], "labels": {"tier": "gold"}}
    objects = [
        status("Job", "ppo", "Running", "rl", **job),
        status("Job", "sft", "Queued", "rl", **{**job, "attempts": []}),
        status("NodePool", "h20", "Degraded", cluster="main", nodes=NODES, gpus={"total": 4, "free": 0}),
        status("Cluster", "main", "Ready", epoch=2, head={"node": "c1"}, nodes={"online": 1, "total": 2}),
        status("Site", "site", "Ready"),
    ]
    order = [{"job": "rl/sft", "priority": "normal", "since": NOW, "needs": needs}]
    extras = {"queue/h20.json": {"pool": "h20", "order": order}, "plan.json": {"holds": []}}
    assert writer.write(objects, (), Overview("4f2c9d1", extras=extras)) is None
    clock.at = NOW
    assert writer.beat(3, 77, "4f2c9d1") is None
    told = Event(
        NOW - timedelta(minutes=30), "job/rl/ppo", "State", "AsDesired", "attempt 1 runs", "4f2c9d1", {"nodes": 2}
    )
    assert History(DiskFiles(site.status), clock).append([told]) is None
    return site


def test_tables_are_filled(site: Site) -> None:
    said = site.call("get", "jobs")
    assert said.err == ""
    assert [line.split() for line in said.lines[1:]] == [
        ["rl/ppo", "Running", "Synced", "-", "alice", "h20", "2x4", "30m", "AsDesired"],
        ["rl/sft", "Queued", "Synced", "1/1", "alice", "h20", "2x4", "30m", "AsDesired"],
    ]
    pool = " ".join(site.call("get", "pools").lines[1].split())
    assert pool == "h20 Degraded Synced Ready main 2 0/4 30m AsDesired"
    assert site.call("get", "nodes").lines[1].split() == ["n1", "online", "h20", "4", "rl/ppo", "30m", "-"]
    assert "n1,n2" in site.call("get", "jobs", "-o", "wide").out
    assert len(site.call("get", "all", "-o", "name").lines) == 7


def test_labels_select(site: Site) -> None:
    assert site.call("get", "jobs", "-l", "tier=gold,state=Running", "-o", "name").lines == ["job/rl/ppo"]


def test_tables_need_the_index_only(site: Site) -> None:
    before = site.call("get", "jobs", "-o", "wide").out, site.call("get", "clusters").out
    for document in (site.status / "job/rl").iterdir():
        document.unlink()
    (site.status / "cluster/main.json").unlink()
    assert (site.call("get", "jobs", "-o", "wide").out, site.call("get", "clusters").out) == before


def test_pages_are_filled(site: Site) -> None:
    page = site.call("describe", "rl/ppo").out
    for part in ("Ready  True", "n1, n2", "attempt 1 runs", "Running for 30m", "Running  AsDesired"):
        assert part in page
    assert "Waiting 1st of 1 in h20 · needs 8 GPUs (2×4), free 0" in site.call("why", "rl/sft").out
    assert json.loads(site.call("history", "-o", "jsonl").out)["numbers"] == {"nodes": 2}
    assert site.call("wait", "cluster/main", "--for=condition=Ready").code == 0
