"""The daemon's own memory: what it intends, what it did and what it owns, as one frozen value.

The ledger is a map of records. A pass changes it by `Change` values, each of which sets or removes one whole
record; the journal on disk is the list of those changes (record/ledger.py). Intents are part of the records: an
attempt without `submitted` may or may not have reached Ray, and looking settles it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any, TypeAlias

from reconciler.model.derived import Edition
from reconciler.model.ids import ObjectId
from reconciler.model.job import FailureClass, StopCause
from reconciler.model.machine import Machine
from reconciler.model.moment import Moment
from reconciler.model.outcome import FailureKind
from reconciler.model.states import JobState


@dataclass(frozen=True, slots=True)
class Meta:
    """What concerns the whole site."""

    site: str
    term: int = 0
    applied: str | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """An object that was in force: the finalizer. It leaves the ledger only after its live parts are seen gone.

    `released` is set once its removal has passed the brakes.
    """

    digest: str
    since: Moment
    released: bool = False


@dataclass(frozen=True, slots=True)
class HeadRecord:
    """The one head that a cluster may have now. `session` is set once the head proved that it is the right one."""

    node: str
    machine: Machine
    digest: str
    ports: tuple[int, int, int]
    started: Moment
    session: str | None = None
    published: bool = False
    silent_since: Moment | None = None
    stopping: Moment | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """Starts that failed in a row with one and the same digest; `last` is when the last of them was seen to."""

    count: int
    last: Moment
    digest: str


@dataclass(frozen=True, slots=True)
class ClusterRecord:
    """A cluster's head generations. `epoch` never decreases, not even after the cluster is gone."""

    epoch: int = 0
    head: HeadRecord | None = None
    withdrawn: bool = False
    failed: Failed | None = None


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """A worker slot that was started for `epoch` and is not yet seen gone; `generation` counts its starts."""

    pool: str
    machine: Machine
    epoch: int
    digest: str
    started: Moment
    joined: Moment | None = None
    missing_since: Moment | None = None
    stopping: Moment | None = None
    failed: Failed | None = None
    generation: int = 0


@dataclass(frozen=True, slots=True)
class DrainRecord:
    """A drain that people asked for; `since` starts its deadline."""

    pool: str
    since: Moment
    told_ray: bool = False


@dataclass(frozen=True, slots=True)
class Stop:
    """A stop that was asked for: `first` starts the wait, `last` paces the repeats."""

    cause: StopCause
    first: Moment
    last: Moment


@dataclass(frozen=True, slots=True)
class Ended:
    """How an attempt or a generation ended."""

    state: JobState
    reason: str
    message: str
    at: Moment
    failure: FailureClass | None = None
    exit_code: int | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to run a job. Without `submitted` it is an intent; without `ended` it counts as running.

    Its driver starts on the first of `nodes`, which is on `machine`. `vanished` is when Ray was first seen to have
    no living record of it, `gone` when its process was first seen to have ended without a result; `cleaned` says
    that Ray's record is gone.
    """

    number: int
    submission_id: str
    digest: str
    cluster: str
    epoch: int
    nodes: tuple[str, ...]
    machine: Machine
    intended: Moment
    submitted: Moment | None = None
    running: Moment | None = None
    vanished: Moment | None = None
    stop: Stop | None = None
    ended: Ended | None = None
    cleaned: bool = False
    gone: Moment | None = None


@dataclass(frozen=True, slots=True)
class Dropped:
    """What the limits of a job still need of attempts that its record no longer holds."""

    counted: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job's current generation (`digest`), when it entered the queue, its attempts, and its end if it has one.

    The last attempts only: `dropped` sums up those of this generation that were let go.
    """

    digest: str
    entered: Moment
    attempts: tuple[Attempt, ...] = ()
    closed: Ended | None = None
    dropped: Dropped = Dropped()

    @property
    def live(self) -> Attempt | None:
        """The attempt that may still run: at most one, the last."""
        last = self.attempts[-1] if self.attempts else None
        return last if last is not None and last.ended is None else None

    def of_generation(self) -> tuple[Attempt, ...]:
        """Return the attempts of the current generation."""
        return tuple(a for a in self.attempts if a.digest == self.digest)

    def with_last(self, attempt: Attempt) -> "JobRecord":
        """Return the record with its last attempt replaced."""
        return replace(self, attempts=(*self.attempts[:-1], attempt))


@dataclass(frozen=True, slots=True)
class Backoff:
    """Failures of one kind of effect on one target. `digest` is the spec that failed: an edit starts afresh."""

    failures: int
    kind: FailureKind
    message: str
    digest: str
    last: Moment
    until: Moment | None


class Table(StrEnum):
    """The ledger's tables; each maps a text key to one record type."""

    META = "meta"
    KNOWN = "known"
    CLUSTERS = "clusters"
    NODES = "nodes"
    DRAINS = "drains"
    JOBS = "jobs"
    NUMBERS = "numbers"
    FOLDERS = "folders"
    BACKOFFS = "backoffs"


Record: TypeAlias = Meta | Known | ClusterRecord | NodeRecord | DrainRecord | JobRecord | int | str | Backoff

RECORD_TYPES: Mapping[Table, Any] = MappingProxyType(
    {
        Table.META: Meta,
        Table.KNOWN: Known,
        Table.CLUSTERS: ClusterRecord,
        Table.NODES: NodeRecord,
        Table.DRAINS: DrainRecord,
        Table.JOBS: JobRecord,
        # The last number ever used for an attempt of a job, or a start of a node. It outlives both: no id is used
        # again, and nothing that is late on its way can be taken for something new.
        Table.NUMBERS: int,
        # The name of a job's folder for checkpoints where it is not the job's own: the job was renamed, or another
        # one has left its name. It outlives the job, too, which finds it again when it is back.
        Table.FOLDERS: str,
        Table.BACKOFFS: Backoff,
    }
)

META_KEY = "site"


@dataclass(frozen=True, slots=True)
class Change:
    """Set one record, or remove it (`record` is None)."""

    table: Table
    key: str
    record: Record | None


@dataclass(frozen=True, slots=True)
class Ledger:
    """The daemon's memory at one moment. `sequence` counts the journal lines that made it."""

    meta: Meta
    sequence: int = 0
    known: Mapping[str, Known] = field(default_factory=dict)
    clusters: Mapping[str, ClusterRecord] = field(default_factory=dict)
    nodes: Mapping[str, NodeRecord] = field(default_factory=dict)
    drains: Mapping[str, DrainRecord] = field(default_factory=dict)
    jobs: Mapping[str, JobRecord] = field(default_factory=dict)
    numbers: Mapping[str, int] = field(default_factory=dict)
    folders: Mapping[str, str] = field(default_factory=dict)
    backoffs: Mapping[str, Backoff] = field(default_factory=dict)

    def job(self, job_id: ObjectId) -> JobRecord | None:
        """Return a job's record."""
        return self.jobs.get(str(job_id))

    def folder(self, job_id: ObjectId) -> str:
        """Return the name of a job's folder for checkpoints."""
        return self.folders.get(str(job_id), job_id.name)

    def apply(self, changes: Iterable[Change]) -> "Ledger":
        """Return the ledger after one journal line; this one stays as it is."""
        touched: dict[Table, dict[str, Any]] = {}
        meta = self.meta
        for change in changes:
            if change.table is Table.META:
                assert isinstance(change.record, Meta)
                meta = change.record
            else:
                touched.setdefault(change.table, {})[change.key] = change.record
        tables: dict[str, Any] = {
            table.value: Edition.of(getattr(self, table.value)).next(records) for table, records in touched.items()
        }
        return replace(self, meta=meta, sequence=self.sequence + 1, **tables)

    def dump(self) -> tuple[Change, ...]:
        """Return changes that make this ledger from an empty one, in a fixed order."""
        changes = [Change(Table.META, META_KEY, self.meta)]
        for table in Table:
            if table is not Table.META:
                records: Mapping[str, Record] = getattr(self, table.value)
                changes.extend(Change(table, key, records[key]) for key in sorted(records))
        return tuple(changes)


def node_key(cluster: str, node: str) -> str:
    """Return the ledger's key of a node."""
    return f"{cluster}/{node}"
