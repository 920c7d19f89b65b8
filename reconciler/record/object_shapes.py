"""What a status file about objects holds: one document each, the index of all, and events."""

from typing import Annotated, Literal

from pydantic import Field, JsonValue, StringConstraints

from reconciler.model.spec import Strict
from reconciler.model.status import Health, Sync
from reconciler.record.document import HISTORY_LENGTH

Time = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{3})?Z$"),
    Field(json_schema_extra={"format": "date-time"}),
]
Version = Literal["rayops.status/v1"]
Detail = dict[str, JsonValue]
SyncWord = Annotated[Sync, Field(strict=False)]
HealthWord = Annotated[Health, Field(strict=False)]


class StatusMetadata(Strict):
    """Who the object is."""

    name: str
    """Its name."""

    team: str = ""
    """Its team; objects of the site have none."""

    labels: dict[str, str] = Field(default_factory=dict)
    """The labels of its file."""


class ObservedAt(Strict):
    """What the document rests on."""

    revision: str
    """The revision of desired state at which the document changed last."""

    spec_digest: str
    """The digest of what the object runs; empty when its file is gone."""

    as_of: Time
    """When the document changed last; the heartbeat says whether the daemon still looks."""


class StatusCondition(Strict):
    """One fact about an object."""

    type: str
    """What the fact is about."""

    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""

    reason: str
    """Why, as a code."""

    message: str
    """Why, as a sentence."""

    last_transition_time: Time
    """When `status` changed last."""


class PastState(Strict):
    """A state that the object entered."""

    at: Time
    """When."""

    state: str
    """Which."""

    reason: str
    """Why, as a code."""


class StatusObject(Strict):
    """The status of one object: `<kind>/[<team>/]<name>.json`."""

    api_version: Version
    """The version of this shape."""

    kind: str
    """The kind of the object."""

    metadata: StatusMetadata
    """Who it is."""

    observed: ObservedAt
    """What the document rests on."""

    state: str
    """Where the object is in its life; the words depend on the kind."""

    sync: SyncWord
    """Whether the live world is what the repo says."""

    health: HealthWord
    """Whether the object does its work."""

    reason: str
    """Why, as a code that can be counted."""

    message: str
    """Why, as a sentence."""

    since: Time
    """When `state` began."""

    conditions: list[StatusCondition]
    """Facts about the object."""

    detail: Detail
    """What only this kind tells."""

    history: Annotated[list[PastState], Field(max_length=HISTORY_LENGTH)]
    """The last states, the oldest first."""


class RowObserved(Strict):
    """What a row of the index rests on."""

    revision: str
    """The revision at which the object's document changed last."""


class IndexRow(Strict):
    """One object in the index."""

    kind: str
    """The kind of the object."""

    team: str
    """Its team, or nothing."""

    name: str
    """Its name."""

    metadata: StatusMetadata | None = None
    """Who it is, when it has labels."""

    state: str
    """Where it is in its life."""

    sync: SyncWord
    """Whether the live world is what the repo says."""

    health: HealthWord
    """Whether it does its work."""

    reason: str
    """Why, as a code."""

    message: str
    """Why, in the beginning of a sentence."""

    since: Time
    """When `state` began."""

    observed: RowObserved
    """What the row rests on."""

    detail: Detail
    """What only this kind tells, with short lists: of attempts the last, of other lists which and in what state."""

    path: str
    """Where its document is."""

    content: str
    """Changes when the object says something new."""


class StatusIndex(Strict):
    """All objects in one file, for lists: `index.json`."""

    api_version: Version
    """The version of this shape."""

    objects: list[IndexRow]
    """The objects, sorted by kind, team and name."""


class StatusEvent(Strict):
    """One thing that happened: a line of `history/<day>.jsonl`."""

    at: Time
    """When."""

    object: str
    """To which object: `job/rl/ppo`."""

    type: str
    """Action, Done, NotDone, Unknown, State, Hold or Error."""

    reason: str
    """Why, as a code."""

    message: str
    """Why, as a sentence."""

    revision: str
    """The revision of desired state in force."""

    numbers: Detail
    """The numbers behind the reason."""
