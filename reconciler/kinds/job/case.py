"""One job, everything about it side by side, for the rules that decide about it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from reconciler.model.ids import ObjectId
from reconciler.model.job import Job, Limits
from reconciler.model.ledger import Attempt, Change, Ended, JobRecord, Table, node_key
from reconciler.model.moment import Moment
from reconciler.model.plan import Because, Decision, Hold, Note, Reason
from reconciler.model.ray import HeadAddress, HeadSeen, RayJob
from reconciler.model.sighting import Present, Sighting
from reconciler.model.site import Site
from reconciler.model.states import JobState
from reconciler.model.views import ClusterView
from reconciler.model.world import AttemptSeen, ClaimState, World

SITE = ObjectId("Site", "", "site")


@dataclass(frozen=True, slots=True)
class Case:
    """A job in one pass. `job` is None when it left the repo; `cluster` is the one of its last attempt.

    `deadlines` tells for nodes under drain, by ledger key, how long jobs may stay.
    """

    world: World
    id: ObjectId
    job: Job | None
    digest: str
    record: JobRecord
    cluster: ClusterView | None
    frozen: Because | None
    deadlines: Mapping[str, timedelta]

    @property
    def attempt(self) -> Attempt:
        """The live attempt; only rules for a live attempt ask."""
        live = self.record.live
        assert live is not None, "asked for the live attempt of a job that has none"
        return live

    @property
    def head(self) -> HeadAddress:
        """The head that the live attempt was sent to."""
        assert self.cluster is not None, "a live attempt has a cluster"
        assert self.cluster.head is not None, "asked for the head of a cluster without one"
        return self.cluster.head

    @property
    def seen(self) -> HeadSeen | None:
        """The head that took the live attempt, None while it cannot be asked or is another one by now."""
        if self.cluster is None or self.cluster.epoch != self.attempt.epoch or self.cluster.seen is None:
            return None
        asked = self.attempt.submission_id in self.cluster.seen.asked
        return self.cluster.seen if asked and not self._seen_before_submission() else None

    def _seen_before_submission(self) -> bool:
        """Whether the look began before Ray had accepted the attempt: its silence then proves nothing."""
        assert self.cluster is not None, "a live attempt has a cluster"
        since = self.attempt.submitted or self.attempt.intended
        match self.world.observed.heads.get(self.cluster.name):
            case Present(as_of=moment):
                # What was written down before this machine started again is older, whatever its clock said then.
                return moment.boot == since.boot and moment.is_before(since)
            case _:
                return True

    @property
    def ray(self) -> RayJob | None:
        """Ray's record of the live attempt; None proves its absence only where `seen` is not None."""
        return self.seen.jobs.get(self.attempt.submission_id) if self.seen is not None else None

    @property
    def head_replaced(self) -> bool:
        """Whether the head that took the live attempt can never answer again."""
        assert self.cluster is not None, "a live attempt has a cluster"
        if self.cluster.epoch > self.attempt.epoch:
            return True
        return (
            self.cluster.head is None
            and ObjectId("Cluster", "", self.cluster.name) not in self.world.desired.objects
        )

    @property
    def directory(self) -> Sighting[AttemptSeen] | None:
        """What the job directory of the live attempt holds."""
        return self.world.observed.attempts.get(self.attempt.submission_id)

    @property
    def claim(self) -> Sighting[ClaimState] | None:
        """What the claiming machine says, None when nobody asked in this pass."""
        return self.world.observed.claims.get(self.attempt.submission_id)

    @property
    def now(self) -> Moment:
        """The moment of this pass."""
        return self.world.now

    @property
    def died(self) -> tuple[str, ...]:
        """The nodes of the live attempt that have died under it, as far as Ray or the ledger knows."""
        if self.head_replaced:
            return ()  # then all nodes are started anew
        gone = set(self.attempt.nodes) - self.seen.living.keys() if self.seen is not None else set()
        return tuple(node for node in self.attempt.nodes if node in gone or self._started_anew(node))

    def _started_anew(self, node: str) -> bool:
        record = self.world.ledger.nodes.get(node_key(self.attempt.cluster, node))
        return record is not None and self.attempt.intended.is_before(record.started)

    def limit(self, name: str) -> timedelta | None:
        """Return a time limit: the job's own, else the site's."""
        site = self.world.desired.objects.get(SITE)
        of_site = site.document.spec.limits if site is not None and isinstance(site.document, Site) else Limits()
        own = self.job.spec.limits if self.job is not None else Limits()
        value: timedelta | None = getattr(own, name) or getattr(of_site, name)
        return value

    def set(self, record: JobRecord | None) -> tuple[Change, ...]:
        """Return the ledger change that replaces this job's record."""
        return (Change(Table.JOBS, str(self.id), record),)

    def set_attempt(self, attempt: Attempt) -> tuple[Change, ...]:
        """Return the ledger change that replaces the last attempt."""
        return self.set(self.record.with_last(attempt))

    def note(self, because: Because, changes: tuple[Change, ...]) -> tuple[Decision, ...]:
        """Return one note."""
        return (Note(self.id, because, changes),)

    def hold(self, because: Because, until: Moment | None = None) -> tuple[Decision, ...]:
        """Return one hold."""
        return (Hold(self.id, because, until),)

    def end(self, ended: Ended) -> tuple[Decision, ...]:
        """Return the note that ends the live attempt."""
        reason = _REASONS[ended.state]
        text = f"attempt {self.attempt.number} has ended: {ended.message or ended.reason}"
        return self.note(Because(reason, text), self.set_attempt(replace(self.attempt, ended=ended)))

    def pace(self) -> str:
        """Return the target of everything done to the live attempt."""
        return f"attempt:{self.attempt.submission_id}"


_REASONS = {
    JobState.SUCCEEDED: Reason.SUCCEEDED,
    JobState.FAILED: Reason.FAILED,
    JobState.STOPPED: Reason.STOPPED,
    JobState.TIMED_OUT: Reason.TIMED_OUT,
    JobState.LOST: Reason.LOST,
}


def result_of(case: Case) -> AttemptSeen | None:
    """Return what the live attempt's directory holds, None while it cannot be read."""
    match case.directory:
        case Present(seen=seen):
            return seen
        case _:
            return None
