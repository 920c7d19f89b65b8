"""What a pass leaves undone: nothing new costs no parse, no write and no call, and one new file costs one."""

import errno
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from reconciler.desired.load import load_tree
from reconciler.loop import Loop
from reconciler.model.cluster import Cluster
from reconciler.model.ids import ObjectId
from reconciler.model.ledger import Change, ClusterRecord, HeadRecord, Ledger, Meta, Table
from reconciler.model.ray import HeadAddress
from reconciler.model.snapshot import Snapshot, SourceProblem
from reconciler.model.world import Tuning
from reconciler.plan.planner import PLAN_AGE
from reconciler.record.journal import LedgerFault
from reconciler.record.ledger import LedgerStore
from reconciler.remote.tokens import Tokens
from tests.benchmarks.scene import Size, files, history, job_file
from tests.fakes.clock import FakeClock
from tests.fakes.files import FakeFiles
from tests.fakes.gate import FakeGate
from tests.fakes.ray import FakeRay
from tests.fakes.ray_world import RayWorld
from tests.fakes.source import FakeSource
from tests.simulator.daemon import SITE, Daemon, Parts

SIZE = Size(jobs=60, nodes=20, running=0, waiting=6)


class Quiet:
    """A site with a head, drained nodes and a long history, of which everything was told."""

    def __init__(self) -> None:
        self.clock, self.state, self.status, shared = FakeClock(), FakeFiles(), FakeFiles(), FakeFiles()
        self.source, self.gate, ray = FakeSource(), FakeGate(lambda *_: None), RayWorld()
        tokens = Tokens(self.state)
        head = ray.start_head(HeadAddress("main", "127.0.0.1", 6379, 8265, 10001), token=tokens.of("main").reveal())
        wanted = files(SIZE, drained=True)
        self.source.commit(wanted)
        store, desired = LedgerStore(self.state, shared, self.clock, site=SITE), load_tree(wanted)
        assert not isinstance(store.open(), LedgerFault)
        cluster = desired.objects[ObjectId("Cluster", "", "main")]
        assert isinstance(cluster.document, Cluster)
        machine = cluster.document.spec.head.candidates[0].machine
        record = HeadRecord(
            "head-01", machine, cluster.digest, (6379, 8265, 10001), self.clock.now(), head.session, published=True
        )
        store.commit([*history(SIZE, desired), Change(Table.CLUSTERS, "main", ClusterRecord(1, record))])
        parts = Parts(
            self.clock,
            self.source,
            self.state,
            shared,
            self.status,
            self.gate,
            FakeRay(ray, self.clock, lambda cluster: tokens.of(cluster).reveal()),
            tokens,
            Tuning(),
        )
        self.daemon = Daemon(parts, "here")
        assert self.daemon.loop is not None
        self.loop: Loop = self.daemon.loop
        while not self.loop.once().quiet:
            self.clock.advance(timedelta(milliseconds=10))

    def counters(self) -> dict[str, int]:
        stages = self.loop._stages
        return {
            "parses": stages.loader.parsed,
            "status writes": stages.recorder._scribe._status.written,
            "gate calls": len(self.gate.arrived),
            "looks": stages.collector.looked,
            "ledger entries": self.loop._ledger.sequence,
        }

    def spent(self, before: dict[str, int]) -> dict[str, int]:
        return {name: count - before[name] for name, count in self.counters().items() if count != before[name]}


@pytest.fixture(scope="module")
def quiet() -> Quiet:
    return Quiet()


def test_a_pass_with_nothing_new_looks_at_the_head_and_does_nothing_else(quiet: Quiet) -> None:
    before = quiet.counters()
    for _ in range(5):
        quiet.clock.advance(timedelta(milliseconds=500))
        quiet.loop.once()
    assert quiet.spent(before) == {"looks": 5}


def test_a_new_plan_that_says_the_same_writes_nothing(quiet: Quiet) -> None:
    before, plan = quiet.counters(), quiet.loop._memory.plan
    quiet.clock.advance(PLAN_AGE)
    quiet.loop.once()
    assert quiet.loop._memory.plan is not plan
    assert quiet.spent(before) == {"looks": 1}


def test_a_plan_grows_old_however_often_it_is_looked_at(quiet: Quiet) -> None:
    quiet.clock.advance(PLAN_AGE)
    quiet.loop.once()
    plan = quiet.loop._memory.plan
    for _ in range(5):
        quiet.clock.advance(PLAN_AGE / 5)
        quiet.loop.once()
    assert quiet.loop._memory.plan is not plan


def test_trouble_with_the_source_is_told_at_once_and_its_end_too(quiet: Quiet) -> None:
    def told() -> dict[str, Any] | None:
        quiet.clock.advance(timedelta(milliseconds=500))
        quiet.loop.once()
        source: dict[str, Any] | None = json.loads(quiet.status.read("summary.json") or b"{}")["source"]
        return source

    quiet.clock.advance(PLAN_AGE)
    quiet.loop.once()
    quiet.source.unreachable()
    assert (told() or {})["fault"] == "Unreachable"
    before = quiet.counters()
    assert (told() or {})["fault"] == "Unreachable"
    assert quiet.spent(before) == {"looks": 1}
    quiet.source.heal()
    assert told() is None


def test_heads_have_been_asked_already_when_the_source_is() -> None:
    quiet, looked = Quiet(), []

    class Told(FakeSource):
        def latest(self, applied: str | None, accepted: frozenset[str] = frozenset()) -> Snapshot | SourceProblem:
            looked.append(quiet.loop._stages.collector.looked)
            return quiet.source.latest(applied, accepted)

    before = quiet.loop._stages.collector.looked
    Loop(replace(quiet.loop._stages, source=Told()), quiet.loop._ledger).once()
    assert looked == [before + 1]


def test_a_source_without_a_first_revision_is_asked_when_it_is_due() -> None:
    quiet, due = Quiet(), [False, False, False, True]
    loop = Loop(quiet.loop._stages, Ledger(Meta(SITE)), due.pop)
    quiet.source.unreachable()
    looks = quiet.source.looks
    while due:
        assert loop.once().trouble == "the source has not given any revision yet"
    assert quiet.source.looks == looks + 1


def test_what_has_ended_is_not_begun_again_while_that_cannot_be_written_down() -> None:
    quiet = Quiet()
    record = quiet.loop._ledger.clusters["main"]
    assert record.head is not None
    unpublished = replace(record, head=replace(record.head, published=False))
    quiet.loop._ledger = quiet.loop._stages.store.commit([Change(Table.CLUSTERS, "main", unpublished)])
    quiet.state.fail(errno.ENOSPC, path="ledger", times=1000)
    begun = []
    for _ in range(5):
        begun += [action.verb for action in quiet.loop.once().plan.actions]
        quiet.daemon.work()
        quiet.clock.advance(timedelta(seconds=1))
    quiet.state.mend()
    assert begun == ["PublishHead"]
    assert [each.action.verb for each in quiet.loop.once().finished] == begun


def test_one_changed_file_is_one_parse_and_the_documents_that_it_changes(quiet: Quiet) -> None:
    path, data = job_file(SIZE.jobs - 1, SIZE.pools)
    before = quiet.counters()
    quiet.source.commit({path: data.replace(b"train", b"tune")})
    while not quiet.loop.once().quiet:
        quiet.clock.advance(timedelta(milliseconds=10))
    spent = quiet.spent(before)
    assert spent["parses"] == 1
    assert "gate calls" not in spent
    # The job's own document, and what all objects share: index, summary, plan and its pool's queue.
    assert spent["status writes"] <= 5
