"""What people want: a repo that they edit, break, rewrite and mend, and what it said at each revision."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from tests.fakes.source import FakeSource
from tests.simulator.grounds import BRAKES, NODES_PER_POOL, Pool

TEAMS = ("rl", "nlp")
CLUSTERS = ("main", "lab")
# Where the head of the first cluster may move.
SPARE = "10.0.0.101"
GRACE = 10

SECONDS = (5, 20, 60, 240)
EXIT_CODES = (0, 0, 0, 1)
STOP_SECONDS = (0.0, 1.0, 5.0, 40.0)
# What somebody may write into a field, and what must reach the program as it is, and nothing else.
HOSTILE = (
    "$(touch canary-shell)",
    "; touch canary-shell #",
    "`touch canary-shell`",
    "' || touch canary-shell '",
    '"; touch canary-shell; "',
    "../../canary-path",
    "--canary-option=/x",
    "${RAY_AUTH_TOKEN}",
    "<script>canary</script>",
    "line\nbreak canary",
    "\u00e9\u2603 canary",
)


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
    note: str = ""
    hostile: str = ""

    @property
    def path(self) -> str:
        """The file."""
        return f"teams/{self.team}/jobs/{self.name}.yaml"

    @property
    def key(self) -> tuple[int, int]:
        """What runs: the same as long as nobody edits it."""
        return (self.uid, self.version)

    @property
    def argv(self) -> list[str]:
        """The program and its arguments."""
        words = ["work", str(self.seconds), str(self.code), str(self.stop_seconds), f"{self.uid}.{self.version}"]
        return [*words, self.hostile] if self.hostile else words

    def document(self) -> bytes:
        """Return the file's content."""
        if self.broken:
            return b"apiVersion: rayops/v1\nkind: Job\nspec: {argv: [\n"
        env = {"NOTE": self.hostile} if self.hostile else {}
        spec: dict[str, Any] = {
            "user": "alice",
            "pool": self.pool,
            "resources": {"nodes": self.nodes, "gpusPerNode": 4},
            "workload": {"type": "command", "argv": self.argv, "env": env},
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
        metadata: dict[str, Any] = {"name": self.name, "team": self.team}
        if self.note:
            metadata["labels"] = {"note": self.note}
        return _file("Job", metadata, spec)


@dataclass(frozen=True, slots=True)
class Said:
    """What the repo said at one revision: the jobs by uid, those that two files describe, pools and approvals.

    `frozen` are pools that are suspended, or whose cluster is.
    """

    jobs: Mapping[int, Wish]
    doubled: frozenset[int]
    pools: Mapping[str, Pool]
    frozen: frozenset[str]
    approvals: tuple[str, ...]


class People:
    """Everybody who commits to the repo."""

    def __init__(self, source: FakeSource, clusters: int, pools: int) -> None:
        self.source = source
        self.jobs: dict[int, Wish] = {}
        self.removed: dict[int, Wish] = {}
        self.said: dict[str, Said] = {}
        self.commits = 0
        self.head_env: dict[str, int] = {}
        # Clusters whose head is to stand on the spare machine.
        self.moved: set[str] = set()
        self.approvals: list[str] = []
        # Jobs that a second file describes, too: both files are refused until one is gone.
        self.doubled: set[int] = set()
        self.pools = {f"p{n}": _pool(n, CLUSTERS[n % clusters]) for n in range(pools)}
        self.clusters = CLUSTERS[:clusters]
        # Clusters to which nothing is to be done.
        self.suspended: set[str] = set()
        # By node: its host, whatever became of it; names are not used again. By pool: all that it ever had.
        self.hosts: dict[str, str] = {}
        self.ever: dict[str, set[tuple[str, str]]] = {name: set() for name in self.pools}
        self.revisions: list[str] = []
        # Whose name a name is or was, and what was ever written about each version of a job.
        self.named: dict[tuple[str, str], int] = {}
        self.written: dict[tuple[int, int], Wish] = {}
        self._files: dict[str, bytes] = {}
        self._uids = 0

    def nodes(self, pool: str) -> list[str]:
        """Return the names of a pool's nodes."""
        return list(self.pools[pool].nodes)

    def change(self, pool: str, **changes: Any) -> None:
        """Change the file of a pool; what is no more in it is not under drain either."""
        changed = replace(self.pools[pool], **changes)
        drains = {node: after for node, after in changed.drains.items() if node in changed.nodes}
        self.pools[pool] = replace(changed, drains=drains)

    @property
    def frozen(self) -> frozenset[str]:
        """The pools of which nothing is to be done, or of whose cluster."""
        return frozenset(n for n, pool in self.pools.items() if pool.suspended or pool.cluster in self.suspended)

    def env_of_head(self, cluster: str) -> dict[str, str]:
        """Return what the head of a cluster is to run with."""
        return {"HEAD_EDIT": str(self.head_env.get(cluster, 0)), "NOTE": HOSTILE[0]}

    def env_of_pool(self, pool: str) -> dict[str, str]:
        """Return what the nodes of a pool are to run with."""
        return {"POOL_EDIT": str(self.pools[pool].edit), "NOTE": HOSTILE[2]}

    def new(self, wish: Wish) -> Wish:
        """Think of another job."""
        self._uids += 1
        return self._want(replace(wish, uid=self._uids, version=1, name=f"j{self._uids}"))

    def edit(self, uid: int, **changes: Any) -> None:
        """Change what a job runs."""
        self._want(replace(self.jobs[uid], version=self.jobs[uid].version + 1, **changes))

    def steer(self, uid: int, **changes: Any) -> None:
        """Change what does not change what a job runs."""
        self._want(replace(self.jobs[uid], **changes))

    def _want(self, wish: Wish) -> Wish:
        self.jobs[wish.uid] = wish
        self.named[wish.team, wish.name] = wish.uid
        self.written[wish.key] = wish
        return wish

    def remove(self, uids: list[int]) -> None:
        """Delete files."""
        for uid in uids:
            self.removed[uid] = self.jobs.pop(uid)

    def bring_back(self, uid: int) -> None:
        """Put a deleted file back as it was."""
        self.jobs[uid] = self.removed.pop(uid)

    def commit(self) -> str:
        """Push what is thought of so far, on top of the last revision that people agreed on."""
        self.restore()
        files = self._everything()
        changed: dict[str, bytes | None] = {
            path: content for path, content in files.items() if self._files.get(path) != content
        }
        changed.update(dict.fromkeys(self._files.keys() - files.keys()))
        self._files = files
        self.commits += 1
        revision = self.source.commit(changed)
        self.revisions.append(revision)
        for name, pool in self.pools.items():
            self.hosts.update(pool.nodes)
            self.ever[name] |= pool.places
        pools, approvals = dict(self.pools), tuple(self.approvals)
        self.said[revision] = Said(dict(self.jobs), frozenset(self.doubled), pools, self.frozen, approvals)
        return revision

    def approve(self, digests: list[str]) -> None:
        """Let held plans pass."""
        self.approvals = [*dict.fromkeys([*self.approvals, *digests])][-20:]
        self.commit()

    def drain(self, pool: str, nodes: list[str], after: int | None) -> None:
        """Ask for nodes to leave."""
        self.change(pool, drains={**self.pools[pool].drains, **dict.fromkeys(nodes, after)})

    def recover(self) -> None:
        """Bring the remote and its branch back."""
        self.source.heal()
        self.restore()

    def calm(self) -> None:
        """Mend what was broken, and want nothing extraordinary any more."""
        self.recover()
        self.doubled.clear()
        self.suspended.clear()
        for pool in self.pools:
            self.change(pool, drains={}, suspended=False)
        for uid in self.jobs:
            self.steer(uid, broken=False, suspend=False)
        self.commit()

    def rewrite(self) -> None:
        """Force-push a history in which all jobs are gone."""
        kept = {path: content for path, content in self._files.items() if not path.startswith("teams/rl/jobs/")}
        self.source.force_push(dict(kept))

    def restore(self) -> None:
        """Put the branch back to what it was."""
        self.source.restore_branch()
        if self.revisions:
            self.source.push_back_to(self.revisions[-1])

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
            own = {"name": f"cpu-{number}", "host": f"10.0.0.{number + 1}", "user": "ray"}
            head = {"name": "spare", "host": SPARE, "user": "ray"} if cluster in self.moved else own
            heads = {"candidates": [head], "env": self.env_of_head(cluster)}
            suspended = {"suspend": True} if cluster in self.suspended else {}
            spec = {"ray": {"version": "2.60.0"}, "head": heads, "maxRunningJobs": 4, **suspended}
            yield f"clusters/{cluster}.yaml", _file("Cluster", {"name": cluster}, spec)
        for name, pool in self.pools.items():
            yield f"nodepools/{name}.yaml", self._pool(name, pool)

    def _pool(self, name: str, pool: Pool) -> bytes:
        drains = []
        for node, after in sorted(pool.drains.items()):
            drains.append({"node": node, "reason": "fans", **({} if after is None else {"after": f"{after}s"})})
        spec = {
            "cluster": pool.cluster,
            "join": "ssh",
            "perNode": {"gpus": 4, "cpus": 8},
            "env": self.env_of_pool(name),
            "nodes": [{"name": node, "host": host, "user": "ray"} for node, host in pool.nodes.items()],
            "drain": drains,
            **({"suspend": True} if pool.suspended else {}),
        }
        return _file("NodePool", {"name": name}, spec)


def _pool(number: int, cluster: str) -> Pool:
    return Pool(cluster, {f"p{number}-{n}": f"10.0.{number + 1}.{n + 1}" for n in range(NODES_PER_POOL)})


def _file(kind: str, metadata: dict[str, Any], spec: dict[str, Any]) -> bytes:
    # JSON is YAML, and needs no writer.
    document = {"apiVersion": "rayops/v1", "kind": kind, "metadata": metadata, "spec": spec}
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
