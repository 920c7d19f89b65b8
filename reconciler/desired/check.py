"""What no single file can know: whether the objects fit together. Linear in the number of objects."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from reconciler.desired.explain import nearest
from reconciler.model.cluster import Cluster
from reconciler.model.desired import Loaded
from reconciler.model.ids import ObjectId
from reconciler.model.job import Job
from reconciler.model.nodepool import Node, NodePool
from reconciler.model.team import Team
from reconciler.model.user import User

# Looking for the nearest name among many costs more than all other checks; after a mistake in a template, the
# first few hints tell it all.
MAX_HINTS = 20
MAX_CANDIDATES = 500

Problem = tuple[ObjectId, str]


def problems(objects: Mapping[ObjectId, Loaded]) -> Mapping[ObjectId, tuple[str, ...]]:
    """Return for each object that does not fit the others what is wrong with it."""
    site = _Site.of(objects)
    found: dict[ObjectId, set[str]] = defaultdict(set)
    for who, what in _all(site):
        found[who].add(what)
    return {who: tuple(sorted(found[who])) for who in sorted(found)}


@dataclass
class _Site:
    """All documents by kind, in the shapes that the checks ask for."""

    teams: dict[str, Team] = field(default_factory=dict)
    members: dict[str, frozenset[str]] = field(default_factory=dict)
    users: dict[str, User] = field(default_factory=dict)
    clusters: dict[str, Cluster] = field(default_factory=dict)
    pools: dict[str, NodePool] = field(default_factory=dict)
    jobs: dict[ObjectId, Job] = field(default_factory=dict)
    hints_left: int = MAX_HINTS

    @classmethod
    def of(cls, objects: Mapping[ObjectId, Loaded]) -> "_Site":
        site = cls()
        shelves: dict[str, dict[str, Any]] = {
            "Team": site.teams,
            "User": site.users,
            "Cluster": site.clusters,
            "NodePool": site.pools,
        }
        for who, loaded in objects.items():
            if who.kind == "Job":
                site.jobs[who] = loaded.document
            elif who.kind in shelves:
                shelves[who.kind][who.name] = loaded.document
        site.members = {name: frozenset(team.spec.members) for name, team in site.teams.items()}
        return site

    def unknown(self, kind: str, name: str, known: Iterable[str]) -> str:
        """Return the problem of a name that nobody has."""
        hint = ""
        if self.hints_left > 0:
            self.hints_left -= 1
            hint = nearest(name, islice(known, MAX_CANDIDATES))
        return f"there is no {kind} {name}" + (f" ({hint})" if hint else "")


def _all(site: _Site) -> Iterator[Problem]:
    for name, team in site.teams.items():
        yield from ((ObjectId("Team", "", name), what) for what in _team(site, team))
    for name, pool in site.pools.items():
        yield from ((ObjectId("NodePool", "", name), what) for what in _pool(site, pool))
    yield from _names_of_machines(site)
    yield from _machines_taken_twice(site)
    yield from _heads_in_one_place(site)
    for who, job in site.jobs.items():
        yield from _job(site, who, job)
    yield from _circles(site)


def _team(site: _Site, team: Team) -> Iterator[str]:
    for member in team.spec.members:
        if member not in site.users:
            yield site.unknown("user", member, site.users)
    for quota in team.spec.quota:
        if quota.pool not in site.pools:
            yield site.unknown("pool", quota.pool, site.pools)


def _pool(site: _Site, pool: NodePool) -> Iterator[str]:
    if pool.spec.cluster not in site.clusters:
        yield site.unknown("cluster", pool.spec.cluster, site.clusters)
    names = {node.name for node in pool.spec.nodes}
    for drain in pool.spec.drain:
        if drain.node not in names:
            yield site.unknown("node", drain.node, names)


def _job(site: _Site, who: ObjectId, job: Job) -> Iterator[Problem]:
    spec = job.spec
    if (members := site.members.get(who.team)) is None:
        yield who, site.unknown("team", who.team, site.teams)
    elif spec.user not in members:
        yield who, f"user {spec.user} is not a member of team {who.team}"
    if spec.user not in site.users:
        yield who, site.unknown("user", spec.user, site.users)
    if (pool := site.pools.get(spec.pool)) is None:
        yield who, site.unknown("pool", spec.pool, site.pools)
    else:
        yield from ((who, what) for what in _too_large(job, pool))
    for reference in spec.depends_on:
        if _dependency(who, reference) not in site.jobs:
            yield who, site.unknown("job", reference, (known.name for known in site.jobs if known.team == who.team))


def _too_large(job: Job, pool: NodePool) -> Iterator[str]:
    wanted, name = job.spec.resources, pool.metadata.name
    if wanted.nodes > len(pool.spec.nodes):
        yield f"it wants {wanted.nodes} nodes, pool {name} has {len(pool.spec.nodes)}"
    if wanted.gpus_per_node > pool.spec.per_node.gpus:
        yield f"it wants {wanted.gpus_per_node} GPUs per node, pool {name} has {pool.spec.per_node.gpus}"


def _nodes(site: _Site) -> Iterator[tuple[ObjectId, str, str, Node]]:
    """Give each node with its owner, its cluster and its role."""
    for name, cluster in site.clusters.items():
        for node in cluster.spec.head.candidates:
            yield ObjectId("Cluster", "", name), name, "head", node
    for name, pool in site.pools.items():
        for node in pool.spec.nodes:
            yield ObjectId("NodePool", "", name), pool.spec.cluster, "worker", node


def _names_of_machines(site: _Site) -> Iterator[Problem]:
    """Find names that stand for two machines: status and labels could not tell them apart."""
    by_name: dict[str, list[tuple[ObjectId, Node]]] = defaultdict(list)
    for owner, _, _, node in _nodes(site):
        by_name[node.name].append((owner, node))
    for name, uses in by_name.items():
        if len({node.machine for _, node in uses}) > 1:
            yield from ((owner, f"node name {name} stands for two machines") for owner, _ in uses)


def _machines_taken_twice(site: _Site) -> Iterator[Problem]:
    """Find machines with the same role twice in one cluster: their GPUs would be given out twice."""
    by_place: dict[tuple[str, ...], list[tuple[ObjectId, str]]] = defaultdict(list)
    for owner, cluster, role, node in _nodes(site):
        by_place[cluster, role, "name", node.name].append((owner, f"node {node.name}"))
        if not _is_loopback(node.host):
            by_place[cluster, role, node.host, str(node.port)].append((owner, f"the machine of node {node.name}"))
    for (cluster, role, *_), uses in by_place.items():
        if len(uses) > 1:
            yield from ((owner, f"{what} is there twice as {role} of cluster {cluster}") for owner, what in uses)


def _is_loopback(host: str) -> bool:
    # Try-outs pretend to have several machines on one.
    return host in {"localhost", "::1"} or host.startswith("127.")


def _heads_in_one_place(site: _Site) -> Iterator[Problem]:
    """Find clusters that want the same port of the same machine for their heads."""
    by_port: dict[tuple[str, int], set[str]] = defaultdict(set)
    for name, cluster in site.clusters.items():
        ports = cluster.spec.head.ports
        for node in cluster.spec.head.candidates:
            for port in (ports.gcs, ports.dashboard, ports.client):
                by_port[node.host, port].add(name)
    for (host, port), names in by_port.items():
        if len(names) == 1:
            continue
        first, second, *_ = sorted(names)
        for name in names:
            other = second if name == first else first
            yield (
                ObjectId("Cluster", "", name),
                f"its head wants {host} port {port}, as that of cluster {other} does",
            )


def _dependency(who: ObjectId, reference: str) -> ObjectId:
    team, _, name = reference.rpartition("/")
    return ObjectId("Job", team or who.team, name)


def _circles(site: _Site) -> Iterator[Problem]:
    """Find jobs that wait for a circle: what is left when all jobs that could ever start are taken away."""
    waits = {
        who: {need for name in job.spec.depends_on if (need := _dependency(who, name)) in site.jobs}
        for who, job in site.jobs.items()
        if job.spec.depends_on
    }
    followers: dict[ObjectId, list[ObjectId]] = defaultdict(list)
    for who, needs in waits.items():
        for need in needs:
            followers[need].append(who)
    startable = [who for who in followers if who not in waits] + [who for who, needs in waits.items() if not needs]
    while startable:
        done = startable.pop()
        for follower in followers.get(done, ()):
            waits[follower].discard(done)
            if not waits[follower]:
                startable.append(follower)
    for who, needs in waits.items():
        if needs:
            yield who, f"it waits for itself or for a circle of jobs: {min(needs)}"
