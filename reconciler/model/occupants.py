"""Which worker has which machine: a machine's GPUs belong to one worker, whatever its name and its cluster."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from reconciler.model.derived import Grouped
from reconciler.model.ledger import NodeRecord, node_key
from reconciler.model.nodepool import Node
from reconciler.model.views import live_attempts
from reconciler.model.world import World


@dataclass(frozen=True, slots=True)
class Occupant:
    """A worker that has a machine, and the submission that runs there, if any."""

    cluster: str
    node: str
    job: str | None = None

    @property
    def key(self) -> str:
        """The ledger key of this worker."""
        return node_key(self.cluster, self.node)

    def told(self, name: str) -> str:
        """Return whom this worker serves, for readers who know the machine as that of node `name`."""
        other, job = f" as {self.node}" if self.node != name else "", f" for {self.job}" if self.job else ""
        return f"cluster {self.cluster}{other}{job}"


def workers(world: World) -> Mapping[str, tuple[str, ...]]:
    """Return by machine the ledger keys of the workers that are there, or may be; mostly there is one."""
    return _WORKERS.of(world.ledger.nodes)


_WORKERS: Grouped[str, NodeRecord, str, tuple[str, ...]] = Grouped(
    lambda key, record: record.machine.place(key.partition("/")[2]), tuple
)


def strays(world: World) -> dict[str, Occupant]:
    """Return what attempts hold without a worker in the ledger, as after a recovery, by machine and by node name.

    An attempt tells the machine of its first node only; node names are unique on the site.
    """
    found: dict[str, Occupant] = {}
    for _, _, attempt in live_attempts(world.ledger):
        for node in attempt.nodes:
            each = Occupant(attempt.cluster, node, attempt.submission_id)
            if each.key not in world.ledger.nodes:
                found[node] = each
                if node == attempt.nodes[0]:
                    found[attempt.machine.place(node)] = each
    return found


@dataclass(frozen=True, slots=True)
class Occupants:
    """Who has which machine in one pass."""

    nodes: Mapping[str, NodeRecord]
    workers: Mapping[str, tuple[str, ...]]
    strays: Mapping[str, Occupant]
    held: Mapping[str, Mapping[str, str]]

    @classmethod
    def of(cls, world: World, held: Mapping[str, Mapping[str, str]]) -> "Occupants":
        """Read a world; `held` are its `holders`."""
        return cls(world.ledger.nodes, workers(world), strays(world), held)

    def beside(self, cluster: str, nodes: Iterable[Node]) -> dict[str, Occupant]:
        """Return by name who else has the machine of a node that is not started in this cluster."""
        idle = [node for node in nodes if node_key(cluster, node.name) not in self.nodes]
        return {node.name: each for node in idle if (each := self._beside(cluster, node)) is not None}

    def _beside(self, cluster: str, node: Node) -> Occupant | None:
        own, place = node_key(cluster, node.name), node.machine.place(node.name)
        for key in self.workers.get(place, ()):
            if key != own:
                of_cluster, _, name = key.partition("/")
                return Occupant(of_cluster, name, self.held.get(of_cluster, {}).get(name))
        found = (self.strays.get(place), self.strays.get(node.name))
        return next((each for each in found if each is not None and each.key != own), None)
