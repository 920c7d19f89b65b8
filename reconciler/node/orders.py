"""What a start verb asks for, read strictly; the keeper reads it again from the slot."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from reconciler.node.documents import NAME, VARIABLE, Fields
from reconciler.node.failure import INVALID, NotDone

HEAD = "head"
WORKER = "worker"
# The gate's own files in a site's folder, where each cluster has a folder of its name.
TERM, TERM_LOCK = "term", "term.lock"
# Every reader of JSON keeps whole numbers up to here.
COUNT_LIMIT = 1 << 53

_PYTHON = re.compile(r"python3(\.[0-9]{1,2})?|(/\.?[A-Za-z0-9_+-][A-Za-z0-9._+-]*){1,32}", re.ASCII)
_VERSION = re.compile(r"[0-9]{1,4}(\.[0-9]{1,4}){2}[a-z0-9.+]{0,20}", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9:][A-Za-z0-9.:-]{0,252}", re.ASCII)
_HOST_PORT = re.compile(r"(\[[0-9a-fA-F:.]{2,45}\]|[A-Za-z0-9][A-Za-z0-9.-]{0,252}):[0-9]{1,5}", re.ASCII)
_TOKEN = re.compile(r"[\x21-\x7e]{16,4096}", re.ASCII)
# A comma or an equals sign would become further labels on Ray's command line.
_LABEL_KEY = re.compile(
    r"([a-z0-9]([a-z0-9.-]{0,200}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?", re.ASCII
)
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?", re.ASCII)
_RESOURCE = re.compile(r"[A-Za-z][A-Za-z0-9_.:-]{0,62}", re.ASCII)
# The daemon's loader refuses these as well; a node trusts no daemon with its linker.
_RESERVED = re.compile(
    r"LD_(?!LIBRARY_PATH$).*|RAYOPS_.*|RAY_AUTH_.*|RAY_ADDRESS|RAY_START_HOOK|BASH_ENV|ENV|PYTHON(STARTUP|HOME|INSPECT)",
    re.ASCII,
)


@dataclass(frozen=True)
class HeadPorts:
    """The ports of a head that others are told."""

    gcs: int
    dashboard: int
    client: int


@dataclass(frozen=True)
class Resources:
    """What a worker offers to Ray."""

    cpus: float
    gpus: int
    memory_bytes: int | None
    custom: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Order:
    """One start of Ray in one slot. `ports` is there for a head, `head_address` and `resources` for a worker.

    `generation` counts the starts of the slot, so that a request that is late is known as such; a head is started
    once per epoch, so that its epoch says it.
    """

    role: str
    cluster: str
    node: str
    epoch: int
    generation: int
    token: str = field(repr=False)
    python: str
    ray_version: str
    address: str
    labels: dict[str, str]
    env: dict[str, str] = field(repr=False)
    ports: HeadPorts | None = None
    head_address: str = ""
    resources: Resources = Resources(0, 0, None)


def read_order(role: str, args: Fields) -> Order:
    """Return the order in the arguments of a start verb."""
    ports = _ports(args.fields("ports")) if role == HEAD else None
    head = args.text("headAddress", _HOST_PORT) if role == WORKER else ""
    resources = _resources(args.fields("resources")) if role == WORKER else Resources(0, 0, None)
    epoch = args.integer("epoch", 1, COUNT_LIMIT)
    order = Order(
        role=role,
        cluster=read_cluster(args),
        node=args.text("node", NAME, limit=63),  # it becomes a Ray label, and those end at 63 characters
        epoch=epoch,
        generation=args.integer("generation", 1, COUNT_LIMIT) if role == WORKER else epoch,
        token=args.text("token", _TOKEN),
        python=args.text("python", _PYTHON),
        ray_version=args.text("rayVersion", _VERSION),
        address=args.text("address", _HOST),
        labels=args.map("labels", _LABEL_KEY, _LABEL_VALUE),
        env=args.map("env", VARIABLE),
        ports=ports,
        head_address=head,
        resources=resources,
    )
    args.end()
    if any(_RESERVED.fullmatch(name) for name in order.env):
        raise NotDone(INVALID, "args.env sets a variable that RayOps or the linker reserves")
    return order


def read_cluster(args: Fields) -> str:
    """Return the name of a cluster; its folder must not stand where the gate has a file."""
    cluster = args.name("cluster")
    if cluster in {TERM, TERM_LOCK}:
        raise NotDone(INVALID, "cluster is the name of a file of the gate; name the cluster otherwise")
    return cluster


def _ports(args: Fields) -> HeadPorts:
    ports = HeadPorts(*(args.integer(name, 1024, 65_535) for name in ("gcs", "dashboard", "client")))
    args.end()
    return ports


def _resources(args: Fields) -> Resources:
    cpus, gpus = args.integer("cpus", 0, 1 << 20), args.integer("gpus", 0, 1 << 10)
    memory = args.integer("memoryBytes", 1, 1 << 60) if "memoryBytes" in args else None
    args.drop("memoryBytes")
    resources = Resources(cpus, gpus, memory, args.amounts("custom", _RESOURCE))
    args.end()
    return resources
