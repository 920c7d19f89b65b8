"""Shares: how much one plan may take away before it needs an approval, and which drains wait for one."""

from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.model.derived import Grouped
from reconciler.model.ids import ObjectId
from reconciler.model.json import digest
from reconciler.model.ledger import NodeRecord
from reconciler.model.plan import Because, Reason, Weight
from reconciler.model.site import Brakes, Site
from reconciler.model.views import frozen_because, known_key, node_names, pool_of
from reconciler.model.world import World

_SITE = ObjectId("Site", "", "site")
_STRICTEST = Brakes(max_removals=0, max_removal_percent=0, max_stops=0, max_drain_percent=0)


@dataclass(frozen=True, slots=True)
class Load:
    """What one brake weighs: `what` names it in words that stay the same while it waits."""

    brake: str
    what: tuple[str, ...]
    targets: tuple[ObjectId, ...]
    weight: Weight
    allowed: int
    text: str

    @property
    def digest(self) -> str:
        """What an approval names: which brake, and exactly what."""
        return digest([self.brake, *self.what])

    @property
    def because(self) -> Because:
        """Why it is held, and what lets it pass."""
        text = f"{self.text}; to let it pass, approve {self.digest}"
        return Because(Reason.HELD_BY_BRAKE, text, (("digest", self.digest),))


@dataclass(frozen=True, slots=True)
class Shares:
    """What the site allows, and what it has approved."""

    brakes: Brakes
    approved: frozenset[str]

    @classmethod
    def of(cls, world: World) -> "Shares":
        """Read the site: without one there are the usual brakes."""
        site = world.desired.objects.get(_SITE)
        if site is not None and isinstance(site.document, Site):
            spec = site.document.spec
            return cls(spec.brakes, frozenset(approval.plan for approval in spec.approvals))
        # The strictest while the site has some of its own and nobody can say which.
        is_hidden = world.desired.hides(_SITE) and not released(world, _SITE)
        return cls(_STRICTEST if is_hidden else Brakes(), frozenset())

    def hold(self, load: Load) -> bool:
        """Say whether a load is more than allowed, and nobody approved it."""
        return len(load.what) > load.allowed and load.digest not in self.approved


def released(world: World, identity: ObjectId) -> bool:
    """Say whether an object that left the repo may go: the brakes have let it, or nobody remembers it."""
    known = world.ledger.known.get(known_key(identity))
    return known is None or known.released


def held_drains(world: World) -> dict[str, Load]:
    """Return by pool the drains that wait for an approval: none of their nodes leaves, and no job stops for them.

    A pool is weighed as a whole, whatever of it can be done now; once all that leaves is out of service, or while
    nothing is done to the pool, there is nothing to hold.
    """
    shares, remembered = Shares.of(world), _REMEMBERED.of(world.ledger.nodes)
    held = {}
    for name, nodes in sorted(node_names(world).items()):
        there, pool = remembered.get(name, frozenset()), pool_of(world, name)
        if pool is None or not there or (not pool.spec.drain and there <= nodes):
            continue
        leaving = {drain.node for drain in pool.spec.drain} | (there - nodes)
        load = _drains(ObjectId("NodePool", "", name), leaving, len(nodes | there), shares.brakes)
        if shares.hold(load) and leaving & there and frozen_because(world, load.targets[0]) is None:
            held[name] = load
    return held


def _drains(pool: ObjectId, leaving: set[str], total: int, brakes: Brakes) -> Load:
    allowed = max(1, total * brakes.max_drain_percent // 100)
    text = f"{len(leaving)} of {total} nodes of {pool.name} leave and at most {allowed} do without approval"
    return Load(f"drains-{pool.name}", tuple(sorted(leaving)), (pool,), Weight.DRAINS, allowed, text)


_REMEMBERED: Grouped[str, NodeRecord, str, frozenset[str]] = Grouped(
    lambda _, record: record.pool, lambda records: frozenset(key.partition("/")[2] for key in records)
)


def no_stops(world: World, pool: ObjectId, cluster: str, held: Mapping[str, Load]) -> Because | None:
    """Say why no job of a pool is stopped for a drain now, if so: nothing is done to it, or its drains are held."""
    if (frozen := frozen_because(world, pool)) is not None:
        return frozen
    if (frozen := frozen_because(world, ObjectId("Cluster", "", cluster))) is not None:
        return Because(frozen.reason, f"cluster {cluster}: {frozen.text}")
    return held[pool.name].because if pool.name in held else None
