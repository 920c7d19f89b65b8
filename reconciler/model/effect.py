"""What the daemon can do to the world: typed values that leave the executor no choice."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeAlias

from reconciler.model.machine import Machine
from reconciler.model.ray import HeadAddress


@dataclass(frozen=True, slots=True)
class StartHead:
    """Start a head on a machine; its gate refuses while an older one lives there."""

    cluster: str
    node: str
    machine: Machine
    epoch: int
    ray_version: str
    python: str
    ports: tuple[int, int, int]
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PublishHead:
    """Write the signed head file and the plain address of a verified head."""

    head: HeadAddress
    epoch: int
    session: str
    ray_version: str


@dataclass(frozen=True, slots=True)
class StartWorker:
    """Start a raylet on a machine and let it join its head."""

    cluster: str
    node: str
    machine: Machine
    epoch: int
    generation: int
    ray_version: str
    python: str
    head: str
    gpus: int
    cpus: int
    memory_bytes: int | None
    labels: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StopSlot:
    """End a head or worker slot: its recorded processes and nothing else, and nothing newer than `generation`."""

    cluster: str
    role: str
    node: str
    machine: Machine
    generation: int
    grace: timedelta


@dataclass(frozen=True, slots=True)
class DrainRayNode:
    """Tell the head that a node leaves."""

    head: HeadAddress
    node: str
    node_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class SubmitAttempt:
    """Write the job directory and hand the attempt to Ray."""

    head: HeadAddress
    submission_id: str
    epoch: int
    nodes: tuple[str, ...]
    argv: tuple[str, ...]
    working_dir: str | None
    env: Mapping[str, str]
    metadata: Mapping[str, str]
    grace: timedelta
    checkpoints: str
    python: str
    spec: str


@dataclass(frozen=True, slots=True)
class StopAttempt:
    """Ask Ray to stop an attempt; its runner gives the job its grace."""

    head: HeadAddress
    submission_id: str


@dataclass(frozen=True, slots=True)
class SweepAttempt:
    """End what is left of an attempt on the machine that claimed it."""

    machine: Machine
    submission_id: str


@dataclass(frozen=True, slots=True)
class BurnClaim:
    """Take the claim of an attempt that nobody has claimed, so that it can never run, however late it starts."""

    submission_id: str


@dataclass(frozen=True, slots=True)
class DeleteRayRecord:
    """Remove the record of an ended attempt from Ray: its list grows with history otherwise."""

    head: HeadAddress
    submission_id: str


@dataclass(frozen=True, slots=True)
class WithdrawHead:
    """Remove the head file of a cluster that is gone for good."""

    cluster: str


# What the gate of a machine does; the others are done by a head, or are files.
MachineEffect: TypeAlias = StartHead | StartWorker | StopSlot | SweepAttempt

Effect: TypeAlias = (
    MachineEffect
    | PublishHead
    | DrainRayNode
    | SubmitAttempt
    | StopAttempt
    | BurnClaim
    | DeleteRayRecord
    | WithdrawHead
)
