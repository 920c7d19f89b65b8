"""When to run: timers, wake-ups, signals. What to do is the loop's business."""

import logging
import signal
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from datetime import datetime, timedelta
from types import FrameType

from apscheduler.schedulers.background import BackgroundScheduler

from reconciler.clock import Clock
from reconciler.loop import Loop, PassReport
from reconciler.model.moment import Moment

log = logging.getLogger(__name__)

# Effects that end together, or a signal and the watch that tell of the same commit, are one pass instead of one
# each; and what a pass has begun is not slowed by the looks of the next one.
BREATH = timedelta(milliseconds=50)
# A quiet world is looked at this often even without any timer, so that a stopped scheduler is no stopped daemon.
LONGEST_SLEEP = timedelta(seconds=30)
# What a pass could not do now, a full disk or another leader, is not tried a hundred times a second.
AFTER_TROUBLE = timedelta(seconds=1)
# A clock that is slewed is off by less between two looks, and what that delays is no longer than a look.
SET_BACK = timedelta(seconds=1)


class Wakeups:
    """One event and what is due with it. Many wake-ups before a pass are one."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self.stopping = False
        self._source_due = True
        self._lock = threading.Lock()

    def wake(self) -> None:
        """Ask for a pass soon."""
        self.event.set()

    def wake_for_source(self) -> None:
        """Ask for a pass that looks at the source."""
        with self._lock:
            self._source_due = True
        self.event.set()

    def stop(self) -> None:
        """Ask for the end after the present pass."""
        self.stopping = True
        self.event.set()

    def take_source_due(self) -> bool:
        """Say once whether the source is to be looked at."""
        with self._lock:
            due, self._source_due = self._source_due, False
        return due


class Timers(AbstractContextManager["Timers"]):
    """Periodic wake-ups. A late or missed one is run once, never dropped and never twice at a time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._set = _set(clock.now())
        defaults = {"misfire_grace_time": None, "coalesce": True, "max_instances": 1}
        self._scheduler = BackgroundScheduler(job_defaults=defaults, timezone="UTC")

    def every(self, period: timedelta, call: Callable[[], None]) -> None:
        """Call again and again."""
        self._scheduler.add_job(call, "interval", seconds=period.total_seconds())

    def keep_time(self) -> None:
        """Call what is periodic now if the wall clock was set back: the scheduler goes by that, and would wait."""
        before, self._set = self._set, _set(self._clock.now())
        if self._set < before - SET_BACK:
            log.warning("the clock was set back", extra={"seconds": (before - self._set).total_seconds()})
            for job in self._scheduler.get_jobs():
                job.modify(next_run_time=self._clock.now().wall)

    def __enter__(self) -> "Timers":
        self._scheduler.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._scheduler.shutdown(wait=False)


def _set(now: Moment) -> datetime:
    """Return what the wall clock was set to when the machine booted; only whoever sets it changes that."""
    return now.wall - timedelta(seconds=now.ticks)


def run(loop: Loop, wakeups: Wakeups, clock: Clock, timers: Timers) -> None:
    """Run passes until asked to stop; return only between two passes, so that nothing is left half written."""
    while not wakeups.stopping:
        wakeups.event.clear()
        report = loop.once()
        timers.keep_time()
        clock.wait(threading.Event(), BREATH)
        if not wakeups.stopping:
            clock.wait(wakeups.event, _sleep(report, clock))
    log.info("stopped between two passes")


def _sleep(report: PassReport, clock: Clock) -> timedelta:
    if report.trouble:
        return AFTER_TROUBLE
    if not report.plan.empty:
        # What was done or noted changes what comes next; its effects may have ended already.
        return BREATH
    if report.wake is None:
        return LONGEST_SLEEP
    return min(LONGEST_SLEEP, max(BREATH, report.wake.since(clock.now())))


def listen(wakeups: Wakeups, stack: ExitStack) -> None:
    """Let signals stop the daemon (TERM, INT) or make it look at the source at once (HUP, USR1)."""
    # In a thread of its own: a handler would interrupt the main thread, perhaps within the very event that it sets.
    told, tell = socket.socketpair()
    tell.settimeout(0)
    heard = {
        signal.SIGTERM: wakeups.stop,
        signal.SIGINT: wakeups.stop,
        signal.SIGHUP: wakeups.wake_for_source,
        signal.SIGUSR1: wakeups.wake_for_source,
    }
    thread = threading.Thread(target=_hear, args=(told, heard), name="signals", daemon=True)
    thread.start()
    stack.callback(thread.join)
    stack.callback(tell.close)
    # A full pipe holds signals that are not heard yet already.
    stack.callback(signal.set_wakeup_fd, signal.set_wakeup_fd(tell.fileno(), warn_on_full_buffer=False))
    for number in heard:
        stack.callback(signal.signal, number, signal.signal(number, _left_to_the_thread))


def _hear(told: socket.socket, heard: Mapping[int, Callable[[], None]]) -> None:
    with told:
        while numbers := told.recv(4096):
            for number in sorted(heard.keys() & {*numbers}):
                log.info("signal", extra={"signal": signal.Signals(number).name})
                heard[number]()


def _left_to_the_thread(_: int, __: FrameType | None) -> None:
    """Do nothing: Python writes the number to the pipe, and only for signals that have a handler."""
