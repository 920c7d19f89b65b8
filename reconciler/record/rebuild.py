"""A ledger from what the shared directory tells, for `rayops recover`.

It errs on the side of what runs: every attempt number that was ever used stays used, whatever may live counts as
running, and what has ended stays ended.
"""

import secrets
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from reconciler.model.cluster import Cluster
from reconciler.model.desired import Desired
from reconciler.model.ids import ObjectId
from reconciler.model.ledger import (
    Attempt,
    Change,
    ClusterRecord,
    Ended,
    HeadRecord,
    JobRecord,
    Known,
    Ledger,
    Meta,
    Table,
)
from reconciler.model.machine import Machine
from reconciler.model.moment import Moment
from reconciler.model.nodepool import NodePool
from reconciler.model.states import JobState
from reconciler.model.views import known_key
from reconciler.record.anchor import Anchor, read_anchor
from reconciler.record.traces import HeadTrace, Trace, attempt_traces, head_trace
from reconciler.remote.files import Files

CLUSTERS = ".rayops/clusters"

# The planner keeps as many of a job; older ones only use up their numbers.
_KEPT_ATTEMPTS = 20
# A login that no machine has: an attempt on a machine that left the repo must not be looked for on another one.
_NO_LOGIN = "unknown"


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A ledger to adopt, and what a person should look at because nothing could be found out about it."""

    ledger: Ledger
    notes: tuple[str, ...]


def rebuild(shared: Files, desired: Desired, now: Moment) -> Rebuilt:
    """Return a ledger in which nothing that ran is run again and nothing that may live is forgotten.

    Raises FilesError when the shared directory cannot be read as a whole: half of it would be worse than none.
    """
    return _Rebuilding(shared, desired, now).result()


@dataclass
class _Rebuilding:
    shared: Files
    desired: Desired
    now: Moment
    changes: list[Change] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    machines: dict[tuple[str, str], Machine] = field(default_factory=dict)
    numbers: dict[ObjectId, int] = field(default_factory=dict)

    def result(self) -> Rebuilt:
        traces, strange = attempt_traces(self.shared)
        self.notes += [f"jobs/{name}: not an attempt of ours" for name in strange]
        self.machines = _machines(self.desired)
        heads = {name: head_trace(self.shared, name) for name in self.shared.list(CLUSTERS)}
        self._burn_numbers(traces)
        self._give_folders(traces)
        self._add_jobs(traces)
        self._add_clusters(traces, heads)
        meta, sequence = self._site(heads)
        return Rebuilt(Ledger(meta, sequence).apply(self.changes), tuple(self.notes))

    def _site(self, heads: Mapping[str, HeadTrace | None]) -> tuple[Meta, int]:
        anchor = read_anchor(self.shared)
        if isinstance(anchor, Anchor):
            return Meta(anchor.site, anchor.term), anchor.sequence
        sites = sorted({head.site for head in heads.values() if head is not None})
        if len(sites) == 1:
            self.notes.append(f"the anchor is gone; site {sites[0]} is taken from the head files")
            return Meta(sites[0]), 0
        site = secrets.token_hex(8)
        self.notes.append(f"nothing tells which site this was; it is site {site} now and knows no machine's slots")
        return Meta(site), 0

    def _burn_numbers(self, traces: list[Trace]) -> None:
        for trace in traces:
            self.numbers[trace.owner] = max(self.numbers.get(trace.owner, 0), trace.number)
        self.changes += [Change(Table.NUMBERS, str(owner), self.numbers[owner]) for owner in sorted(self.numbers)]

    def _give_folders(self, traces: list[Trace]) -> None:
        """Give each job the folder for checkpoints that its last attempt had.

        Of two that had one folder the later has it, since it was renamed: under the old name comes another job.
        """
        found = {trace.owner: (0, trace.owner.name) for trace in traces}
        for trace in sorted(traces, key=lambda trace: trace.number):
            if trace.folder:
                found[trace.owner] = (trace.number, trace.folder)
                found.setdefault(trace.owner._replace(name=trace.folder.partition(".")[0]), (0, trace.folder))
        holders: dict[tuple[str, str], ObjectId] = {}
        for owner, (_, folder) in sorted(found.items(), key=lambda each: (-each[1][0], each[0])):
            holder = holders.setdefault((owner.team, folder), owner)
            if holder != owner:
                self._give_another_folder(owner, holder, folder)
            elif folder != owner.name:
                self.changes.append(Change(Table.FOLDERS, str(owner), folder))

    def _give_another_folder(self, owner: ObjectId, holder: ObjectId, folder: str) -> None:
        number = self.numbers.get(owner, 0) + 1
        self.changes.append(Change(Table.FOLDERS, str(owner), f"{owner.name}.{number}"))
        self.changes.append(Change(Table.NUMBERS, str(owner), number))
        if owner in self.desired.objects:
            self.notes.append(f"{owner}: has an empty folder for checkpoints now; {folder} is that of {holder}")

    def _add_jobs(self, traces: list[Trace]) -> None:
        of_job: dict[ObjectId, list[Trace]] = defaultdict(list)
        for trace in traces:
            of_job[trace.owner].append(trace)
        for owner, found in sorted(of_job.items()):
            record = self._job(owner, sorted(found, key=lambda trace: trace.number))
            # A finished job that left the repo needs no removal, and would only wait for an approval of it.
            if record is not None and (owner in self.desired.objects or record.live is not None):
                self.changes.append(Change(Table.JOBS, str(owner), record))
                self._add_known(owner, record.digest)

    def _job(self, owner: ObjectId, traces: list[Trace]) -> JobRecord | None:
        attempts = [attempt for trace in traces if (attempt := self._attempt(owner, trace))]
        if not attempts:
            return None
        # A further attempt only ever followed once the one before was seen gone.
        past = [a if a.ended is not None else _lost(a, self.now) for a in attempts[:-1]]
        last = attempts[-1]
        return JobRecord(last.digest, attempts[0].intended, (*past, last)[-_KEPT_ATTEMPTS:], last.ended)

    def _attempt(self, owner: ObjectId, trace: Trace) -> Attempt | None:
        if not _over(trace) and not (trace.cluster and trace.nodes):
            self.notes.append(f"{trace.submission_id}: may run, but not told where; look at it by hand")
            return None
        began = self._moment(trace.claimed)
        claimed = bool(trace.claim_host)
        return Attempt(
            number=trace.number,
            submission_id=trace.submission_id,
            digest=self._digest(owner, trace.digest),
            cluster=trace.cluster,
            epoch=trace.epoch,
            nodes=trace.nodes,
            machine=self._machine(trace),
            intended=began,
            submitted=began if claimed else None,
            running=began if claimed else None,
            ended=self._ended(trace),
        )

    def _ended(self, trace: Trace) -> Ended | None:
        if trace.burnt:
            return Ended(JobState.STOPPED, "NeverRan", "its claim was taken before it could run", self.now)
        if trace.outcome is None:
            return None
        told = trace.outcome
        at = self._moment(told.at)
        return Ended(told.state, "Rebuilt", told.message, at, None, told.exit_code)

    def _digest(self, owner: ObjectId, digest: str) -> str:
        loaded = self.desired.objects.get(owner)
        return loaded.digest if loaded is not None and loaded.digest.startswith(digest) else digest

    def _machine(self, trace: Trace) -> Machine:
        first = trace.nodes[0] if trace.nodes else ""
        machine = self.machines.get((trace.cluster, first))
        if machine is not None:
            return machine
        if not _over(trace):
            self.notes.append(f"{trace.submission_id}: may run on {first}, which is not in the repo any more")
        return Machine(trace.claim_host or first, _NO_LOGIN)

    def _add_clusters(self, traces: list[Trace], heads: Mapping[str, HeadTrace | None]) -> None:
        epochs: dict[str, int] = defaultdict(int)
        for trace in traces:
            if trace.cluster:
                epochs[trace.cluster] = max(epochs[trace.cluster], trace.epoch)
        for name, head in heads.items():
            epochs[name] = max(epochs[name], head.epoch if head is not None else 0)
        for name in sorted(epochs):
            head = heads.get(name)
            record = ClusterRecord(epochs[name], withdrawn=name not in heads)
            if head is not None and head.epoch == epochs[name]:
                record = ClusterRecord(epochs[name], self._head(name, head))
            elif name in heads:
                self.notes.append(f"cluster {name}: its head file says nothing certain; is a head of it alive?")
            self.changes.append(Change(Table.CLUSTERS, name, record))
            if record.head is not None:
                self._add_known(ObjectId("Cluster", "", name), record.head.digest)

    def _head(self, cluster: str, head: HeadTrace) -> HeadRecord | None:
        loaded = self.desired.objects.get(ObjectId("Cluster", "", cluster))
        if loaded is not None and isinstance(loaded.document, Cluster):
            spec = loaded.document.spec.head
            for node in spec.candidates:
                if node.host == head.host:
                    ports = (head.gcs_port, head.dashboard_port, spec.ports.client)
                    started = self._moment(head.issued)
                    return HeadRecord(
                        node.name, node.machine, loaded.digest, ports, started, head.session, published=True
                    )
        self.notes.append(f"cluster {cluster}: a head on {head.host} may live, but the repo does not name it")
        return None

    def _add_known(self, identity: ObjectId, digest: str) -> None:
        # With this the brakes weigh its removal; what they do not know of goes unweighed.
        self.changes.append(Change(Table.KNOWN, known_key(identity), Known(digest, self.now)))

    def _moment(self, told: datetime | None) -> Moment:
        """Return a told time as a moment of no boot of ours; nothing that is over lies in the future."""
        wall = self.now.wall if told is None else min(told, self.now.wall)
        return Moment(wall, "", wall.timestamp())


def _machines(desired: Desired) -> dict[tuple[str, str], Machine]:
    pools = [loaded.document for loaded in desired.objects.values() if isinstance(loaded.document, NodePool)]
    return {(pool.spec.cluster, node.name): node.machine for pool in pools for node in pool.spec.nodes}


def _over(trace: Trace) -> bool:
    return trace.burnt or trace.outcome is not None


def _lost(attempt: Attempt, now: Moment) -> Attempt:
    return replace(attempt, ended=Ended(JobState.LOST, "Rebuilt", "left no result; another one followed", now))
