from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.node.jobs import Job
from tests.node.machine import NodeMachine, node_machine


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[NodeMachine]:
    with node_machine(tmp_path) as each:
        yield each


@pytest.fixture
def job(machine: NodeMachine) -> Iterator[Job]:
    folder = machine.home / "jobs" / "rl-ppo-0a1b2c3d-1"
    folder.mkdir(parents=True)
    each = Job(folder, machine.program)
    try:
        yield each
    finally:
        each.close()
