"""One life of the daemon: the real stages on the world's doors, put together as `app.py` does it."""

from dataclasses import dataclass, replace
from datetime import timedelta

from reconciler.clock import Clock
from reconciler.desired.load import Loader
from reconciler.execute.runner import Runner
from reconciler.kind import Doors, Site
from reconciler.kinds import ALL
from reconciler.loop import Loop, PassReport, Stages
from reconciler.model import layout
from reconciler.model.ledger import META_KEY, Change, Ledger, Table
from reconciler.model.plan import Plan
from reconciler.model.world import Tuning
from reconciler.observe.collect import Collector
from reconciler.record.accepted import Accepted
from reconciler.record.history import History
from reconciler.record.journal import LedgerFault
from reconciler.record.leader import Leadership
from reconciler.record.ledger import LedgerStore
from reconciler.record.recorder import Recorder
from reconciler.record.scribe import Scribe
from reconciler.record.status import StatusWriter
from reconciler.remote.files import Files
from reconciler.remote.gate import Gate
from reconciler.remote.ray import RayApi
from reconciler.remote.tokens import Tokens
from reconciler.source.source import Source
from tests.fakes.job_runner import ROOT
from tests.fakes.signer import FakeSigner
from tests.simulator.doors import Hands

SITE = "a1b2c3d4e5f60718"
PROGRAM, PROGRAM_SHA256 = f"{ROOT}/{layout.program('0123456789ab')}", "0" * 64


@dataclass(frozen=True, slots=True)
class Parts:
    """What a daemon is given by its world."""

    clock: Clock
    source: Source
    state: Files
    shared: Files
    status: Files
    gate: Gate
    ray: RayApi
    tokens: Tokens
    tuning: Tuning
    # How long the status directory takes; without a number what is told is written at once.
    pace: float | None = None


class Daemon:
    """A process of ours. `fault` says why it may not act; `loop` is None then."""

    def __init__(self, parts: Parts, name: str) -> None:
        self.hands = Hands(parts.clock)
        self.pens = Hands(parts.clock, parts.pace) if parts.pace is not None else None
        self.fault: LedgerFault | None = None
        self.loop: Loop | None = None
        status, history = StatusWriter(parts.status, parts.clock), History(parts.status, parts.clock)
        scribe = Scribe(status, history, self.pens)
        recorder = Recorder(scribe, ALL, parts.clock)
        store = LedgerStore(parts.state, parts.shared, parts.clock, site=SITE)
        ledger = store.open()
        if isinstance(ledger, LedgerFault):
            recorder.read_only(str(ledger))
            self.fault = ledger
            return
        leadership = Leadership(parts.shared, parts.clock, name)
        term = leadership.take(ledger.meta.term)
        recorder.only_while(leadership.holds)
        ledger = store.commit([Change(Table.META, META_KEY, replace(ledger.meta, term=term))])
        store.anchor()
        signers = FakeSigner().allowed_signers().encode()
        if parts.shared.read(layout.ALLOWED_SIGNERS) != signers:
            parts.shared.write(layout.ALLOWED_SIGNERS, signers)
        doors = Doors(
            parts.gate,
            parts.ray,
            parts.shared,
            FakeSigner(),
            parts.tokens,
            parts.clock,
            Site(SITE, term, ROOT, PROGRAM, PROGRAM_SHA256, "~/.rayops"),
        )
        effects = {effect: do for kind in ALL for effect, do in kind.effects.items()}
        stages = Stages(
            clock=parts.clock,
            source=parts.source,
            loader=Loader(parts.state),
            store=store,
            collector=Collector(doors, parts.clock, None, timedelta()),
            runner=Runner(doors, effects, self.hands),
            recorder=recorder,
            kinds=ALL,
            leadership=leadership,
            tuning=parts.tuning,
            accepted=Accepted(parts.state),
        )
        self.loop = Loop(stages, ledger)

    @property
    def ledger(self) -> Ledger | None:
        """What the daemon remembers."""
        return self.loop._ledger if self.loop is not None else None

    @property
    def plan(self) -> Plan | None:
        """What the last pass decided."""
        return self.loop._memory.plan if self.loop is not None else None

    @property
    def tells(self) -> bool:
        """Whether something is on its way to the status directory."""
        return self.pens is not None and self.pens.busy

    def work(self) -> None:
        """Do what was begun beside the loop, as far as it is due."""
        self.hands.work()
        if self.pens is not None:
            self.pens.work()

    def once(self) -> PassReport | None:
        """Do one pass; None when it may only look on."""
        return self.loop.once() if self.loop is not None else None
