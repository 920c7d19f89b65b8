"""Decisions: actions, notes and holds, each with its reason."""

import dataclasses
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TypeAlias

from reconciler.model.effect import Effect
from reconciler.model.ids import ObjectId
from reconciler.model.ledger import Change
from reconciler.model.moment import Moment


class Reason(StrEnum):
    """Why something happens or does not: the closed list that people filter and dashboards count."""

    # nothing wrong
    NEW = "New"
    CHANGED = "Changed"
    REMOVED = "Removed"
    RENAMED = "Renamed"
    OBSERVED = "Observed"
    AS_DESIRED = "AsDesired"
    # waiting
    SUSPENDED = "Suspended"
    INVALID = "Invalid"
    HELD_BY_BRAKE = "HeldByBrake"
    BACKING_OFF = "BackingOff"
    IN_FLIGHT = "InFlight"
    CLUSTER_NOT_READY = "ClusterNotReady"
    STARTING = "Starting"
    STOPPING = "Stopping"
    JOINING = "Joining"
    BUSY = "Busy"
    DRAINING = "Draining"
    DRAINED = "Drained"
    WAITS_FOR_DEPENDENCY = "WaitsForDependency"
    DEPENDENCY_FAILED = "DependencyFailed"
    WAITS_FOR_NODES = "WaitsForNodes"
    TOO_LARGE_NOW = "TooLargeNow"
    HEAD_FULL = "HeadFull"
    BEHIND_OTHERS = "BehindOthers"
    RETRY_LATER = "RetryLater"
    OUTCOME_UNKNOWN = "OutcomeUnknown"
    # faults
    MACHINE_UNREACHABLE = "MachineUnreachable"
    HEAD_UNREACHABLE = "HeadUnreachable"
    HEAD_DIED = "HeadDied"
    HEAD_SILENT = "HeadSilent"
    HEAD_START_FAILED = "HeadStartFailed"
    FOREIGN_HEAD = "ForeignHead"
    WRONG_VERSION = "WrongVersion"
    NO_TOKEN_REQUIRED = "NoTokenRequired"  # noqa: S105 a reason code, not a secret
    OTHER_EPOCH = "OtherEpoch"
    NODE_FAILED = "NodeFailed"
    NODE_LOST = "NodeLost"
    RECORD_VANISHED = "RecordVanished"
    PROCESS_LEFT = "ProcessLeft"
    # limits and ends
    ASKED_TO_STOP = "AskedToStop"
    QUEUE_LIMIT = "QueueLimit"
    START_LIMIT = "StartLimit"
    ATTEMPT_LIMIT = "AttemptLimit"
    TOTAL_LIMIT = "TotalLimit"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    STOPPED = "Stopped"
    TIMED_OUT = "TimedOut"
    LOST = "Lost"


@dataclass(frozen=True, slots=True)
class Because:
    """A reason with its sentence and its numbers. The sentence names the cause and what would change it."""

    reason: Reason
    text: str
    numbers: tuple[tuple[str, int | float | str], ...] = ()


class Weight(StrEnum):
    """What an action costs people, so that the brakes can count it."""

    NONE = "none"
    REMOVES = "removes"  # tears down what a removed object owns
    STOPS = "stops"  # ends a running job that nobody asked to end by name
    DRAINS = "drains"  # takes a node out of work


@dataclass(frozen=True, slots=True)
class Action:
    """Do `effect`, for `target`. `before` is the intent: it is on disk before the effect begins."""

    target: ObjectId
    effect: Effect
    because: Because
    before: tuple[Change, ...] = ()
    weight: Weight = Weight.NONE
    pace: str = ""

    @property
    def verb(self) -> str:
        """The effect's name, as people read it."""
        return type(self.effect).__name__

    @property
    def part(self) -> str:
        """The part of its target that it concerns: a node's name, or empty."""
        return str(getattr(self.effect, "node", ""))


@dataclass(frozen=True, slots=True)
class Note:
    """Remember something that was seen or decided; touches the ledger only."""

    target: ObjectId
    because: Because
    changes: tuple[Change, ...]
    weight: Weight = Weight.NONE


@dataclass(frozen=True, slots=True)
class Hold:
    """Do nothing, and say why. `until` is when a timer alone changes the answer."""

    target: ObjectId
    because: Because
    until: Moment | None = None
    part: str = ""


Decision: TypeAlias = Action | Note | Hold


@dataclass(frozen=True, slots=True)
class Held:
    """What a brake stopped, and the digest whose approval releases it; `what` lists it in lasting words."""

    brake: str
    digest: str
    message: str
    what: tuple[str, ...]
    targets: tuple[ObjectId, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now, what to remember, what waits and why; `wake` is when time alone changes it."""

    revision: str
    actions: tuple[Action, ...] = ()
    notes: tuple[Note, ...] = ()
    holds: tuple[Hold, ...] = ()
    held: tuple[Held, ...] = ()
    wake: Moment | None = None

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do: holds and held actions wait for something else."""
        return not self.actions and not self.notes


def effect_document(effect: Effect) -> dict[str, object]:
    """Return an effect as plain JSON values, for plans that people read and for digests."""
    return {"effect": type(effect).__name__, **{f.name: _plain(getattr(effect, f.name)) for f in _fields(effect)}}


def _fields(value: object) -> tuple["dataclasses.Field[object]", ...]:
    return dataclasses.fields(value)  # type: ignore[arg-type]  # effects and their parts are dataclasses


def _plain(value: object) -> object:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in _fields(value)}
    return value
