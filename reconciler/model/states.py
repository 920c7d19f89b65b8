"""The words for where an object is in its life, kind by kind."""

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


class JobState(StrEnum):
    """The life of a job, for people and dashboards."""

    QUEUED = "Queued"
    STARTING = "Starting"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    STOPPED = "Stopped"
    TIMED_OUT = "TimedOut"
    LOST = "Lost"
    SUSPENDED = "Suspended"
    BACKOFF = "Backoff"


# The states that a job does not leave by itself.
JOB_ENDED = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.STOPPED, JobState.TIMED_OUT, JobState.LOST})
