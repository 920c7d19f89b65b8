"""Everything a decision may depend on: desired, observed and remembered state, and the moment."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from reconciler.model.desired import Desired
from reconciler.model.ledger import Ledger
from reconciler.model.moment import Moment, later
from reconciler.model.ray import HeadSeen
from reconciler.model.sighting import Sighting


class Role(StrEnum):
    """What a slot runs."""

    HEAD = "head"
    WORKER = "worker"


@dataclass(frozen=True, slots=True, order=True)
class SlotId:
    """One Ray role of one cluster on a machine."""

    cluster: str
    role: Role
    node: str

    def __str__(self) -> str:
        return f"{self.cluster}/{self.role.value}/{self.node}"


class SlotState(StrEnum):
    """The life of a slot as its machine tells it."""

    NONE = "none"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    FAILED = "failed"
    STOPPED = "stopped"

    @property
    def alive(self) -> bool:
        """Whether a process of the slot may exist."""
        return self in {SlotState.STARTING, SlotState.RUNNING, SlotState.STOPPING}


@dataclass(frozen=True, slots=True)
class SlotSeen:
    """What a machine says about a slot. `message` and `log` are hostile input.

    `generation` is the newest start that the slot has seen: that of what lives there, if anything does.
    """

    state: SlotState
    epoch: int | None = None
    generation: int | None = None
    message: str = ""
    log: str = ""

    @property
    def words(self) -> str:
        """What to tell people: the message, and the last line of the start log, which names Ray's own reason."""
        lines = [line.strip() for line in self.log.splitlines() if line.strip()]
        said = self.message or "no message"
        return f"{said}; its log ends with: {lines[-1]}" if lines else said


class ClaimState(StrEnum):
    """Whether the process that claimed an attempt lives, as its machine tells it."""

    UNCLAIMED = "unclaimed"
    ALIVE = "alive"
    GONE = "gone"
    ELSEWHERE = "elsewhere"


@dataclass(frozen=True, slots=True)
class Result:
    """What the job runner wrote last. `outcome` is its word.

    exited, stopped, timed-out, fenced, not-started or hindered: its machine or the share kept it from starting.
    """

    outcome: str
    exit_code: int | None
    signal: int | None
    message: str


@dataclass(frozen=True, slots=True)
class AttemptSeen:
    """What the job directory of an attempt holds. `beat` changes while the runner lives."""

    claimed: bool
    # The daemon itself took the claim, so that nothing can ever run under it.
    burnt: bool = False
    beat: str = ""
    result: Result | None = None


@dataclass(frozen=True, slots=True)
class Observed:
    """One look at the world. What was asked for is in here, with one of three answers; nothing else is."""

    heads: Mapping[str, Sighting[HeadSeen]] = field(default_factory=dict)
    slots: Mapping[SlotId, Sighting[SlotSeen]] = field(default_factory=dict)
    attempts: Mapping[str, Sighting[AttemptSeen]] = field(default_factory=dict)
    claims: Mapping[str, Sighting[ClaimState]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tuning:
    """The daemon's waits and limits, each with its reason; set by its operator, never from the repo."""

    # A new file of another client may stay hidden on NFS for acdirmax, 60 s by default (nfs(5)).
    visibility: timedelta = timedelta(seconds=60)
    # Ray itself gives a head 30 s and a slow disk more; measured worst case 31 s with a dead name server.
    head_start: timedelta = timedelta(seconds=120)
    node_join: timedelta = timedelta(seconds=120)
    # A head that lives but says nothing is fenced after this; shorter would kill a head that swaps or compacts.
    head_silence: timedelta = timedelta(seconds=90)
    # A raylet that its head calls dead may be back after a short network cut (measured: declared dead at 63 s).
    node_missing: timedelta = timedelta(seconds=90)
    stop_repeat: timedelta = timedelta(seconds=30)
    backoff_base: timedelta = timedelta(seconds=5)
    backoff_cap: timedelta = timedelta(minutes=10)

    def pause(self, target: str, failures: int) -> timedelta:
        """Return how long a target rests after failures in a row: doubling up to the cap, of that half to all."""
        # Doubling beyond this passes any cap; without the bound a target that fails for months overflows.
        doubled = self.backoff_base.total_seconds() * 2 ** min(failures - 1, 40)
        longest = min(doubled, self.backoff_cap.total_seconds())
        # The share comes from the target's name, not from chance: 500 machines that vanished together must not be
        # asked together again (reliability-security.md, fault 45), and the same world gives the same plan.
        drawn = hashlib.sha256(f"{target}\0{failures}".encode(errors="surrogatepass")).digest()
        return timedelta(seconds=longest * (0.5 + int.from_bytes(drawn[:4]) / 2**33))


@dataclass(frozen=True, slots=True)
class World:
    """The whole input of a plan."""

    desired: Desired
    observed: Observed
    ledger: Ledger
    now: Moment
    tuning: Tuning = Tuning()
    # Targets (pace keys) of effects that this process has begun and not yet seen the end of.
    in_flight: frozenset[str] = frozenset()
    # Since when passes have followed each other closely; None is for ever.
    watched: Moment | None = None

    def counted_from(self, since: Moment) -> Moment:
        """Return from when a silence counts that was first met at `since`: what nobody watched proves nothing.

        One look before a pause of ours and one after it may both have met a bad moment.
        """
        return since if self.watched is None else later(since, self.watched)
