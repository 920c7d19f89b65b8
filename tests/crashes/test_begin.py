"""A daemon that is killed at each step from nothing to a cluster in service."""

import os
import signal
from contextlib import suppress

import pytest

from reconciler.model.ray import RayNodeState
from tests.crashes.mortal import NODES, Mortal

pytestmark = pytest.mark.real

FIRST_HEAD = ("lead", "commit", "anchor", "status", "before:StartHead", "settle:StartHead")
SECOND_HEAD = (
    "after:StartHead",
    *("before:PublishHead", "after:PublishHead", "settle:PublishHead"),
    *("before:StartWorker", "after:StartWorker"),
)
THIRD_NODE = ("settle:StartWorker",)
POINTS = (*FIRST_HEAD, *SECOND_HEAD, *THIRD_NODE)


def test_a_daemon_killed_at_each_step_brings_up_one_head_and_each_node_once(site: Mortal) -> None:
    site.down()
    epoch = (site.object("cluster/main") or {"detail": {"epoch": 0}})["detail"]["epoch"]
    site.doom(*FIRST_HEAD)
    site.describe()
    while site.left:
        site.wait_death()
        if site.left:
            site.revive()
    # The machine takes the young head along with the daemon: it has to start another one, and says so.
    while living := site.processes_of(site.slot("head", "head-1")):
        for each in living:
            with suppress(ProcessLookupError):
                os.kill(each.pid, signal.SIGKILL)
    before = site.sessions()
    site.doom(*SECOND_HEAD)
    site.wait_for("cluster/main", "Ready")
    site.wait_for("nodepool/gpu", "Ready")
    site.wait_all_hit()
    assert site.sessions() == before + 1
    assert (site.object("cluster/main") or {})["detail"]["epoch"] == epoch + 2

    site.doom(*THIRD_NODE)
    site.commit("Add a node", site.pool(*NODES, "node-3"))
    site.wait_all_hit()
    site.wait_for("nodepool/gpu", "Ready")
    nodes = site.look().nodes
    # Ray also lists the dead: a node that had been started twice would be there twice.
    assert sorted(node.labels["rayops-node"] for node in nodes) == ["head-1", *NODES, "node-3"]
    assert {node.state for node in nodes} == {RayNodeState.ALIVE}
