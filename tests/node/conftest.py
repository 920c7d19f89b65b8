from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.node.machine import NodeMachine, node_machine


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[NodeMachine]:
    with node_machine(tmp_path) as each:
        yield each
