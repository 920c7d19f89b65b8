"""NodePool: machines of one shape that join one cluster."""

from typing import Annotated, Literal

from pydantic import Field

from reconciler.model.json import digest
from reconciler.model.machine import Machine
from reconciler.model.metadata import ApiVersion, Metadata
from reconciler.model.quantity import Duration, Memory
from reconciler.model.spec import STEERING, ObjectSpec, Strict, what_runs
from reconciler.model.text import Env, Host, Line, Login, Name, NodeLabels, Port


class Node(Strict):
    """A machine that can be reached by SSH."""

    name: Name
    """Unique on the site; status, drains and Ray labels use it."""

    host: Host
    """Host name or IP address."""

    user: Login
    """Login name; it needs no privileges."""

    port: Port = 22
    """Port of its SSH server."""

    @property
    def machine(self) -> Machine:
        """Where the gate of this node is."""
        return Machine(self.host, self.user, self.port)


class PerNode(Strict):
    """What each node of a pool gives to Ray."""

    gpus: Annotated[int, Field(ge=0, le=64)] = 0
    """GPUs of each node."""

    cpus: Annotated[int, Field(ge=1, le=4096)]
    """CPUs of each node."""

    memory: Memory | None = None
    """Memory of each node, such as 500GiB. Without it Ray decides."""


class Drain(Strict):
    """Takes one node out of service without losing work. Removing the entry ends the drain."""

    node: Name
    """The node's name."""

    after: Duration | None = None
    """How long running jobs may go on before they are stopped. Without it they may finish."""

    reason: Line = ""
    """Why the node is drained; people read it in the status."""


class NodePoolSpec(ObjectSpec):
    """Machines of one shape and the cluster they join."""

    cluster: Name
    """The cluster that the nodes join."""

    join: Literal["ssh"]
    """How nodes join: `ssh` means that RayOps starts Ray on them."""

    per_node: PerNode
    """What each node gives to Ray."""

    labels: NodeLabels = Field(default_factory=dict)
    """Ray labels of each node."""

    env: Env = Field(default_factory=dict)
    """Environment of Ray on each node. Put no secret here: the repo is not a safe."""

    nodes: Annotated[tuple[Node, ...], Field(max_length=10_000)]
    """The machines."""

    drain: Annotated[tuple[Drain, ...], STEERING, Field(max_length=10_000)] = ()
    """Nodes that take no new work and leave."""


class NodePool(Strict):
    """Machines of one shape that join one cluster."""

    api_version: ApiVersion
    kind: Literal["NodePool"]
    metadata: Metadata
    spec: NodePoolSpec


def shape_digest(spec: NodePoolSpec) -> str:
    """Return the digest of what every node of a pool runs with; the list of nodes is no part of it."""
    return digest({key: value for key, value in what_runs(spec).items() if key != "nodes"})
