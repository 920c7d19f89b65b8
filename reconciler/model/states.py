"""The words for where an object is in its life, kind by kind; a job's are in `ledger.py`, which remembers them."""

from enum import StrEnum


class SiteState(StrEnum):
    """Whether something waits for an approval."""

    READY = "Ready"
    HELD = "Held"


class ClusterState(StrEnum):
    """The life of a cluster's head."""

    NO_HEAD = "NoHead"
    STARTING = "Starting"
    VERIFYING = "Verifying"
    READY = "Ready"
    SILENT = "Silent"
    UNKNOWN = "Unknown"
    STOPPING = "Stopping"


class PoolState(StrEnum):
    """What a pool's nodes are about, all together."""

    READY = "Ready"
    JOINING = "Joining"
    DEGRADED = "Degraded"
    DRAINING = "Draining"
    LEAVING = "Leaving"


class NodeState(StrEnum):
    """The life of a node in its pool."""

    PENDING = "pending"
    ONLINE = "online"
    DRAINING = "draining"
    OFFLINE = "offline"
    UNHEALTHY = "unhealthy"
    LOST = "lost"
