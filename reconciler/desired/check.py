"""What no single file can know: whether the objects fit together.

The whole is linear in the number of objects. After a change of jobs only, these jobs and those that wait for jobs
are looked at again, and nothing else.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
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


@dataclass(frozen=True, slots=True, order=True)
class Misfit:
    """What is wrong with an object. `wanted` is a name that is not on the `shelf` where it should be, if any."""

    text: str
    shelf: str = ""
    wanted: str = ""


Found = tuple[ObjectId, Misfit]


def problems(objects: Mapping[ObjectId, Loaded]) -> Mapping[ObjectId, tuple[str, ...]]:
    """Return for each object that does not fit the others what is wrong with it."""
    return Checks().update(objects, objects)


class Checks:
    """The problems of one set of objects after the other."""

    def __init__(self) -> None:
        self._site: _Site | None = None
        self._of_site: list[Found] = []
        self._of_jobs: dict[ObjectId, tuple[Misfit, ...]] = {}

    def update(
        self, objects: Mapping[ObjectId, Loaded], touched: Collection[ObjectId]
    ) -> Mapping[ObjectId, tuple[str, ...]]:
        """Return the problems of `objects`, of which only the `touched` ones differ from those of the last call."""
        site = self._site
        if site is None or any(who.kind != "Job" for who in touched):
            site = self._site = _Site.of(objects)
            self._of_site = list(_all_but_jobs(site))
            self._of_jobs = {who: misfits for who, job in site.jobs.items() if (misfits := _job(site, who, job))}
            return self._in_words(site)
        # A job that came or went matters to those that wait for it.
        for who in {*touched, *site.take(objects, touched)}:
            job = site.jobs.get(who)
            if job is not None and (misfits := _job(site, who, job)):
                self._of_jobs[who] = misfits
            else:
                self._of_jobs.pop(who, None)
        return self._in_words(site)

    def _in_words(self, site: "_Site") -> Mapping[ObjectId, tuple[str, ...]]:
        by_object: dict[ObjectId, set[Misfit]] = defaultdict(set)
        for who, misfit in (*self._of_site, *_circles(site)):
            by_object[who].add(misfit)
        for who, misfits in self._of_jobs.items():
            by_object[who].update(misfits)
        hints_left = MAX_HINTS
        found = {}
        for who in sorted(by_object):
            texts = []
            for misfit in sorted(by_object[who]):
                hint = nearest(misfit.wanted, site.names(misfit.shelf)) if misfit.shelf and hints_left else ""
                hints_left -= bool(misfit.shelf and hints_left)
                texts.append(f"{misfit.text} ({hint})" if hint else misfit.text)
            found[who] = tuple(texts)
        return found


@dataclass
class _Site:
    """All documents by kind, in the shapes that the checks ask for."""

    teams: dict[str, Team] = field(default_factory=dict)
    members: dict[str, frozenset[str]] = field(default_factory=dict)
    users: dict[str, User] = field(default_factory=dict)
    clusters: dict[str, Cluster] = field(default_factory=dict)
    pools: dict[str, NodePool] = field(default_factory=dict)
    jobs: dict[ObjectId, Job] = field(default_factory=dict)
    waiting: dict[ObjectId, Job] = field(default_factory=dict)  # the jobs that depend on others
    # What is wrong with a job of this team, user, pool and size: thousands of jobs share a few of these.
    places: dict[tuple[str, str, str, int, int], tuple[Misfit, ...]] = field(default_factory=dict)

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
            if who.kind in shelves:
                shelves[who.kind][who.name] = loaded.document
        site.jobs = {who: loaded.document for who, loaded in objects.items() if who.kind == "Job"}
        site.waiting = {who: job for who, job in site.jobs.items() if job.spec.depends_on}
        site.members = {name: frozenset(team.spec.members) for name, team in site.teams.items()}
        return site

    def take(self, objects: Mapping[ObjectId, Loaded], touched: Iterable[ObjectId]) -> Collection[ObjectId]:
        """Take in jobs as they are now, and return those to look at again because others came or went."""
        is_other_set = False
        for who in touched:
            loaded = objects.get(who)
            is_other_set = is_other_set or (loaded is None) is (who in self.jobs)
            self.waiting.pop(who, None)
            if loaded is None:
                self.jobs.pop(who, None)
                continue
            job = self.jobs[who] = loaded.document
            if job.spec.depends_on:
                self.waiting[who] = job
        return self.waiting.keys() if is_other_set else ()

    def names(self, shelf: str) -> list[str]:
        """Return the names on a shelf: a kind, `job/<team>` or `node/<pool>`; at most what is worth comparing."""
        kind, _, owner = shelf.partition("/")
        if kind == "job":
            known: Iterable[str] = (who.name for who in self.jobs if who.team == owner)
        elif kind == "node":
            known = (node.name for node in self.pools[owner].spec.nodes)
        else:
            shelves: dict[str, Iterable[str]] = {"team": self.teams, "user": self.users, "pool": self.pools}
            known = shelves.get(kind, self.clusters)
        return sorted(known)[:MAX_CANDIDATES]


def _unknown(kind: str, name: str, owner: str = "") -> Misfit:
    return Misfit(f"there is no {kind} {name}", f"{kind}/{owner}", name)


def _all_but_jobs(site: _Site) -> Iterator[Found]:
    for name, team in site.teams.items():
        yield from ((ObjectId("Team", "", name), misfit) for misfit in _team(site, team))
    for name, pool in site.pools.items():
        yield from ((ObjectId("NodePool", "", name), misfit) for misfit in _pool(site, pool))
    yield from _names_of_machines(site)
    yield from _machines_taken_twice(site)
    yield from _heads_in_one_place(site)


def _team(site: _Site, team: Team) -> Iterator[Misfit]:
    for member in team.spec.members:
        if member not in site.users:
            yield _unknown("user", member)
    for quota in team.spec.quota:
        if quota.pool not in site.pools:
            yield _unknown("pool", quota.pool)


def _pool(site: _Site, pool: NodePool) -> Iterator[Misfit]:
    if pool.spec.cluster not in site.clusters:
        yield _unknown("cluster", pool.spec.cluster)
    names = {node.name for node in pool.spec.nodes}
    for drain in pool.spec.drain:
        if drain.node not in names:
            yield _unknown("node", drain.node, pool.metadata.name)


def _job(site: _Site, who: ObjectId, job: Job) -> tuple[Misfit, ...]:
    spec, size = job.spec, job.spec.resources
    place = (who.team, spec.user, spec.pool, size.nodes, size.gpus_per_node)
    if (misfits := site.places.get(place)) is None:
        misfits = site.places[place] = tuple(_place(site, *place))
    if not spec.depends_on:
        return misfits
    unknown = [name for name in spec.depends_on if _dependency(who, name) not in site.jobs]
    return (*misfits, *(_unknown("job", name, who.team) for name in unknown))


def _place(site: _Site, team: str, user: str, pool: str, nodes: int, gpus: int) -> Iterator[Misfit]:
    if (members := site.members.get(team)) is None:
        yield _unknown("team", team)
    elif user not in members:
        yield Misfit(f"user {user} is not a member of team {team}")
    if user not in site.users:
        yield _unknown("user", user)
    if (found := site.pools.get(pool)) is None:
        yield _unknown("pool", pool)
        return
    has = found.spec
    if nodes > len(has.nodes):
        yield Misfit(f"it wants {nodes} nodes, pool {pool} has {len(has.nodes)}")
    if gpus > has.per_node.gpus:
        yield Misfit(f"it wants {gpus} GPUs per node, pool {pool} has {has.per_node.gpus}")


def _nodes(site: _Site) -> Iterator[tuple[ObjectId, str, str, Node]]:
    """Give each node with its owner, its cluster and its role."""
    for name, cluster in site.clusters.items():
        for node in cluster.spec.head.candidates:
            yield ObjectId("Cluster", "", name), name, "head", node
    for name, pool in site.pools.items():
        for node in pool.spec.nodes:
            yield ObjectId("NodePool", "", name), pool.spec.cluster, "worker", node


def _names_of_machines(site: _Site) -> Iterator[Found]:
    """Find names that stand for two machines: status and labels could not tell them apart."""
    by_name: dict[str, list[tuple[ObjectId, Node]]] = defaultdict(list)
    for owner, _, _, node in _nodes(site):
        by_name[node.name].append((owner, node))
    for name, uses in by_name.items():
        if len({node.machine for _, node in uses}) > 1:
            yield from ((owner, Misfit(f"node name {name} stands for two machines")) for owner, _ in uses)


def _machines_taken_twice(site: _Site) -> Iterator[Found]:
    """Find workers of one name or machine, whose GPUs would be given out twice, and such heads of one cluster."""
    by_place: dict[tuple[str, str, str], list[tuple[ObjectId, str, str]]] = defaultdict(list)
    for owner, cluster, role, node in _nodes(site):
        # A machine may have the heads of several clusters, if they want ports of their own.
        within = cluster if role == "head" else ""
        by_place[within, role, node.name].append((owner, cluster, f"node {node.name}"))
        if (place := node.machine.place(node.name)) != node.name:
            by_place[within, role, place].append((owner, cluster, f"the machine of node {node.name}"))
    for (_, role, _), uses in by_place.items():
        if len(uses) > 1:
            clusters = sorted({cluster for _, cluster, _ in uses})
            where = f"cluster{'s' if len(clusters) > 1 else ''} {' and '.join(clusters)}"
            yield from ((owner, Misfit(f"{what} is there twice as {role} of {where}")) for owner, _, what in uses)


def _heads_in_one_place(site: _Site) -> Iterator[Found]:
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
                Misfit(f"its head wants {host} port {port}, as that of cluster {other} does"),
            )


def _dependency(who: ObjectId, reference: str) -> ObjectId:
    team, _, name = reference.rpartition("/")
    return ObjectId("Job", team or who.team, name)


def _circles(site: _Site) -> Iterator[Found]:
    """Find jobs that wait for a circle: what is left when all jobs that could ever start are taken away."""
    waits = {
        who: {need for name in job.spec.depends_on if (need := _dependency(who, name)) in site.jobs}
        for who, job in site.waiting.items()
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
            yield who, Misfit(f"it waits for itself or for a circle of jobs: {min(needs)}")
