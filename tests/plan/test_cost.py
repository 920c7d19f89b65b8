"""The cost of a plan grows with the number of objects and no faster: counted in calls, without a clock."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from reconciler.kinds import ALL
from reconciler.model.world import World
from tests.calls import calls_of
from tests.kinds.desired_words import desired_of
from tests.kinds.ledger_words import ledger_of
from tests.kinds.moments import NOW
from tests.kinds.observed_words import observed_of
from tests.promises.plans import planned


def site(size: int, *, drained: bool = False) -> World:
    """Return a site with `size` nodes in pools of 10, and ten waiting jobs for each node."""
    nodes = {pool: [f"n{pool}-{i}" for i in range(10)] for pool in range(size // 10)}
    drain = {pool: [{"node": node, "after": "1h"} for node in names[:3]] for pool, names in nodes.items()}
    desired: dict[str, Any] = {"cluster/main": {"maxRunningJobs": 10_000}}
    ledger: dict[str, Any] = {"cluster/main": "running"}
    for pool, names in nodes.items():
        desired[f"nodepool/p{pool}"] = {"nodes": names, "drain": drain[pool] if drained else []}
        ledger |= {f"node/main/{name}": {"is": "joined", "pool": f"p{pool}"} for name in names}
    for number in range(size * 10):
        desired[f"job/t{number % 7}/j{number}"] = {"pool": f"p{number % len(nodes)}"}
        ledger[f"job/t{number % 7}/j{number}"] = "queued"
    wanted = desired_of(desired)
    remembered = ledger_of(ledger, wanted)
    return World(wanted, observed_of({"head/main": "answers"}, remembered), remembered, NOW)


def busy(size: int) -> World:
    """Return a site where an attempt runs on each node, and some nodes are under drain."""
    before, world = site(size), site(size, drained=True)
    actions = planned(before).actions
    assert len(actions) == size
    ledger = before.ledger.apply(change for action in actions for change in action.before)
    return replace(world, ledger=ledger, observed=observed_of({"head/main": "answers"}, ledger))


@pytest.mark.parametrize("of_size", [site, busy])
def test_twice_as_much_costs_twice_as_much(of_size: Callable[[int], World]) -> None:
    small, large = (_calls(of_size(size)) for size in (50, 100))
    # Sorting adds its logarithm.
    assert large < small * 2.3


@pytest.mark.parametrize("of_size", [site, busy])
def test_status_costs_no_more_than_its_objects(of_size: Callable[[int], World]) -> None:
    small, large = (calls_of(partial(_statuses, of_size(size))) for size in (50, 100))
    assert large < small * 2.3


def _statuses(world: World) -> int:
    plan = planned(world)
    return sum(1 for kind in ALL for _ in kind.status(world, plan))


def _calls(world: World) -> int:
    return calls_of(lambda: planned(world))
