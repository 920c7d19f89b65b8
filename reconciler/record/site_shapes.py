"""What a status file about the whole site holds: the summary and the heartbeat."""

from typing import Annotated

from pydantic import Field

from reconciler.model.spec import Strict
from reconciler.record.object_shapes import Time, Version


class KindCounts(Strict):
    """How many objects of one kind there are."""

    total: int
    """All of them."""

    state: dict[str, int]
    """By state."""

    sync: dict[str, int]
    """By sync."""

    health: dict[str, int]
    """By health."""


class SourceTrouble(Strict):
    """Why the newest desired state cannot be used."""

    fault: str
    """The sort of trouble."""

    message: str
    """What happened, and what to do."""

    revision: str | None
    """The revision that was refused, if it is known."""

    since: Time
    """When trouble of this sort began."""


class ReadOnly(Strict):
    """The daemon acts on nothing."""

    reason: str
    """Why."""

    since: Time
    """Since when."""


class HeldPlan(Strict):
    """Actions that a brake stopped."""

    brake: str
    """Which brake."""

    digest: str
    """The digest whose approval releases them."""

    message: str
    """How much, and how much would be allowed."""

    what: list[str]
    """What would be done."""

    targets: list[str]
    """The objects that it concerns."""


class BrokenFile(Strict):
    """A mistake in a file of desired state; the offending value is never shown."""

    path: str
    """The file."""

    line: int
    """The line, from 1."""

    column: int
    """The column, from 1."""

    field: str
    """The field, as a dotted path."""

    message: str
    """What is wrong."""

    hint: str
    """What may be meant."""


class StatusSummary(Strict):
    """The site on one page: `summary.json`."""

    api_version: Version
    """The version of this shape."""

    revision: str
    """The revision of desired state in force."""

    counts: dict[str, KindCounts]
    """How many objects of each kind there are."""

    source: SourceTrouble | None
    """Why the newest desired state cannot be used, or nothing."""

    read_only: ReadOnly | None
    """Why the daemon acts on nothing, or nothing."""

    held: list[HeldPlan]
    """What waits for an approval."""

    errors: list[BrokenFile]
    """Mistakes in files; their objects keep what was last good."""

    errors_omitted: int
    """Mistakes beyond those listed."""


class StatusHeartbeat(Strict):
    """The sign that the daemon lives: `heartbeat.json`."""

    at: Time
    """When."""

    pass_: Annotated[int, Field(alias="pass")]
    """How many passes it has made."""

    pid: int
    """Its process."""

    revision: str
    """The revision of desired state in force."""

    version: str
    """Its version."""
