"""The parts of a machine without processes: the machine itself, and a slot on it."""

from dataclasses import dataclass, field

from reconciler.model.machine import Machine
from reconciler.node.orders import HEAD, Order
from tests.fakes.job_runner import Place
from tests.fakes.ray_world import Head, Node

ALIVE = frozenset({"starting", "running", "stopping"})


@dataclass(slots=True)
class Slot:
    """One Ray role of one cluster on a machine; `keeper` says whether its keeper lives."""

    role: str
    cluster: str
    node: str
    order: Order
    state: str = "starting"
    message: str = ""
    keeper: bool = True
    head: Head | None = None
    raylet: Node | None = None

    @property
    def running(self) -> bool:
        """Whether Ray's own processes live."""
        if self.role == HEAD:
            return self.head is not None and self.head.alive
        return self.raylet is not None and self.raylet.running


@dataclass(slots=True)
class FakeMachine:
    """One machine in its present boot."""

    machine: Machine
    ray_version: str = "2.60.0"
    boots: int = 1
    known_boots: set[str] = field(default_factory=set)
    terms: dict[str, int] = field(default_factory=dict)
    slots: dict[tuple[str, str, str, str], Slot] = field(default_factory=dict)
    failing_starts: int = 0

    @property
    def place(self) -> Place:
        """The machine and its boot, as claims name them."""
        return Place(self.machine.host, f"{self.machine.host}-boot-{self.boots}")
