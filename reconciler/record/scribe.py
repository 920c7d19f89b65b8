"""Writing for readers, beside the loop: a status directory that is slow, full or hangs keeps no pass waiting."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass, field

from reconciler.model.status import Event, ObjectStatus
from reconciler.record.document import Overview
from reconciler.record.history import History
from reconciler.record.status import StatusWriter

log = logging.getLogger(__name__)

# While a directory hangs, events pile up in memory: this many are kept, some minutes of a busy site.
MOST_EVENTS = 20_000


@dataclass(slots=True)
class _Due:
    """What is to be written next: of each document the newest, and all events."""

    documents: dict[str, ObjectStatus | None] = field(default_factory=dict)
    whole: bool = False
    view: Overview | None = None
    events: deque[Event] = field(default_factory=lambda: deque(maxlen=MOST_EVENTS))
    beat: tuple[int, int, str] | None = None

    def __bool__(self) -> bool:
        return bool(self.view is not None or self.events or self.beat is not None)


class Scribe:
    """Writes what it is told, in order, and complains about a trouble once.

    With hands it writes in their one thread: what it is told meanwhile is joined and written next. Without, it has
    written when a call returns.
    """

    def __init__(self, status: StatusWriter, history: History, hands: Executor | None = None) -> None:
        self._status = status
        self._history = history
        self._hands = hands
        self._lock = threading.Lock()
        self._due = _Due()
        self._at_work = False
        self._strangers = False
        self._broken: BaseException | None = None
        self._troubles: dict[str, str] = {}
        self._leads: Callable[[], bool] = lambda: True

    def only_while(self, leads: Callable[[], bool]) -> None:
        """Write nothing any more once `leads` says no: it is asked before each word, as a pause may come anywhere.

        What people read is the leader's to write: ours would be old, and the leader would not notice.
        """
        self._leads = leads

    def tell(self, documents: Iterable[ObjectStatus], gone: Iterable[str], view: Overview, *, whole: bool) -> None:
        """Bring the status directory up to date; with `whole`, no other documents stay."""
        changed: dict[str, ObjectStatus | None] = {each.path: each for each in documents}
        changed.update(dict.fromkeys(gone))

        def add(due: _Due) -> None:
            due.documents = changed if whole else {**due.documents, **changed}
            due.whole, due.view = due.whole or whole, view

        self._add(add)

    def events(self, events: Iterable[Event]) -> None:
        """Append to the history."""
        told = list(events)

        def add(due: _Due) -> None:
            if len(due.events) + len(told) > MOST_EVENTS:
                log.warning("events dropped", extra={"kept": MOST_EVENTS})
            due.events.extend(told)

        if told:
            self._add(add)

    def beat(self, number: int, pid: int, revision: str) -> None:
        """Say that the daemon lives."""

        def add(due: _Due) -> None:
            due.beat = (number, pid, revision)

        self._add(add)

    def take_strangers(self) -> bool:
        """Say once whether somebody else wrote into the directory, so that all must be told anew."""
        with self._lock:
            came, self._strangers = self._strangers, False
        return came

    def _add(self, add: Callable[[_Due], None]) -> None:
        with self._lock:
            if self._broken is not None:
                raise self._broken
            add(self._due)
            if self._at_work:
                return
            self._at_work = True
        if self._hands is None:
            self._work()
        else:
            self._hands.submit(self._work)

    def _work(self) -> None:
        try:
            while due := self._take():
                self._write(due)
        except BaseException as bug:
            # The loop shall end of it as if it had written itself: at its next word.
            with self._lock:
                self._broken, self._at_work = bug, False
            raise

    def _take(self) -> _Due | None:
        with self._lock:
            due, self._due = self._due, _Due()
            if not due:
                self._at_work = False
            return due or None

    def _write(self, due: _Due) -> None:
        if due.view is not None and self._leads():
            changed = [each for each in due.documents.values() if each is not None]
            gone = [path for path, each in due.documents.items() if each is None]
            looks = self._status.looks
            self._complain("status", self._status.write(changed, gone, due.view, whole=due.whole))
            with self._lock:
                self._strangers = self._strangers or 0 < looks < self._status.looks
        if due.events and self._leads():
            self._complain("history", self._history.append(due.events))
        if due.beat is not None and self._leads():
            self._complain("heartbeat", self._status.beat(*due.beat))

    def _complain(self, what: str, problem: str | None) -> None:
        if problem is not None and self._troubles.get(what) != problem:
            log.warning("not written", extra={"what": what, "text": problem})
        self._troubles[what] = problem or ""
