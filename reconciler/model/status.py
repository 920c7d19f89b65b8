"""What people and dashboards read: one document per object, a summary, and events. Never read back as input."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from reconciler.model.ids import ObjectId

STATUS_VERSION = "rayops.status/v1"


class Sync(StrEnum):
    """Whether the live world is what the repo says."""

    SYNCED = "Synced"
    PENDING = "Pending"
    DRIFTED = "Drifted"
    SUSPENDED = "Suspended"
    STALE = "Stale"  # the file is broken; its last good content is in force


class Health(StrEnum):
    """Whether the object does its work."""

    READY = "Ready"
    PROGRESSING = "Progressing"
    WAITING = "Waiting"
    DEGRADED = "Degraded"
    FAILED = "Failed"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class Condition:
    """One fact about an object; `status` is True, False or Unknown, as in Kubernetes."""

    type: str
    status: str
    reason: str
    message: str
    lastTransitionTime: datetime | None = None  # noqa: N815 written as people know it


@dataclass(frozen=True, slots=True)
class ObjectStatus:
    """The status of one object. `since` is when `state` began; `detail` is the kind's own part (JSON values).

    A document holds nothing that changes while the object does not: an idle daemon rewrites no byte.
    """

    kind: str
    team: str
    name: str
    revision: str
    specDigest: str  # noqa: N815 written as people know it
    state: str
    sync: Sync
    health: Health
    reason: str
    message: str
    conditions: tuple[Condition, ...] = ()
    detail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def path(self) -> str:
        """Return the document's place below the status directory."""
        return path_of(ObjectId(self.kind, self.team, self.name))


def path_of(identity: ObjectId) -> str:
    """Return the place of an object's document below the status directory."""
    return f"{identity}.json"


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to one object, for `describe`, `history` and `why`."""

    at: datetime
    object: str
    type: str  # Action, Done, NotDone, Unknown, State, Hold, Error
    reason: str
    message: str
    revision: str = ""
    numbers: Mapping[str, Any] = field(default_factory=dict)
