"""What people want of machines, and what follows from it for the jobs there, by a reading of its own."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.model.ledger import Ledger
from reconciler.model.plan import Held
from tests.simulator.broken import Broken

if TYPE_CHECKING:
    from tests.simulator.people import Said
    from tests.simulator.world import World

NODES_PER_POOL = 3
# Few, so that people come across the brakes.
BRAKES = {"maxRemovals": 2, "maxRemovalPercent": 10, "maxStops": 2, "maxDrainPercent": 34}


@dataclass(frozen=True, slots=True)
class Pool:
    """One pool as its file says: `nodes` has the host of each, `drains` how many seconds jobs may stay there."""

    cluster: str
    nodes: Mapping[str, str]
    drains: Mapping[str, int | None] = field(default_factory=dict)
    edit: int = 0
    suspended: bool = False

    @property
    def places(self) -> set[tuple[str, str]]:
        """Each of its nodes, with the cluster that it is in."""
        return {(self.cluster, node) for node in self.nodes}


class Grounds:
    """Follows what is in force about pools in one world."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._pools: Mapping[str, Pool] = {}
        # Pools to which nothing is done, or to whose cluster nothing is.
        self._frozen: frozenset[str] = frozenset()
        # By node: since when it is under drain.
        self._since: dict[str, float] = {}
        # By digest: the nodes that a brake held.
        self._offered: dict[str, frozenset[str]] = {}
        self._approvals: tuple[str, ...] = ()
        # Workers that are to end, by their ledger keys.
        self._ending: frozenset[str] = frozenset()

    def served(self, said: "Said") -> None:
        """Hear that the daemon was given a revision."""
        self._pools, self._frozen, self._approvals = said.pools, said.frozen, said.approvals
        now = self._world.seconds
        self._since = {node: self._since.get(node, now) for pool in self._pools.values() for node in pool.drains}

    def offered(self, held: Iterable[Held]) -> None:
        """Hear what a brake holds, and under which digest."""
        for each in held:
            if each.brake.startswith("drains-"):
                self._offered[each.digest] = frozenset(each.what)

    def are_drained(self, nodes: Iterable[str]) -> bool:
        """Say whether any of these nodes is under drain."""
        return bool(self._since.keys() & {*nodes})

    def are_held(self, nodes: Iterable[str]) -> bool:
        """Say whether a brake is to keep any of these nodes from leaving."""
        return any(self._is_held(name, pool) for name, pool in self._with(nodes))

    def are_overdue(self, nodes: Iterable[str]) -> bool:
        """Say whether what runs on these nodes is to end for a drain, by now."""
        nodes = {*nodes}
        return any(
            self._is_overdue(node, pool.drains[node])
            for name, pool in self._with(nodes)
            if name not in self._frozen and not self._is_held(name, pool)
            for node in nodes & pool.drains.keys()
        )

    def _with(self, nodes: Iterable[str]) -> Iterator[tuple[str, Pool]]:
        wanted = {*nodes}
        yield from ((name, pool) for name, pool in self._pools.items() if wanted & pool.drains.keys())

    def _is_overdue(self, node: str, after: int | None) -> bool:
        return after is not None and self._world.seconds >= self._since[node] + after

    def _is_held(self, name: str, pool: Pool) -> bool:
        """Say whether more of a pool is drained than its share; an approval may name nodes that left as well."""
        ledger = self._world.daemon.ledger if self._world.daemon is not None else None
        records = ledger.nodes.items() if ledger is not None else ()
        left = {key.partition("/")[2] for key, record in records if record.pool == name} - pool.nodes.keys()
        share = (len(pool.nodes) + len(left)) * BRAKES["maxDrainPercent"] // 100
        if len(pool.drains) <= max(1, share):
            return False
        return not any(pool.drains.keys() <= self._offered.get(digest, frozenset()) for digest in self._approvals)

    def judge(self, ledger: Ledger) -> None:
        """I34: judge which workers the daemon has newly written down that it will end."""
        stopping = frozenset(key for key, record in ledger.nodes.items() if record.stopping is not None)
        for key in sorted(stopping - self._ending):
            cluster, _, node = key.partition("/")
            if any(pool.cluster == cluster and self._is_held(name, pool) for name, pool in self._with([node])):
                raise Broken("I34", f"more nodes leave than may without approval, and {node} of {cluster} is one")
        self._ending = stopping

    def judge_place(self, submission_id: str, pool: str, cluster: str, nodes: tuple[str, ...]) -> None:
        """I8: an attempt is given nodes that its pool has."""
        if not {(cluster, node) for node in nodes} <= self._pools[pool].places:
            raise Broken("I8", f"{submission_id} is for {pool} and is given {', '.join(nodes)} of {cluster}")
