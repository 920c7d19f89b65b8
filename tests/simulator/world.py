"""The whole world of one site: machines, Ray, disks, people, and the daemon that lives and dies among them."""

import hashlib
import json
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from reconciler.loop import PassReport
from reconciler.model.world import Tuning
from reconciler.record.journal import Fault, LedgerFault
from reconciler.record.ledger import LedgerStore
from reconciler.remote.files import FilesError
from reconciler.remote.tokens import Tokens
from tests.fakes.clock import FakeClock
from tests.fakes.files import Crash, FakeFiles
from tests.fakes.gate import FakeGate
from tests.fakes.machine import Machines
from tests.fakes.ray import FakeRay
from tests.fakes.source import FakeSource
from tests.simulator.daemon import SITE, Daemon, Parts
from tests.simulator.doors import Fate, MortalGate, MortalRay
from tests.simulator.furnish import furnish, some_wish
from tests.simulator.oracle import Broken, Oracle
from tests.simulator.people import People, Wish

# Seconds between two passes that find nothing to do. The daemon itself looks oftener, if nothing is slow; much may
# happen between two of its looks.
IDLE_RESTS = (8.0, 8.0, 20.0, 30.0)
# How long a status directory takes to be written; without a number it is written within the pass.
PACES = (None, 5.0, 20.0)
# How long the world goes on without faults until all must be settled.
CALM_PASSES = 900


class World:
    """One site. Chance decides what there is; what happens to it is told by events."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        manner = random.Random(f"manner {seed}")
        self.idle_rest = manner.choice(IDLE_RESTS)
        self.clock = FakeClock()
        self.state, self.shared, self.status = FakeFiles(seed), FakeFiles(seed + 1), FakeFiles(seed + 2)
        self.machines = Machines(self.shared)
        self.fate = Fate()
        tokens = Tokens(self.state)
        self.gate = FakeGate(self.machines.answer, self._pass_time)
        self.fake_ray = FakeRay(self.machines.ray, self.clock, tokens.reveal)
        self.source = FakeSource()
        self.people = People(self.source, self.random.choice((1, 1, 2)), self.random.choice((1, 2)))
        self.oracle = Oracle(self)
        later = self.machines.ray.after
        self.parts = Parts(
            clock=self.clock,
            source=self.source,
            state=self.state,
            shared=self.shared,
            status=self.status,
            gate=MortalGate(self.gate, self.fate, self.oracle.told, later),
            ray=MortalRay(self.fake_ray, self.fate, self.oracle.told, later, self.clock),
            tokens=tokens,
            tuning=Tuning(),
            pace=manner.choice(PACES),
        )
        self.daemon: Daemon | None = None
        self.former: Daemon | None = None
        self.power_fails = False
        # What is to happen as soon as the daemon has died.
        self.after_death: Callable[[World], None] | None = None
        self.backup: dict[str, Any] | None = None
        self.newest: dict[str, Any] | None = None
        self.lives = 0
        self.passes = 0
        # How many of them it took to settle once there were no faults any more.
        self.calm = 0
        self.log: list[str] = []
        furnish(self)

    @property
    def seconds(self) -> float:
        """The time since the world began."""
        return self.machines.ray.seconds

    @property
    def log_hash(self) -> str:
        """What happened, as one short text."""
        return hashlib.sha256("\n".join(self.log).encode()).hexdigest()

    def say(self, line: str) -> None:
        """Write down what happens."""
        self.log.append(line)

    def some_wish(self, chance: random.Random) -> Wish:
        """Return a job that somebody may think of."""
        return some_wish(self.people, chance)

    # Time and the daemon.

    def steady(self) -> None:
        """Look around often, and write status at once: for stories whose moments are counted or read."""
        self.idle_rest, self.parts = IDLE_RESTS[0], replace(self.parts, pace=None)

    def live(self, seconds: float, rest: float | None = None) -> None:
        """Let time pass, with passes of the daemon in it; `rest` lies between two of them that do nothing."""
        until = self.seconds + seconds
        while True:
            report = self.step()
            left = until - self.seconds
            if left <= 1e-6:
                return
            self.advance(min(left, self._rest(report, rest)))

    def _rest(self, report: PassReport | None, rest: float | None = None) -> float:
        busy = self.daemon is None or self.daemon.hands.busy
        return (
            1.0
            if busy or (report is not None and not (report.plan.empty and not report.finished))
            else rest or self.idle_rest
        )

    def step(self) -> PassReport | None:
        """Do one pass, or start a daemon that is down."""
        self.passes += 1
        report = self._mortal(self._once)
        if report is not None:
            self._write_down(report)
        if self.former is not None:
            self._mortal(self._former_stays_out)
        self.oracle.check()
        return report

    def advance(self, seconds: float) -> None:
        """Let the daemon's hands work, and time pass."""
        self._mortal(lambda: self.daemon.work() if self.daemon is not None else None)
        self._pass_time(timedelta(seconds=seconds))
        self.oracle.check()

    def _pass_time(self, span: timedelta) -> None:
        self.clock.advance(span)
        self.machines.ray.advance(span.total_seconds())

    def _once(self) -> PassReport | None:
        if self.daemon is None or self.daemon.fault is not None:
            self.daemon = None
            self._start()
            return None
        return self.daemon.once()

    def _start(self) -> None:
        self.lives += 1
        try:
            self.daemon = Daemon(self.parts, f"daemon-{self.lives}")
        except FilesError as error:
            # The service manager starts it again.
            self.say(f"daemon {self.lives} cannot start: {error.message}")
            return
        self.say(f"daemon {self.lives} starts: {self.daemon.fault or 'leads'}")

    def _former_stays_out(self) -> None:
        assert self.former is not None, "asked only then"
        before = self.oracle.effects
        report = self.former.once()
        if report is not None and (not report.trouble or self.oracle.effects > before):
            raise Broken("I24", "a leader that was overtaken has acted")
        # What it had begun before may still arrive.
        self.former.work()

    def _mortal(self, act: Callable[[], PassReport | None]) -> PassReport | None:
        try:
            return act()
        except Crash as crash:
            self.died(str(crash))
        except (Broken, AssertionError):
            raise
        except Exception as error:
            raise Broken("I48", f"the daemon ends with {type(error).__name__}: {error}") from error
        return None

    def died(self, where: str) -> None:
        """Let the daemon be gone, with its machine's memory or without."""
        self.say(f"the daemon dies ({where}{', power fails' if self.power_fails else ''})")
        self.daemon = None
        self.fate.die_at = None
        for files in (self.state, self.status, self.shared):
            files.die_at = None
            if self.power_fails:
                files.crash()
        if self.power_fails:
            self.clock.reboot()
        self.power_fails = False
        then, self.after_death = self.after_death, None
        if then is not None:
            then(self)

    def bring_back_ledger(self) -> None:
        """Put the newest state directory back, after it was lost or replaced by a backup."""
        if self.newest is None:
            return
        found = LedgerStore(self.state, self.shared, self.clock, site=SITE).look()
        if isinstance(found, LedgerFault) and found.fault is Fault.UNREADABLE:
            return
        if isinstance(found, LedgerFault) and found.fault in {Fault.OLDER_THAN_WORLD, Fault.MISSING}:
            self.died("its newest state directory is put back")
            self.state._folders = self.newest
        # Else nothing was done since the backup, and the backup was taken for the newest.
        self.newest = None

    def _write_down(self, report: PassReport) -> None:
        self.say(f"{self.seconds:.1f} pass: {report.trouble}")
        for each in report.finished:
            self.say(f"  {each.action.verb} {each.action.target}: {type(each.outcome).__name__}")
        for note in report.plan.notes:
            self.say(f"  note {note.target}: {note.because.text}")
        for action in report.plan.actions:
            self.say(f"  {action.verb} {action.target}: {action.because.text}")

    # The end.

    def mend(self) -> None:
        """Take all faults out of the world, and let people mend what they broke."""
        for files in (self.state, self.shared, self.status):
            files.mend()
            files.reveal()
            files.die_at = None
        self.fate.die_at, self.fate.late, self.after_death = None, 0.0, None
        self.fate.cut.clear()
        self.fake_ray._faults.clear()
        self.machines.runners.lag = 0.0
        self.former = None
        for machine, fake in self.machines.all.items():
            self.gate.mend(machine)
            fake.failing_starts = 0
        for _, slot in self.machines.slots():
            if slot.head is not None and slot.head.silent:
                self.machines.ray.thaw(slot.head)
        self.bring_back_ledger()
        self.people.calm()
        self.say("all faults are taken back")

    def settle(self) -> None:
        """I25, I28, I30: without faults, everything becomes as people want it, and then nothing is done at all."""
        self.mend()
        for number in range(CALM_PASSES):
            report, self.calm = self.step(), number + 1
            open_ends = list(self.oracle.unfinished())
            quiet = report is not None and report.plan.empty and not report.finished
            if quiet and not open_ends and self.daemon is not None and not self.daemon.hands.busy:
                break
            if number % 30 == 29:
                self._approve()
            self.advance(self._rest(report) * (4 if number > 300 else 1))
        else:
            raise Broken("I30", f"after {CALM_PASSES} passes without faults: {'; '.join(open_ends)}{self._holds()}")
        self._nothing_more()
        self.oracle.status_is_true()
        self.oracle.no_secret_told()

    def _approve(self) -> None:
        plan = json.loads(self.status.read_elsewhere("plan.json") or b"{}")
        digests = [held["digest"] for held in plan.get("held", ())]
        if digests:
            self.people.approve(digests)

    def _holds(self) -> str:
        plan = json.loads(self.status.read_elsewhere("plan.json") or b"{}")
        return "".join(f"\n    {hold['object']}: {hold['message']}" for hold in plan.get("holds", ()))

    def _nothing_more(self) -> None:
        self.live(60, rest=30)
        assert self.daemon is not None, "it leads"
        assert self.daemon.ledger is not None, "it leads"
        effects, sequence, written = self.oracle.effects, self.daemon.ledger.sequence, self.status._tick
        self.live(120, rest=30)
        if self.oracle.effects != effects:
            raise Broken("I28", f"there was nothing to do, and {self.oracle.effects - effects} effects were begun")
        if self.daemon.ledger.sequence != sequence:
            raise Broken("I28", "there was nothing to note, and the ledger was written")
        if self.status._tick != written:
            raise Broken("I28", "nothing happened, and status files were written")
