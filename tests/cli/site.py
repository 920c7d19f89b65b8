"""A status directory as the daemon writes it, and a command line that reads it."""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any

from reconciler.cli.call import Surroundings
from reconciler.cli.parser import run
from reconciler.clock import SystemClock
from reconciler.config import Environment
from reconciler.model.moment import Moment

NOW = datetime(2026, 3, 14, 15, 0, 0, tzinfo=UTC)


def ago(**span: float) -> str:
    """Return the time that was `span` before now, as the daemon writes it."""
    return (NOW - timedelta(**span)).isoformat().replace("+00:00", "Z")


@dataclass
class Clock:
    """A clock that stands still until somebody waits; each wait first does what the test scripted for it."""

    at: datetime = NOW
    script: list[Any] = field(default_factory=list)

    def now(self) -> Moment:
        return Moment(self.at, "boot", self.at.timestamp())

    def wait(self, event: Event, timeout: timedelta) -> bool:
        self.at += timeout
        if self.script:
            self.script.pop(0)()
        else:
            event.set()
        return event.is_set()


@dataclass(frozen=True)
class Said:
    """What one call said."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


class Site:
    """Files of one installation below a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.status = root / "status"
        self.status.mkdir(parents=True)
        (root / "jobs").mkdir()

    def write(self, path: str, content: Any) -> None:
        file = self.status / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content if isinstance(content, str) else json.dumps(content, indent=2), encoding="utf-8")

    def put(self, document: Mapping[str, Any]) -> None:
        """Write one document and its row of the index."""
        meta = document["metadata"]
        team = meta.get("team", "")
        path = f"{document['kind'].lower()}/{team}/{meta['name']}.json".replace("//", "/")
        self.write(path, document)
        row = {key: document[key] for key in ("kind", "state", "sync", "health", "reason", "message", "since")}
        row |= {"team": team, "name": meta["name"], "path": path, "observed": {"revision": "4f2c9d1a0b"}}
        row["detail"] = {**document["detail"], "attempts": document["detail"].get("attempts", [])[-1:]}
        row |= {"metadata": meta} if "labels" in meta else {}
        self.index([other for other in self.rows() if other["path"] != path] + [row])

    def remove(self, path: str) -> None:
        (self.status / path).unlink()
        self.index([row for row in self.rows() if row["path"] != path])

    def rows(self) -> list[dict[str, Any]]:
        file = self.status / "index.json"
        return json.loads(file.read_text())["objects"] if file.exists() else []

    def index(self, rows: list[dict[str, Any]]) -> None:
        self.write("index.json", {"objects": sorted(rows, key=lambda row: row["path"])})

    def beat(self, at: str) -> None:
        self.write("heartbeat.json", {"at": at, "pass": 7, "pid": 1, "revision": "4f2c9d1", "version": "0.1.0"})

    def events(self, day: str, *rows: Mapping[str, Any]) -> None:
        self.write(f"history/{day}.jsonl", "".join(json.dumps(row) + "\n" for row in rows))

    def log(self, submission: str, content: bytes) -> Path:
        file = self.root / "jobs" / submission / "logs" / "driver.log"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        return file

    def call(
        self,
        *words: str,
        columns: int | None = None,
        lines: int = 40,
        environment: Environment | None = None,
        clock: Clock | None = None,
    ) -> Said:
        """Run a command line in this process; with `columns` it writes to a terminal of that width."""
        environment = environment or Environment(status=str(self.status), no_color=True)
        return call(*words, columns=columns, lines=lines, environment=environment, clock=clock)


def call(
    *words: str,
    columns: int | None = None,
    lines: int = 40,
    environment: Environment | None = None,
    clock: Clock | SystemClock | None = None,
) -> Said:
    """Run a command line in this process; with `columns` it writes to a terminal of that width."""
    out, err = io.BytesIO(), io.BytesIO()
    around = Surroundings(
        out=io.TextIOWrapper(out, encoding="utf-8", newline="", write_through=True),
        err=io.TextIOWrapper(err, encoding="utf-8", newline="", write_through=True),
        clock=clock or Clock(),
        environment=environment or Environment(no_color=True),
        stop=Event(),
        size=(columns, lines) if columns else None,
    )
    code = run(words, around)
    return Said(code, out.getvalue().decode(errors="replace"), err.getvalue().decode())


def status(kind: str, name: str, state: str, *, team: str = "", **facts: Any) -> dict[str, Any]:
    """Return one document; `facts` replace what it says otherwise."""
    since = facts.pop("since", ago(hours=3))
    document: dict[str, Any] = {
        "apiVersion": "rayops.status/v1",
        "kind": kind,
        "metadata": {"name": name} | ({"team": team} if team else {}),
        "observed": {"revision": "4f2c9d1a0b", "specDigest": "ab" * 32, "asOf": ago(minutes=5)},
        "state": state,
        "sync": "Synced",
        "health": "Ready",
        "reason": "AsDesired",
        "message": "",
        "conditions": [],
        "detail": {},
        "since": since,
        "history": [{"at": since, "state": state, "reason": "AsDesired"}],
    }
    return document | facts


def job(name: str, state: str, *, needs: tuple[int, int] = (2, 4), **facts: Any) -> dict[str, Any]:
    """Return the document of one job of team rl."""
    detail = {
        "user": "alice",
        "pool": "h20",
        "cluster": "main",
        "priority": "normal",
        "needs": {"nodes": needs[0], "gpusPerNode": needs[1]},
        "attempts": [],
        "limits": {"queue": None, "start": 900, "attempt": 43_200, "total": None},
        "dependsOn": [],
    } | facts.pop("detail", {})
    return status("Job", name, state, team=facts.pop("team", "rl"), detail=detail, **facts)


def node(name: str, host: str, state: str, **facts: Any) -> dict[str, Any]:
    """Return what a pool says about one of its machines."""
    return {"name": name, "host": host, "state": state, "gpus": 4, "since": ago(days=2), "job": None} | facts


RUNNING = {
    "number": 2,
    "submissionId": "rl-ppo-gsm8k-0a1b2c3d-2",
    "nodes": ["h20-01", "h20-02"],
    "state": "Running",
    "reason": "AsDesired",
    "message": "",
    "submitted": ago(hours=3, minutes=1),
    "running": ago(hours=3),
}
FIRST = {
    "number": 1,
    "submissionId": "rl-ppo-gsm8k-0a1b2c3d-1",
    "nodes": ["h20-01", "h20-03"],
    "state": "Lost",
    "reason": "NodeLost",
    "message": "node h20-03 left the cluster",
    "submitted": ago(hours=6),
    "running": ago(hours=5, minutes=59),
    "ended": ago(hours=3, minutes=30),
    "exitCode": 137,
}


def full(root: Path) -> Site:
    """Return a site with a bit of everything."""
    site = Site(root)
    site.beat(ago(seconds=5))
    for document in _documents():
        site.put(document)
    order = [("cv/eval", (8, 4), 9.0), ("rl/sft-3", (2, 4), 2.0), ("rl/grpo-7", (1, 8), 1.0)]
    rows = [
        {"job": who, "priority": "normal", "since": ago(hours=hours), "needs": {"nodes": n, "gpusPerNode": g}}
        for who, (n, g), hours in order
    ]
    site.write("queue/h20.json", {"pool": "h20", "order": rows})
    site.events("2026-03-13", event(ago(hours=20), "job/rl/old", "State", "Failed", "exit code 1"))
    site.events(
        "2026-03-14",
        event(ago(hours=6), "job/rl/ppo-gsm8k", "Action", "New", "SubmitAttempt: attempt 1"),
        event(ago(hours=3, minutes=30), "job/rl/ppo-gsm8k", "State", "NodeLost", "attempt 1: node h20-03 is gone"),
        event(ago(hours=3), "job/rl/ppo-gsm8k", "State", "AsDesired", "attempt 2 runs on h20-01, h20-02"),
        event(ago(hours=1), "job/rl/grpo-7", "Hold", "BehindOthers", "cv/eval is first"),
    )
    return site


def event(at: str, who: str, kind: str, reason: str, message: str) -> dict[str, Any]:
    return {
        "at": at,
        "object": who,
        "type": kind,
        "reason": reason,
        "message": message,
        "revision": "4f2c9d1a0b",
    } | {"numbers": {}}


def _documents() -> list[dict[str, Any]]:
    placed = {"type": "Placed", "status": "True", "reason": "AsDesired", "message": ""}
    nodes = [
        node("h20-01", "10.0.0.11", "online", job="rl/ppo-gsm8k"),
        node("h20-02", "10.0.0.12", "online", job="rl/ppo-gsm8k"),
        node("h20-03", "10.0.0.13", "lost", reason="NodeLost", since=ago(hours=3.5)),
        node("h20-10", "10.0.0.20", "online"),
    ]
    cluster = {
        "epoch": 3,
        "head": {
            "node": "cpu-01",
            "address": "10.0.0.1:6379",
            "dashboard": "http://10.0.0.1:8265",
            "since": ago(days=2),
        },
        "rayVersion": "2.60.0",
        "nodes": {"online": 3, "total": 4},
        "jobs": {"running": 1, "max": 30},
    }
    waits: dict[str, Any] = {"health": "Waiting", "reason": "WaitsForNodes", "sync": "Pending"}
    behind: dict[str, Any] = {"health": "Waiting", "reason": "BehindOthers", "sync": "Pending"}
    return [
        status("Site", "site", "Ready"),
        status("Team", "rl", "Ready"),
        status("Team", "cv", "Ready"),
        status("User", "alice", "Ready"),
        status("Cluster", "main", "Ready", since=ago(days=2), detail=cluster),
        status(
            "NodePool",
            "h20",
            "Degraded",
            health="Degraded",
            reason="NodeLost",
            message="1 of 4 nodes is lost",
            since=ago(hours=3.5),
            detail={"cluster": "main", "nodes": nodes, "gpus": {"total": 16, "free": 4}},
        ),
        job(
            "ppo-gsm8k",
            "Running",
            message="attempt 2 runs on h20-01, h20-02",
            detail={"attempts": [FIRST, RUNNING]},
            conditions=[placed | {"lastTransitionTime": ago(hours=3)}],
            history=[
                {"at": ago(hours=6), "state": "Running", "reason": "New"},
                {"at": ago(hours=3.5), "state": "Backoff", "reason": "NodeLost"},
                {"at": ago(hours=3), "state": "Running", "reason": "AsDesired"},
            ],
        ),
        job(
            "eval",
            "Queued",
            team="cv",
            needs=(8, 4),
            message="needs 8 nodes, 1 is free",
            since=ago(hours=9),
            **waits,
        ),
        job("sft-3", "Queued", message="cv/eval is first", since=ago(hours=2), **behind),
        job("grpo-7", "Queued", needs=(1, 8), message="cv/eval is first", since=ago(hours=1), **behind),
        job(
            "old",
            "Failed",
            health="Failed",
            reason="Failed",
            message="attempt 1 ended with exit code 1",
            since=ago(hours=20),
            detail={"attempts": [{**FIRST, "submissionId": "rl-old-11111111-1", "state": "Failed", "exitCode": 1}]},
        ),
    ]
