"""What every machine does with its slots: the fake one, and the node program with a pretended Ray."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.machine_lab import (
    NODES,
    FakeMachineLab,
    MachineLab,
    RealMachineLab,
    becomes,
    state,
    stop,
)
from tests.node.machine import names

ROLES = ("head", "worker")


@pytest.fixture(params=["fake", "node program"])
def lab(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MachineLab]:
    made: MachineLab = FakeMachineLab() if request.param == "fake" else RealMachineLab(tmp_path)
    yield made
    made.close()


def running(lab: MachineLab, role: str, generation: int = 1) -> None:
    """Let a slot run; a worker needs a head that answers."""
    if role == "worker":
        running(lab, "head")
    assert lab.start(role, generation)["ok"]
    becomes(lab, role, "running")


def test_a_head_starts_runs_and_stops_without_leftovers(lab: MachineLab) -> None:
    assert state(lab, "head") == "none"
    assert lab.start("head")["result"]["state"] == "starting"
    becomes(lab, "head", "running")
    assert stop(lab, "head")["result"]["state"] == "stopping"
    becomes(lab, "head", "stopped")
    assert stop(lab, "head")["result"]["state"] == "stopped"


def test_a_worker_joins_only_a_head_that_answers(lab: MachineLab) -> None:
    lab.start("worker", silent_head=True)
    becomes(lab, "worker", "failed")
    running(lab, "worker", 2)


def test_the_same_start_again_is_the_same_slot(lab: MachineLab) -> None:
    running(lab, "head")
    again = lab.start("head")["result"]
    assert (again["state"], again["epoch"], again["generation"]) == ("running", 1, 1)


@pytest.mark.parametrize("generation", [1, 3])
def test_another_generation_is_refused_while_one_lives(lab: MachineLab, generation: int) -> None:
    running(lab, "head", 2)
    assert lab.start("head", generation)["kind"] == "refused"
    assert state(lab, "head") == "running"


@pytest.mark.parametrize("role", ROLES)
def test_a_generation_that_ended_never_comes_back(lab: MachineLab, role: str) -> None:
    running(lab, role, 2)
    stop(lab, role)
    becomes(lab, role, "stopped")
    for late in (1, 2):
        assert lab.start(role, late)["kind"] == "refused"
    assert lab.start(role, 3)["result"]["generation"] == 3


@pytest.mark.parametrize("role", ROLES)
def test_what_is_late_ends_nothing_newer(lab: MachineLab, role: str) -> None:
    running(lab, role, 2)
    assert stop(lab, role, generation=1)["kind"] == "refused"
    assert state(lab, role) == "running"
    stop(lab, role, generation=2)
    becomes(lab, role, "stopped")
    assert lab.ask("clean", names(role, NODES[role], 1), role=role)["kind"] == "refused"


def test_only_a_dead_slot_is_cleaned(lab: MachineLab) -> None:
    running(lab, "head")
    assert lab.ask("clean", names(), role="head")["kind"] == "refused"
    stop(lab, "head")
    becomes(lab, "head", "stopped")
    assert lab.ask("clean", names(), role="head")["result"]["state"] == "none"


@pytest.mark.parametrize("role", ROLES)
def test_the_end_of_a_core_process_fails_the_slot(lab: MachineLab, role: str) -> None:
    running(lab, role)
    lab.kill_ray(role)
    becomes(lab, role, "failed")


@pytest.mark.parametrize("role", ROLES)
def test_without_its_keeper_a_slot_runs_on_and_can_be_stopped(lab: MachineLab, role: str) -> None:
    running(lab, role)
    lab.kill_keeper(role)
    lab.wait(1)
    assert state(lab, role) == "running"
    assert stop(lab, role)["result"]["state"] == "stopped"


def test_a_machine_that_cannot_do_it_says_so_at_once(lab: MachineLab) -> None:
    answer = lab.start("head", rayVersion="2.59.0")
    assert (answer["ok"], answer["kind"]) == (False, "refused")
    assert state(lab, "head") == "none"


def test_an_older_leader_is_refused_and_a_newer_one_remembered(lab: MachineLab) -> None:
    assert lab.ask("probe", {}, term=5)["ok"]
    assert lab.ask("probe", {}, term=4)["kind"] == "refused"
    assert lab.ask("probe", {}, term=6)["ok"]
    assert lab.ask("probe", {}, term=5)["kind"] == "refused"
