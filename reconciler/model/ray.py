"""What Ray says about itself: heads, nodes and jobs. Texts in here are hostile input."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

NODE_LABEL = "rayops-node"


@dataclass(frozen=True, slots=True)
class HeadAddress:
    """How to reach the head of `cluster`. The token is the door's business, never part of a value."""

    cluster: str
    host: str
    gcs_port: int
    dashboard_port: int
    client_port: int


class RayNodeState(StrEnum):
    """The life of a raylet as its head sees it."""

    ALIVE = "alive"
    DRAINING = "draining"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class RayNode:
    """One raylet. `labels[NODE_LABEL]` names our node; amounts are Ray's own (CPU, GPU, memory in bytes)."""

    node_id: str
    address: str
    state: RayNodeState
    is_head: bool
    labels: Mapping[str, str]
    total: Mapping[str, float]
    available: Mapping[str, float]


class RayJobStatus(StrEnum):
    """Ray's words for a submitted job (Jobs API, JobStatus)."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    STOPPED = "STOPPED"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"

    @property
    def ended(self) -> bool:
        """Whether Ray will never change this status again."""
        return self in {RayJobStatus.STOPPED, RayJobStatus.SUCCEEDED, RayJobStatus.FAILED}


@dataclass(frozen=True, slots=True)
class RayJob:
    """One job record. `message` is cut to a few thousand characters and stripped of control codes."""

    submission_id: str
    status: RayJobStatus
    message: str = ""
    error_type: str = ""
    exit_code: int | None = None
    node_id: str = ""
    metadata: Mapping[str, str] | None = None


@dataclass(frozen=True)
class HeadSeen:
    """One look at a head: `jobs` holds the `asked` ids that Ray knows; any other asked id is proven absent."""

    session: str
    ray_version: str
    token_required: bool
    nodes: tuple[RayNode, ...]
    jobs: Mapping[str, RayJob]
    asked: frozenset[str] = frozenset()

    @cached_property
    def living(self) -> Mapping[str, RayNode]:
        """The living nodes by our name for them; dead ones stay listed in Ray and are left out."""
        living: dict[str, RayNode] = {}
        for node in self.nodes:
            name = node.labels.get(NODE_LABEL)
            if name and not node.is_head and node.state is not RayNodeState.DEAD:
                known = living.get(name)
                if known is None or known.state is not RayNodeState.ALIVE:
                    living[name] = node
        return living


@dataclass(frozen=True, slots=True)
class Submission:
    """A job as Ray shall take it. `entrypoint` starts with `exec` and holds no text from YAML.

    The label alone sends it to its node. It asks for no share of one, however small: a job that reserves all that
    its node has would wait for ever for what its own driver holds. Ray then lets any living node look for the
    place, so that one that stalls may delay a start until its head calls it dead.
    """

    submission_id: str
    entrypoint: str
    env: Mapping[str, str]
    metadata: Mapping[str, str]
    label_selector: Mapping[str, str]
