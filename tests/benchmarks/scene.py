"""Sites of any size: their files, and the memory of a daemon that has run them for a while."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import ray

from reconciler.desired.load import load_tree
from reconciler.model.desired import Desired, Loaded
from reconciler.model.ids import ObjectId
from reconciler.model.ledger import (
    META_KEY,
    Attempt,
    Change,
    ClusterRecord,
    Ended,
    HeadRecord,
    JobRecord,
    Known,
    Ledger,
    Meta,
    NodeRecord,
    Record,
    Table,
    node_key,
)
from reconciler.model.machine import Machine
from reconciler.model.moment import Moment
from reconciler.model.nodepool import shape_digest
from reconciler.model.ray import HeadSeen, RayJob, RayJobStatus, RayNode, RayNodeState
from reconciler.model.sighting import Present, Sighting
from reconciler.model.states import JobState
from reconciler.model.views import known_key
from reconciler.model.world import AttemptSeen, Observed, Role, SlotId, SlotSeen, SlotState, World

POOL_SIZE = 20
TEAMS = 20
NOW = Moment(datetime(2026, 3, 1, 12, 0, tzinfo=UTC), "boot", 100_000.0)
EARLIER = Moment(NOW.wall - timedelta(hours=3), "boot", NOW.ticks - 10_800)
SESSION = "session_2026-03-01_09-00-00_000000_1"


@dataclass(frozen=True, slots=True)
class Size:
    """How large a site is. Of its jobs some run, one node each, some wait, and the others ended long ago."""

    jobs: int
    nodes: int
    running: int
    waiting: int

    @property
    def pools(self) -> int:
        """How many pools the nodes are in."""
        return max(1, self.nodes // POOL_SIZE)


def usual(jobs: int, nodes: int | None = None) -> Size:
    """Return a site in everyday use: most jobs are history, one in ten waits, one in twenty runs."""
    nodes = jobs // 10 if nodes is None else nodes
    return Size(jobs, nodes, running=min(nodes // 2, jobs // 20), waiting=jobs // 10)


def job_file(number: int, pools: int) -> tuple[str, bytes]:
    """Return the path and the content of one job."""
    team, name = f"team-{number % TEAMS}", f"job-{number:05d}"
    text = (
        f"apiVersion: rayops/v1\nkind: Job\nmetadata:\n  name: {name}\n  team: {team}\n"
        f"  labels: {{run: r{number}}}\nspec:\n  user: alice\n"
        f"  pool: pool-{number % pools:03d}\n  priority: normal\n"
        "  resources:\n    nodes: 1\n    gpusPerNode: 8\n"
        "  workload:\n    type: command\n"
        f"    argv: [python, -m, train, --config, configs/run-{number}.yaml, --seed, '{number}']\n"
        "    env: {NCCL_DEBUG: WARN}\n"
    )
    return f"teams/{team}/jobs/{name}.yaml", text.encode()


def files(
    size: Size, *, ports: tuple[int, int, int] = (6379, 8265, 10001), drained: bool = False
) -> dict[str, bytes]:
    """Return the files of a site; with `drained` all of its nodes are out of service, so that none is started."""
    made = {
        "site.yaml": "kind: Site\nmetadata: {name: site}\nspec: {}\n",
        "users/alice.yaml": "kind: User\nmetadata: {name: alice}\nspec: {}\n",
        "clusters/main.yaml": (
            "kind: Cluster\nmetadata: {name: main}\nspec:\n  maxRunningJobs: 2000\n"
            f"  ray: {{version: {ray.__version__}, python: {sys.executable}}}\n"
            "  head:\n    candidates: [{name: head-01, host: 127.0.0.1, user: root, port: 22}]\n"
            f"    ports: {{gcs: {ports[0]}, dashboard: {ports[1]}, client: {ports[2]}}}\n"
        ),
    }
    for team in range(TEAMS):
        made[f"teams/team-{team}/team.yaml"] = (
            f"kind: Team\nmetadata: {{name: team-{team}}}\nspec: {{members: [alice]}}\n"
        )
    for pool in range(size.pools):
        names = [f"node-{number:04d}" for number in range(pool * POOL_SIZE, (pool + 1) * POOL_SIZE)]
        nodes = "".join(f"    - {{name: {name}, host: {name}.example, user: root, port: 22}}\n" for name in names)
        drain = "".join(f"    - {{node: {name}, reason: benchmark}}\n" for name in names)
        made[f"nodepools/pool-{pool:03d}.yaml"] = (
            f"kind: NodePool\nmetadata: {{name: pool-{pool:03d}}}\nspec:\n  cluster: main\n  join: ssh\n"
            f"  perNode: {{gpus: 8, cpus: 64}}\n  nodes:\n{nodes}" + (f"  drain:\n{drain}" if drained else "")
        )
    whole = {path: f"apiVersion: rayops/v1\n{text}".encode() for path, text in made.items()}
    return whole | dict(job_file(number, size.pools) for number in range(size.jobs))


def history(size: Size, desired: Desired) -> tuple[Change, ...]:
    """Return what a daemon remembers of a site whose older jobs have ended, before any of its heads started."""
    jobs = sorted(
        (each for each in desired.objects.values() if each.id.kind == "Job"), key=lambda each: each.id.name
    )
    changes = [
        Change(Table.KNOWN, known_key(each.id), Known(each.digest, EARLIER)) for each in desired.objects.values()
    ]
    ended = size.jobs - size.running - size.waiting
    for number, each in enumerate(jobs):
        record = _ended(each) if number < ended else JobRecord(each.digest, EARLIER)
        changes.append(Change(Table.JOBS, str(each.id), record))
        if number < ended:
            changes.append(Change(Table.NUMBERS, str(each.id), 1))
    return tuple(changes)


def world(size: Size) -> World:
    """Return a site at work, as a pass sees it: all nodes up, and a running attempt for each job that runs."""
    desired = load_tree(files(size))
    assert not desired.errors
    assert not desired.problems
    ledger = Ledger(Meta("site", 1)).apply(history(size, desired))
    cluster = desired.objects[ObjectId("Cluster", "", "main")]
    head = HeadRecord(
        "head-01", Machine("127.0.0.1", "root", 22), cluster.digest, (6379, 8265, 10001), EARLIER, SESSION, True
    )
    changes = [Change(Table.CLUSTERS, "main", ClusterRecord(1, head))]
    changes += _nodes(desired)
    changes += _running(size, desired)
    changes.append(Change(Table.META, META_KEY, Meta("site", 1, desired.revision)))
    ledger = ledger.apply(changes)
    return World(desired, _observed(ledger), ledger, NOW)


def _ended(job: Loaded) -> JobRecord:
    ended = Ended(JobState.SUCCEEDED, "Succeeded", "exited with 0", EARLIER, exit_code=0)
    attempt = Attempt(
        number=1,
        submission_id=f"{job.id.team}.{job.id.name}-{job.digest[:8]}-1",
        digest=job.digest,
        cluster="main",
        epoch=1,
        nodes=("node-0000",),
        machine=Machine("node-0000.example", "root", 22),
        intended=EARLIER,
        submitted=EARLIER,
        running=EARLIER,
        ended=ended,
        cleaned=True,
    )
    return JobRecord(job.digest, EARLIER, (attempt,), ended)


def _nodes(desired: Desired) -> list[Change]:
    return [
        Change(
            Table.NODES,
            node_key("main", node.name),
            NodeRecord(who.name, node.machine, 1, shape_digest(pool.document.spec), EARLIER, joined=EARLIER),
        )
        for who, pool in desired.objects.items()
        if who.kind == "NodePool"
        for node in pool.document.spec.nodes
    ]


def _running(size: Size, desired: Desired) -> list[Change]:
    jobs = sorted(
        (each for each in desired.objects.values() if each.id.kind == "Job"), key=lambda each: each.id.name
    )
    free = {
        who.name: list(pool.document.spec.nodes) for who, pool in desired.objects.items() if who.kind == "NodePool"
    }
    changes: list[Change] = []
    start = size.jobs - size.running - size.waiting
    for each in jobs[start : start + size.running]:
        node = free[each.document.spec.pool].pop()
        attempt = Attempt(
            number=1,
            submission_id=f"{each.id.team}.{each.id.name}-{each.digest[:8]}-1",
            digest=each.digest,
            cluster="main",
            epoch=1,
            nodes=(node.name,),
            machine=node.machine,
            intended=EARLIER,
            submitted=EARLIER,
            running=EARLIER,
        )
        record: Record = JobRecord(each.digest, EARLIER, (attempt,))
        changes += [Change(Table.JOBS, str(each.id), record), Change(Table.NUMBERS, str(each.id), 1)]
    # The waiting jobs find no place: whatever is free is busy with work that RayOps does not know.
    return changes


def _observed(ledger: Ledger) -> Observed:
    live = [record.live for record in ledger.jobs.values() if record.live is not None]
    nodes = [
        RayNode(
            f"{number:056x}",
            "10.0.0.1",
            RayNodeState.ALIVE,
            False,
            {"rayops-node": key.partition("/")[2]},
            {"GPU": 8.0},
            {"GPU": 0.0},
        )
        for number, key in enumerate(sorted(ledger.nodes))
    ]
    jobs = {
        each.submission_id: RayJob(each.submission_id, RayJobStatus.RUNNING, "", "", None, "", {}) for each in live
    }
    seen = HeadSeen(SESSION, ray.__version__, True, tuple(nodes), jobs, frozenset(jobs))
    heads: Mapping[str, Sighting[HeadSeen]] = {"main": Present(seen, NOW)}
    attempts = {each.submission_id: Present(AttemptSeen(claimed=True, beat="1"), NOW) for each in live}
    slots = {SlotId("main", Role.HEAD, "head-01"): Present(SlotSeen(SlotState.RUNNING, 1), NOW)}
    return Observed(heads=heads, attempts=attempts, slots=slots)
