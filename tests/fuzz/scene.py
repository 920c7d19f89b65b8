"""A site in the middle of its life, and one pass over it: decide, write down, tell, and let machines read orders.

What foreign bytes are read into is put there. That the reader is content says little: what it let pass must not
stop the pass, now or after a restart.
"""

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import cache
from pathlib import Path

import orjson

from reconciler.kind import Doors, Site
from reconciler.kinds import ALL
from reconciler.loop import settled_plan
from reconciler.model.cluster import Cluster
from reconciler.model.effect import Effect, StartWorker, SubmitAttempt
from reconciler.model.json import JsonObject
from reconciler.model.ledger import Ledger
from reconciler.model.machine import Machine
from reconciler.model.nodepool import NodePool
from reconciler.model.outcome import FailureKind, NotDone, Outcome
from reconciler.model.plan import Plan
from reconciler.model.ray import HeadAddress, HeadSeen, Submission
from reconciler.model.sighting import Present, Sighting, Unreachable
from reconciler.model.world import Role, SlotId, SlotSeen, SlotState, World
from reconciler.node import attempt, gate, orders
from reconciler.node.documents import Fields
from reconciler.node.failure import NotDone as GateRefusal
from reconciler.record import journal
from reconciler.record.history import History
from reconciler.record.recorder import Recorder
from reconciler.record.scribe import Scribe
from reconciler.record.status import StatusWriter
from reconciler.remote.tokens import Tokens
from tests.fakes.clock import FakeClock
from tests.fakes.files import FakeFiles
from tests.fakes.gate import FakeGate
from tests.fakes.signer import FakeSigner
from tests.fuzz.engine import CODE, Broken
from tests.kinds.shorthand import world_of

# Where new steps count when a pass is made. Writing the status takes most of the time and has few ways to go.
WATCHED = tuple(f"{CODE}/{part}" for part in ("desired", "kinds", "model", "node", "plan", "queue", "remote"))
ROOT = "/shared"
SITE = Site("a1b2c3d4e5f60718", 3, ROOT, f"{ROOT}/.rayops/bin/node.pyz", "0" * 64, "~/.rayops")
# A head and a node that are up, and one of each of which only their machines know.
# One attempt that Ray has, one that it lost, one that failed often and comes again, one that waits.
WORDS: JsonObject = {
    "case": "fuzzed",
    "desired": {
        "site": {},
        "user/alice": {},
        "team/rl": {},
        "cluster/main": {},
        "cluster/other": {"head": {"candidates": ["cpu-02"]}},
        "nodepool/h20": {"nodes": ["n1", "n2", "n3", "n4"], "drain": [{"node": "n3", "after": "1h"}]},
        "job/rl/runs": {},
        "job/rl/lost": {},
        "job/rl/tired": {"retry": {"limit": 1000}},
        "job/rl/waits": {"dependsOn": ["runs"]},
    },
    "ledger": {
        "cluster/main": {"head": "running"},
        "node/main/n1": "joined",
        "node/main/n2": "joined",
        "node/main/n4": "starting",
        "cluster/other": {"head": {"is": "starting", "node": "cpu-02"}},
        "drain/main/n3": {"since": "10m"},
        "job/rl/runs": {"attempts": [{"is": "running", "nodes": ["n1"]}]},
        "job/rl/lost": {"attempts": [{"is": "running", "nodes": ["n2"], "vanished": "2m"}]},
        "job/rl/tired": {
            "attempts": [{"is": "failed", "failure": "transient", "ended": "30s", "cleaned": True}] * 19,
            "dropped": {"counted": 20, "seconds": 1e6},
        },
    },
    "observed": {"head/main": {"jobs": {"rl/runs/1": "RUNNING"}}, "head/other": "absent"},
}


@cache
def living() -> World:
    """Return a site at which everything is up and some jobs are under way."""
    return world_of(WORDS)


def stages(world: World) -> Iterator[World]:
    """Give the site in all stages of its life: as it is, idle, with a head alone, and before anything was done."""
    ledger = world.ledger
    idle = replace(ledger, jobs={}, drains={})
    alone = replace(idle, nodes={})
    empty_machines = _with_empty_machines(world)
    yield world
    yield replace(world, ledger=idle)
    yield replace(empty_machines, ledger=alone)
    yield replace(empty_machines, ledger=replace(alone, clusters={}))


def _with_empty_machines(world: World) -> World:
    nothing = Present(SlotSeen(SlotState.NONE), world.now)
    slots: dict[SlotId, Sighting[SlotSeen]] = {}
    for each in world.desired.objects.values():
        spec = each.document.spec
        if isinstance(each.document, Cluster):
            slots |= {SlotId(each.id.name, Role.HEAD, node.name): nothing for node in spec.head.candidates}
        if isinstance(each.document, NodePool):
            slots |= {SlotId(spec.cluster, Role.WORKER, node.name): nothing for node in spec.nodes}
    return replace(world, observed=replace(world.observed, slots=slots))


def pass_over(world: World, *, tell: bool = True) -> None:
    """Do what a pass does with a world; stop unless each part takes what the part before it made.

    To `tell` people takes longer than all the rest; of one site in several stages once is enough.
    """
    plan, after = settled_plan(world, ALL)
    ledger = after.ledger.apply(change for action in plan.actions for change in action.before)
    _write_down(ledger, world)
    if tell:
        _tell(replace(after, ledger=ledger), plan)
    hands = _Hands()
    for action in plan.actions:
        hands.do(action.effect)


def _write_down(ledger: Ledger, world: World) -> None:
    data, _ = journal.snapshot(ledger, world.now.wall)
    found = journal.read(data, "the journal")
    if not isinstance(found, journal.Recalled) or found.ledger != ledger:
        raise Broken(f"not read again: what was decided cannot be read after a restart: {found}")


def _tell(world: World, plan: Plan) -> None:
    status, clock = FakeFiles(), FakeClock()
    scribe = Scribe(StatusWriter(status, clock), History(status, clock))
    Recorder(scribe, ALL, clock).record(world, plan, (), None, "")
    for folder in ("", *(kind.name.lower() for kind in ALL)):
        for name in status.list(folder):
            if name.endswith(".json"):
                orjson.loads(status.read(f"{folder}/{name}" if folder else name) or b"")


def doors(shared: FakeFiles) -> Doors:
    """Return doors to machines that only read their orders, and to a shared directory."""
    tokens = Tokens(FakeFiles(), lambda: "t0ken" * 10)
    return Doors(FakeGate(_taken), _Ray(), shared, FakeSigner(), tokens, FakeClock(), SITE)


class _Hands:
    """Carries out effects, and reads on the other side what they ask for."""

    def __init__(self) -> None:
        self._doors = doors(FakeFiles())
        self._effects = {effect: do for kind in ALL for effect, do in kind.effects.items()}

    def do(self, effect: Effect) -> None:
        if isinstance(effect, StartWorker):
            self._doors.tokens.of(effect.cluster)  # made when its head was started
        outcome = self._effects[type(effect)](self._doors, effect)
        if isinstance(outcome, NotDone) and outcome.kind in {FailureKind.INVALID, FailureKind.BUG}:
            raise Broken(
                f"not taken: {type(effect).__name__} is refused by those who are to do it: {outcome.message}"
            )
        if isinstance(effect, SubmitAttempt):
            self._read_task(effect.submission_id)

    def _read_task(self, submission_id: str) -> None:
        """Read the job directory as the runner does."""
        path = f"jobs/{submission_id}/config/attempt.json"
        with tempfile.TemporaryDirectory() as folder:
            job = Path(folder) / submission_id
            (job / "config").mkdir(parents=True)
            written = self._doors.shared.read(path) or b""
            (job / "config" / "attempt.json").write_bytes(written)
            try:
                attempt.read_task(job, hashlib.sha256(written).hexdigest())
            except GateRefusal as refusal:
                raise Broken(f"not run: the job runner refuses its attempt: {refusal.message}") from refusal


def _taken(_: Machine, request: JsonObject) -> JsonObject:
    """Read a request as a gate does, as far as it can be read without doing it."""
    args = Fields(request["args"], "args")
    try:
        match request["verb"]:
            case "start-head" | "start-worker" as verb:
                orders.read_order(verb.removeprefix("start-"), args)
            case verb:
                gate.VERBS[verb](args, Path("/nowhere"))
    except GateRefusal as refusal:
        return {"protocol": 1, "ok": False, "kind": refusal.kind, "message": refusal.message}
    return {"protocol": 1, "ok": True, "result": {}}


class _Ray:
    """A head that is too busy for everything."""

    def look(self, head: HeadAddress, submission_ids: Sequence[str], timeout: timedelta) -> Sighting[HeadSeen]:
        return Unreachable("busy", FakeClock().now())

    def submit(self, head: HeadAddress, submission: Submission, timeout: timedelta) -> Outcome:
        return _BUSY

    def stop(self, head: HeadAddress, submission_id: str, timeout: timedelta) -> Outcome:
        return _BUSY

    def delete(self, head: HeadAddress, submission_id: str, timeout: timedelta) -> Outcome:
        return _BUSY

    def drain(self, head: HeadAddress, node_id: str, reason: str, timeout: timedelta) -> Outcome:
        return _BUSY

    def close(self) -> None:
        pass


_BUSY = NotDone(FailureKind.TRANSIENT, "busy")
