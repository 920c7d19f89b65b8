"""Be the daemon, or one pass of it: the leader of a site."""

import logging
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from threading import Event

from reconciler import logs
from reconciler.app.failpoints import fail_points
from reconciler.app.parts import DAEMON, ReadOnly, doors, ground, only_user, publish, source_of
from reconciler.app.published import Published
from reconciler.clock import Clock
from reconciler.config import Settings
from reconciler.daemon import Timers, Wakeups, listen, run
from reconciler.desired.load import Loader
from reconciler.execute.runner import Passing, Runner, go_on
from reconciler.garbage import rare_collections
from reconciler.kinds import ALL
from reconciler.loop import Loop, PassReport, Stages
from reconciler.model.ledger import META_KEY, Change, Table
from reconciler.observe.collect import Collector
from reconciler.record.accepted import Accepted
from reconciler.record.history import History
from reconciler.record.journal import LedgerFault
from reconciler.record.leader import Leadership, living_leader
from reconciler.record.ledger import LedgerStore
from reconciler.record.recorder import Recorder
from reconciler.record.scribe import Scribe
from reconciler.record.status import StatusWriter
from reconciler.record.text import Redaction
from reconciler.remote.files import FilesError
from reconciler.source.apart import Apart
from reconciler.source.watch import Watch, references_of

log = logging.getLogger(__name__)

# Heads and files asked or told at the same time; they answer in milliseconds, and a head that hangs has a limit.
HANDS = 32
# How long one pass waits for looks and for the source: what takes longer is used by the next one.
PATIENCE = timedelta(seconds=2)
# How long the end waits for the status directory: a share that hangs must not keep the next daemon from leading.
LAST_WORDS = timedelta(seconds=10)
# A single pass has no next one; the source itself bounds what it does.
PATIENCE_OF_ONE_PASS = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Running:
    """A loop with what keeps it company."""

    loop: Loop
    recorder: Recorder
    leadership: Leadership
    published: Published


@dataclass(frozen=True, slots=True)
class Company:
    """What keeps a lead company: what wakes it, what it hides, who tells readers, and who hears of its moments.

    `hands` write for readers, one word after the other. `other` names the leader that lives beside us, if any.
    """

    wakeups: Wakeups
    redaction: Redaction
    recorder: Recorder
    hands: Executor
    other: Callable[[], str]
    passing: Passing = go_on


@contextmanager
def company(
    settings: Settings,
    clock: Clock,
    wakeups: Wakeups,
    redaction: Redaction,
    passing: Passing = go_on,
    troubles: dict[str, str] | None = None,
) -> Iterator[Company]:
    """Give what a lead needs around it; at the end all is written for readers.

    With the `troubles` of the lead before, each of them is told once. Raises FilesError without a place to write.
    """
    here = ground(settings)
    place = here.status
    status, history = StatusWriter(place, clock, redaction), History(place, clock, redaction)
    hands = ThreadPoolExecutor(1, thread_name_prefix="rayops-status")
    recorder = Recorder(Scribe(status, history, hands), ALL, clock, troubles)

    def other() -> str:
        return living_leader(here.shared, place, clock, _name())

    # Until it leads itself, as then its leadership is asked: one may have begun while a directory hung.
    recorder.only_while(lambda: not other())
    try:
        yield Company(wakeups, redaction, recorder, hands, other, passing)
    finally:
        # After all that was told before, and after the farewell of a leader.
        if not wait([hands.submit(_nothing)], LAST_WORDS.total_seconds()).done:
            log.warning("not all was written for readers", extra={"seconds": LAST_WORDS.total_seconds()})
        hands.shutdown(wait=False, cancel_futures=True)


@contextmanager
def running(
    settings: Settings, clock: Clock, around: Company, patience: timedelta = PATIENCE, verb: str = DAEMON
) -> Iterator[Running]:
    """Build everything that a pass needs, as the leader of the site; close it at the end.

    A pass waits for its source no longer than `patience`; `verb` is said to who is refused meanwhile. Raises
    Refused when another daemon runs here, and ReadOnly when the ledger must not be used.
    """
    wakeups, recorder, passing = around.wakeups, around.recorder, around.passing
    with ExitStack() as stack:
        stack.enter_context(rare_collections())
        here = ground(settings)
        stack.enter_context(only_user(settings, verb))
        store = LedgerStore(here.state, here.shared, clock)
        ledger = store.open()
        if isinstance(ledger, LedgerFault):
            raise ReadOnly(_refuse(around, str(ledger)))
        # First all that may refuse: nobody must stand down for a daemon that cannot lead.
        published = publish(settings, here)
        pool = ThreadPoolExecutor(HANDS, thread_name_prefix="rayops")
        machines = ThreadPoolExecutor(settings.machines.parallel, thread_name_prefix="machines")
        for threads in (pool, machines):
            stack.callback(threads.shutdown, wait=False, cancel_futures=True)
        through = doors(settings, here, ledger, clock, around.redaction, stack)
        called_off = Event()
        remote = source_of(settings, clock, settings.paths.state / "mirror", called_off)
        source = Apart(remote, clock, patience, wakeups.wake_for_source, called_off)
        stack.callback(source.close)
        leadership = Leadership(here.shared, clock, _name())
        term = leadership.take(ledger.meta.term)
        # Where words to readers are written: a share that hangs must not keep us from ending.
        stack.callback(around.hands.submit, leadership.leave)
        recorder.only_while(leadership.holds)
        passing("lead")
        ledger = store.commit([Change(Table.META, META_KEY, replace(ledger.meta, term=term))])
        store.anchor()
        through = replace(through, site=replace(through.site, term=term))
        stages = Stages(
            clock=clock,
            source=source,
            loader=Loader(here.state),
            store=store,
            collector=Collector(through, clock, pool, PATIENCE, wakeups.wake, machines),
            runner=Runner(
                through,
                {effect: do for kind in ALL for effect, do in kind.effects.items()},
                pool,
                wakeups.wake,
                machines=machines,
                passing=passing,
                lost_to=leadership.lost_to,
            ),
            recorder=recorder,
            kinds=ALL,
            leadership=leadership,
            accepted=Accepted(here.state),
            tuning=settings.tuning,
            passing=passing,
        )
        yield Running(Loop(stages, ledger, wakeups.take_source_due), recorder, leadership, published)


def run_daemon(settings: Settings, clock: Clock, level: str, crashes: str = "") -> None:
    """Be the daemon until a signal asks it to stop; without usable files, say so and wait for them.

    `crashes` names its fail points. Raises Misconfigured when they are none.
    """
    wakeups, redaction = Wakeups(), Redaction()
    logs.start(settings.daemon.log, level, redaction)
    passing = fail_points(crashes)
    troubles: dict[str, str] = {}
    begun = False
    with ExitStack() as stack:
        listen(wakeups, stack)
        while not wakeups.stopping:
            # Before the look at the ledger, so that a signal during it is not slept over.
            wakeups.event.clear()
            try:
                # Anew each time: what was told may stand in a mount point, when the share is mounted now.
                with company(settings, clock, wakeups, redaction, passing, troubles) as around:
                    begun = True
                    _lead_or_say(settings, clock, around)
            except FilesError as error:
                if not begun:
                    raise
                if troubles.get("status directory") != error.message:
                    log.warning("nothing can be told to readers", extra={"text": error.message})
                troubles["status directory"] = error.message
            if not wakeups.stopping:
                clock.wait(wakeups.event, settings.daemon.heartbeat)


def _lead_or_say(settings: Settings, clock: Clock, around: Company) -> None:
    """Lead until asked to stop, or say what keeps from it."""
    try:
        with suppress(ReadOnly):  # that is told already
            _lead(settings, clock, around)
    except FilesError as error:
        _refuse(around, error.message)


def _refuse(around: Company, reason: str) -> str:
    """Say that nothing is done here, and why: to readers, unless a living leader speaks to them. Return it."""
    leader = around.other()
    around.recorder.read_only(reason, leader)
    if leader:
        return f"{reason} ({leader} leads this site)"
    around.recorder.beat(0, os.getpid(), "")
    return reason


def _name() -> str:
    return f"{os.uname().nodename}:{os.getpid()}"


def _nothing() -> None:
    """Do nothing, after what was to be done before."""


def _lead(settings: Settings, clock: Clock, around: Company) -> None:
    wakeups = around.wakeups
    with running(settings, clock, around) as live, Timers(clock) as timers:
        timers.every(settings.source.poll, wakeups.wake_for_source)
        timers.every(settings.daemon.resync, wakeups.wake)
        timers.every(settings.daemon.heartbeat, lambda: _beat(live))
        watch = _watch(settings, wakeups)
        log.info("leading", extra={"term": live.loop.term, "site": live.loop.site})
        try:
            run(live.loop, wakeups, clock, timers)
        finally:
            watch.close()


def _watch(settings: Settings, wakeups: Wakeups) -> Watch:
    """Watch a source on a local disk, so that a change is seen at once; the poll stays what can be relied on."""
    source = settings.source
    folder = source.directory or references_of(Path((source.url or "").removeprefix("file://")))
    watch = Watch(folder, wakeups.wake_for_source)
    if reason := watch.start():
        log.info("source not watched", extra={"reason": reason})
    return watch


def _beat(live: Running) -> None:
    world = live.loop.world
    # After a pause this timer is first: no pass has noticed yet that another daemon took over.
    if not live.loop.overtaken and live.leadership.holds():
        live.published.put_right()
        live.recorder.beat(live.loop.passes, os.getpid(), world.desired.revision if world is not None else "")


def run_once(settings: Settings, clock: Clock, level: str, crashes: str = "") -> PassReport:
    """Do one pass, and wait for what it began; `crashes` as for `run_daemon`."""
    wakeups, redaction = Wakeups(), Redaction()
    logs.start(settings.daemon.log, level, redaction)
    passing = fail_points(crashes)
    with (
        company(settings, clock, wakeups, redaction, passing) as around,
        running(settings, clock, around, PATIENCE_OF_ONE_PASS, "once") as live,
    ):
        report = live.loop.once()
        while live.loop.busy:
            clock.wait(wakeups.event, timedelta(seconds=1))
            wakeups.event.clear()
            live.loop.finish()
        _beat(live)
        return report
