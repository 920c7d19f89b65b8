"""What people want: a repo that they edit, break, rewrite and mend, and what they thereby allow to be stopped."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from tests.fakes.source import FakeSource

TEAMS = ("rl", "nlp")
CLUSTERS = ("main", "lab")
NODES_PER_POOL = 3
GRACE = 10
# Few, so that people come across the brakes.
BRAKES = {"maxRemovals": 2, "maxRemovalPercent": 10, "maxStops": 2, "maxDrainPercent": 34}

SECONDS = (5, 20, 60, 240)
EXIT_CODES = (0, 0, 0, 1)
STOP_SECONDS = (0.0, 1.0, 5.0, 40.0)


@dataclass(frozen=True, slots=True)
class Wish:
    """One job as its file says. `uid` and `version` come back in the argv of what runs, whatever it is named."""

    uid: int
    version: int
    team: str
    name: str
    pool: str
    nodes: int = 1
    seconds: int = 20
    code: int = 0
    stop_seconds: float = 0.0
    retry: int = 0
    limit: int | None = None
    priority: str = "normal"
    suspend: bool = False
    stop: bool = False
    after: str = ""
    broken: bool = False

    @property
    def path(self) -> str:
        """The file."""
        return f"teams/{self.team}/jobs/{self.name}.yaml"

    @property
    def key(self) -> tuple[int, int]:
        """What runs: the same as long as nobody edits it."""
        return (self.uid, self.version)

    def document(self) -> bytes:
        """Return the file's content."""
        if self.broken:
            return b"apiVersion: rayops/v1\nkind: Job\nspec: {argv: [\n"
        argv = ["work", str(self.seconds), str(self.code), str(self.stop_seconds), f"{self.uid}.{self.version}"]
        spec: dict[str, Any] = {
            "user": "alice",
            "pool": self.pool,
            "resources": {"nodes": self.nodes, "gpusPerNode": 4},
            "workload": {"type": "command", "argv": argv},
            "retry": {"limit": self.retry, "backoff": "10s"},
            "grace": f"{GRACE}s",
            "priority": self.priority,
            "suspend": self.suspend,
            "stop": self.stop,
        }
        if self.limit is not None:
            spec["limits"] = {"attempt": f"{self.limit}s"}
        if self.after:
            spec["dependsOn"] = [self.after]
        return _file("Job", {"name": self.name, "team": self.team}, spec)


@dataclass
class Allowed:
    """What may happen to running jobs because people asked for it, at any time so far."""

    stops: set[tuple[int, int]] = field(default_factory=set)
    # Removed by a commit that takes away so much that it needs an approval.
    braked: set[tuple[int, int]] = field(default_factory=set)
    # The last commit in which a job was absent or different.
    touched: dict[int, int] = field(default_factory=dict)


class People:
    """Everybody who commits to the repo."""

    def __init__(self, source: FakeSource, clusters: int, pools: int) -> None:
        self.source = source
        self.jobs: dict[int, Wish] = {}
        self.removed: dict[int, Wish] = {}
        self.allowed = Allowed()
        self.commits = 0
        self.drains: dict[str, dict[str, int | None]] = {}
        self.pool_env: dict[str, int] = {}
        self.head_env: dict[str, int] = {}
        self.approvals: list[str] = []
        # Jobs that a second file describes, too: both files are refused until one is gone.
        self.doubled: set[int] = set()
        self.pools = {f"p{n}": CLUSTERS[n % clusters] for n in range(pools)}
        self.clusters = CLUSTERS[:clusters]
        self.revisions: list[str] = []
        # By node, the earliest time at which a drain that was ever asked for may stop jobs.
        self.drain_deadlines: dict[str, float] = {}
        self.retries: dict[int, int] = {}
        self._written: dict[str, bytes] = {}
        self._keys: dict[int, tuple[int, int] | None] = {}
        self._uids = 0

    def nodes(self, pool: str) -> list[str]:
        """Return the names of a pool's nodes."""
        return [f"{pool}-{n}" for n in range(NODES_PER_POOL)]

    def new(self, wish: Wish) -> Wish:
        """Think of another job."""
        self._uids += 1
        made = replace(wish, uid=self._uids, version=1, name=f"j{self._uids}")
        self.jobs[made.uid] = made
        self.retries[made.uid] = made.retry
        return made

    def edit(self, uid: int, **changes: Any) -> None:
        """Change what a job runs."""
        old = self.jobs[uid]
        self.allowed.stops.add(old.key)
        self.jobs[uid] = replace(old, version=old.version + 1, **changes)

    def steer(self, uid: int, **changes: Any) -> None:
        """Change what does not change what a job runs."""
        self.jobs[uid] = replace(self.jobs[uid], **changes)

    def remove(self, uids: list[int]) -> None:
        """Delete files; many at once need an approval before anything is stopped."""
        held = len(uids) > BRAKES["maxRemovals"] and len(uids) * 10 > len(self._everything()) + 10
        held = held and not any(wish.broken for wish in self.jobs.values())
        for uid in uids:
            gone = self.removed[uid] = self.jobs.pop(uid)
            (self.allowed.braked if held else self.allowed.stops).add(gone.key)

    def bring_back(self, uid: int) -> None:
        """Put a deleted file back as it was; the rest of a removal may then be small enough to need no approval."""
        self.allowed.stops |= self.allowed.braked
        self.jobs[uid] = self.removed.pop(uid)

    def commit(self) -> str:
        """Push what is thought of so far, on top of the last revision that people agreed on."""
        self.restore()
        files = self._everything()
        changed: dict[str, bytes | None] = {
            path: content for path, content in files.items() if self._written.get(path) != content
        }
        changed.update(dict.fromkeys(self._written.keys() - files.keys()))
        self._written = files
        if any(wish.broken for wish in self.jobs.values()):
            # What a broken file may describe has not left: a removal is then weighed in parts, each perhaps light.
            self.allowed.stops |= self.allowed.braked
        self.commits += 1
        for uid in range(1, self._uids + 1):
            self._note_change(uid)
        revision = self.source.commit(changed)
        self.revisions.append(revision)
        return revision

    def approve(self, digests: list[str]) -> None:
        """Let held plans pass."""
        self.approvals = sorted({*self.approvals, *digests})[-20:]
        self.allowed.stops |= self.allowed.braked
        self.commit()

    def drain(self, pool: str, node: str, after: int | None, now: float) -> None:
        """Ask for a node to leave."""
        self.drains.setdefault(pool, {})[node] = after
        if after is not None:
            self.drain_deadlines[node] = min(now + after, self.drain_deadlines.get(node, float("inf")))

    def calm(self) -> None:
        """Mend what was broken, and want nothing extraordinary any more."""
        self.source.heal()
        self.restore()
        self.doubled.clear()
        self.drains.clear()
        for uid in self.jobs:
            self.steer(uid, broken=False, suspend=False)
        self.commit()

    def rewrite(self) -> None:
        """Force-push a history in which all jobs are gone."""
        kept = {path: content for path, content in self._written.items() if not path.startswith("teams/rl/jobs/")}
        self.source.force_push(dict(kept))

    def restore(self) -> None:
        """Put the branch back to what it was."""
        self.source.restore_branch()
        if self.revisions:
            self.source.push_back_to(self.revisions[-1])

    def _note_change(self, uid: int) -> None:
        wish = self.jobs.get(uid)
        before = self._keys.get(uid)
        now = wish.key if wish is not None else None
        if now != before:
            self.allowed.touched[uid] = self.commits
            self._keys[uid] = now

    def _everything(self) -> dict[str, bytes]:
        files = {**dict(self._site()), **{wish.path: wish.document() for wish in self.jobs.values()}}
        for wish in self.jobs.values():
            if wish.uid in self.doubled:
                files[f"teams/{wish.team}/jobs/copy-of-{wish.uid}.yaml"] = wish.document()
        return files

    def _site(self) -> Iterator[tuple[str, bytes]]:
        approvals = [{"plan": digest, "reason": "agreed"} for digest in self.approvals]
        yield "site.yaml", _file("Site", {"name": "site"}, {"brakes": BRAKES, "approvals": approvals})
        yield "users/alice.yaml", _file("User", {"name": "alice"}, {})
        for team in TEAMS:
            yield f"teams/{team}/team.yaml", _file("Team", {"name": team}, {"members": ["alice"]})
        for number, cluster in enumerate(self.clusters):
            head = {"name": f"cpu-{number}", "host": f"10.0.0.{number + 1}", "user": "ray"}
            env = {"HEAD_EDIT": str(self.head_env.get(cluster, 0))}
            spec = {"ray": {"version": "2.60.0"}, "head": {"candidates": [head], "env": env}, "maxRunningJobs": 4}
            yield f"clusters/{cluster}.yaml", _file("Cluster", {"name": cluster}, spec)
        for number, (pool, cluster) in enumerate(self.pools.items()):
            yield f"nodepools/{pool}.yaml", self._pool(number, pool, cluster)

    def _pool(self, number: int, pool: str, cluster: str) -> bytes:
        nodes = [
            {"name": name, "host": f"10.0.{number + 1}.{n + 1}", "user": "ray"}
            for n, name in enumerate(self.nodes(pool))
        ]
        drains = []
        for node, after in sorted(self.drains.get(pool, {}).items()):
            drains.append({"node": node, "reason": "fans", **({} if after is None else {"after": f"{after}s"})})
        spec = {
            "cluster": cluster,
            "join": "ssh",
            "perNode": {"gpus": 4, "cpus": 8},
            "env": {"POOL_EDIT": str(self.pool_env.get(pool, 0))},
            "nodes": nodes,
            "drain": drains,
        }
        return _file("NodePool", {"name": pool}, spec)


def _file(kind: str, metadata: dict[str, Any], spec: dict[str, Any]) -> bytes:
    # JSON is YAML, and needs no writer.
    document = {"apiVersion": "rayops/v1", "kind": kind, "metadata": metadata, "spec": spec}
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
