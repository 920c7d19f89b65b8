"""A daemon that is killed at each step of taking nodes and a cluster out of service: all of it goes, in order."""

from functools import partial

import pytest

from tests.crashes.mortal import NODES, Mortal

pytestmark = pytest.mark.real

# Telling Ray that a node leaves is tried once: a node that was not told of is ended all the same.
DRAINS = (
    ("before:DrainRayNode", "before:StopSlot", "after:StopSlot"),
    ("after:DrainRayNode", "settle:StopSlot"),
    ("settle:DrainRayNode",),
)
WITHDRAWAL = ("before:WithdrawHead", "after:WithdrawHead", "settle:WithdrawHead")
POINTS = (*(point for points in DRAINS for point in points), *WITHDRAWAL)


def test_nodes_drain_and_their_cluster_goes_with_a_daemon_killed_at_each_step(site: Mortal) -> None:
    site.up()
    nodes = (*NODES, "node-3")
    site.commit("Have a third node", site.pool(*nodes))
    site.wait_for("nodepool/gpu", "Ready")
    sessions = site.sessions()
    for count, points in enumerate(DRAINS, start=1):
        site.doom(*points)
        # Before its first look at the head a daemon ends an idle node without a word to Ray.
        site.wait_awake()
        site.commit("Drain one more", site.pool(*nodes, drain=nodes[:count]))
        site.wait(partial(are, site, ["offline"] * count + ["online"] * (3 - count)), "one more is drained")
        site.wait_all_hit()
    for name in nodes:
        assert not site.processes_of(site.slot("worker", name))
    assert site.sessions() == sessions

    head = site.slot("head", "head-1")
    published = site.shared / ".rayops/clusters/main"
    assert site.processes_of(head)
    assert (published / "head.json").exists()
    site.doom(*WITHDRAWAL)
    site.take_down()
    site.wait_gone("cluster/main")
    site.wait_all_hit()
    assert not site.processes_of(head)
    assert not list(published.iterdir())


def are(site: Mortal, states: list[str]) -> bool:
    """Say whether the nodes of the pool have these states."""
    pool = site.object("nodepool/gpu")
    return pool is not None and [row["state"] for row in pool["detail"]["nodes"]] == states
