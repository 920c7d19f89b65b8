"""The whole world of one site: machines, Ray, disks, people, and the daemon that lives and dies among them."""

import hashlib
import json
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from reconciler.loop import PassReport
from reconciler.model.json import JsonObject
from reconciler.model.machine import Machine
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
from tests.simulator.daemon import SITE, Daemon, Parts
from tests.simulator.doors import Fate, MortalGate, MortalRay, WatchedSource
from tests.simulator.furnish import furnish, some_wish
from tests.simulator.oracle import Broken, Oracle
from tests.simulator.people import People, Wish

# Seconds between two passes that find nothing to do. The daemon itself looks oftener, if nothing is slow; much may
# happen between two of its looks.
IDLE_RESTS = (8.0, 8.0, 20.0, 30.0)
# How long a status directory takes to be written; without a number it is written within the pass.
PACES = (None, 5.0, 20.0)


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
        self.tokens, tokens = dict[str, str](), Tokens(self.state)
        self.gate = FakeGate(self._hear_now, self._pass_time)
        # A late request has its token with it: nobody reads the daemon's disk when it arrives.
        self.fake_ray = FakeRay(
            self.machines.ray,
            self.clock,
            lambda cluster: self.tokens[cluster] if self.fate.arriving else tokens.reveal(cluster),
        )
        self.source = WatchedSource()
        self.people = People(self.source, self.random.choice((1, 1, 2)), self.random.choice((1, 2)))
        self.oracle = Oracle(self)
        self.source.given = self.oracle.agreed.served
        later = self.machines.ray.after
        self.parts = Parts(
            clock=self.clock,
            source=self.source,
            state=self.state,
            shared=self.shared,
            status=self.status,
            gate=MortalGate(self.gate, self.fate, self.oracle.told, later, self._hear),
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
        self.backup_effects = 0
        self.newest: dict[str, Any] | None = None
        # Whether the ledger on disk has forgotten something that was done.
        self.forgotten = False
        # Head files that somebody else wrote.
        self.forged: set[bytes] = set()
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

    def _hear(self, machine: Machine, request: JsonObject, sent: int) -> JsonObject:
        """Let a request arrive at a gate; `sent` is the number of effects begun when it was sent."""
        arrival = self.oracle.arrives(machine, request, sent)
        answer = self.machines.answer(machine, request)
        self.oracle.arrived(arrival, answer)
        return answer

    def _hear_now(self, machine: Machine, request: JsonObject) -> JsonObject:
        return self._hear(machine, request, self.oracle.effects)

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
        did = report is not None and not (report.plan.empty and not report.finished)
        return 1.0 if self.daemon_is_busy or did else rest or self.idle_rest

    @property
    def daemon_is_busy(self) -> bool:
        """Whether the daemon is about something, or has yet to start."""
        return self.daemon is None or self.daemon.hands.busy

    def step(self) -> PassReport | None:
        """Do one pass, or start a daemon that is down."""
        self.passes += 1
        report = self._mortal(self._once)
        if report is not None:
            self._write_down(report)
            self.oracle.passed(report.plan)
        if self.former is not None:
            self._mortal(self._former_stays_out)
        self.oracle.check()
        return report

    def advance(self, seconds: float) -> None:
        """Let the daemon's hands work, and time pass."""
        self._mortal(lambda: self.daemon.work() if self.daemon is not None else None)
        self._pass_time(timedelta(seconds=seconds))
        self.oracle.check()

    def nobody_looks(self, seconds: float) -> None:
        """Let time pass without a pass of the daemon; what it had begun before goes on."""
        until = self.seconds + seconds
        while (left := until - self.seconds) > 1e-6:
            self.advance(min(left, 1.0) if self.daemon_is_busy else left)

    def _pass_time(self, span: timedelta) -> None:
        self.clock.advance(span)
        self.machines.ray.advance(span.total_seconds())

    def _once(self) -> PassReport | None:
        if self.daemon is None or self.daemon.fault is not None:
            self.daemon = None
            self._start()
            return None
        self.oracle.watches()
        return self.daemon.once()

    def _start(self) -> None:
        self.lives += 1
        self.oracle.watches(anew=True)
        try:
            self.daemon = Daemon(self.parts, f"daemon-{self.lives}")
        except FilesError as error:
            # The service manager starts it again.
            self.say(f"daemon {self.lives} cannot start: {error.message}")
            return
        self.say(f"daemon {self.lives} starts: {self.daemon.fault or 'leads'}")

    def _former_stays_out(self) -> None:
        """I24, I27: of two daemons that look after one site one acts, and the other says why it does not."""
        assert self.former is not None, "asked only then"
        before = self.oracle.effects
        report = self.former.once()
        if self.oracle.effects > before:
            raise Broken("I24", "a leader that was overtaken has acted")
        if report is not None and not report.trouble:
            raise Broken("I27", "a leader that was overtaken does not say why it does nothing")
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
        # It is not the daemon who looks: nobody dies of it.
        self.state.die_at = self.shared.die_at = None
        found = LedgerStore(self.state, self.shared, self.clock, site=SITE).look()
        if isinstance(found, LedgerFault) and found.fault is Fault.UNREADABLE:
            return
        if isinstance(found, LedgerFault) and found.fault in {Fault.OLDER_THAN_WORLD, Fault.MISSING}:
            self.died("its newest state directory is put back")
            self.state._folders = self.newest
        # Else nothing was done since the backup, and the backup was taken for the newest.
        self.newest, self.forgotten = None, False

    def _write_down(self, report: PassReport) -> None:
        self.say(f"{self.seconds:.1f} pass: {report.trouble}")
        if report.trouble.startswith("a bug"):
            raise Broken("I48", report.trouble)
        for each in report.finished:
            self.say(f"  {each.action.verb} {each.action.target}: {type(each.outcome).__name__}")
        for note in report.plan.notes:
            self.say(f"  note {note.target}: {note.because.text}")
        for action in report.plan.actions:
            self.say(f"  {action.verb} {action.target}: {action.because.text}")

    # The end.

    def mend(self, but: Machine | None = None) -> None:
        """Take all faults out of the world, or all but those of one machine; what people broke stays."""
        for files in (self.state, self.shared, self.status):
            files.mend()
            files.reveal()
            files.die_at = None
        self.fate.die_at, self.fate.late, self.after_death = None, 0.0, None
        self.fate.cut = {but.host} if but is not None else set()
        self.fake_ray._faults.clear()
        self.machines.runners.lag = 0.0
        self.machines.runners.blind.clear()
        self.former = None
        for machine, fake in self.machines.all.items():
            fake.failing_starts = 0
            if machine != but:
                self.gate.mend(machine)
        for _, slot in self.machines.slots():
            if slot.head is not None and slot.head.silent:
                self.machines.ray.thaw(slot.head)
        self.bring_back_ledger()
        self.people.recover()
        self.say("faults are taken back")

    def settle(self) -> None:
        """I25, I28, I30: without faults, everything becomes as people want it, and then nothing is done at all."""
        self.oracle.ending.others_go_on()
        self.mend()
        self.people.calm()
        # What waited when the machine was booted with another time waits for as long as that was set by.
        self.nobody_looks(self.clock.doubt.total_seconds())
        self.oracle.ending.come_to_rest("I30", self.oracle.ending.unfinished)
        self.oracle.ending.nothing_more()
        self.oracle.read()

    def _approve(self) -> None:
        plan = json.loads(self.status.read_elsewhere("plan.json") or b"{}")
        digests = [held["digest"] for held in plan.get("held", ())]
        if digests:
            self.people.approve(digests)
