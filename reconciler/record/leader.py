"""Leadership: one daemon acts for a site, and every later leader has a higher term.

A term is a file that its leader created exclusively in the shared directory. Whoever holds the highest one leads.
The gates on all machines refuse lower terms than they have seen, so that a leader that was paused and overtaken can
do no harm in the moment before it notices.

What people read is the leader's to write, too: a daemon that may not lead speaks to them only when no leader lives.
"""

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from threading import Lock
from typing import Any

import orjson

from reconciler.clock import Clock
from reconciler.model.json import canonical
from reconciler.model.layout import HEARTBEAT, SILENT_AFTER
from reconciler.model.moment import Moment
from reconciler.remote.files import Files, FilesError

FOLDER = ".rayops/leader"
# Terms that stay on disk for people to read; older ones say nothing that the newest does not.
KEPT = 8


class Leadership:
    """The right to act for a site. Many threads ask whether it still holds."""

    def __init__(self, shared: Files, clock: Clock, name: str) -> None:
        self._shared = shared
        self._clock = clock
        self._name = name
        self.term = 0
        # What our file may hold: who leads since when, and at the end that it left.
        self._notes: list[bytes] = []
        self._lost: int | None = None
        # A term that was deleted is written again by one thread, and is no other leader's to the next one.
        self._writing = Lock()

    def take(self, at_least: int) -> int:
        """Become the leader with a term above `at_least` and above every term on disk; return it."""
        while True:
            term = max([at_least, *self._terms()]) + 1
            note = self._signed(since=self._clock.now())
            if self._shared.create(f"{FOLDER}/{term}", note):
                self.term, self._notes = term, [note]
                self._tidy()
                return term

    def lost_to(self) -> int | None:
        """Return the term that ended this leadership, for good; None while it holds.

        A higher one is another leader's, and so is our own once its file is not ours: somebody deleted that, and a
        second daemon took the same term.
        """
        if self._lost is None:
            highest = max(self._terms(), default=0)
            if highest > self.term:
                self._lost = highest
            elif not self._is_ours():
                self._lost = self.term
        return self._lost

    def leave(self) -> None:
        """Say that nobody leads any more, unless somebody else does; who cannot say it is taken for dead later."""
        with suppress(FilesError):
            if self.lost_to() is None:
                self._notes.append(self._signed(left=self._clock.now()))
                self._shared.write(f"{FOLDER}/{self.term}", self._notes[-1])

    def _signed(self, **moments: Moment) -> bytes:
        said = {what: moment.wall.isoformat(timespec="seconds") for what, moment in moments.items()}
        return canonical({"leader": self._name, **said}) + b"\n"

    def _is_ours(self) -> bool:
        path = f"{FOLDER}/{self.term}"
        if (found := self._shared.read(path, limit=1024)) is None:
            with self._writing:
                while (found := self._shared.read(path, limit=1024)) is None:
                    if self._shared.create(path, self._notes[-1]):
                        return True
        return found in self._notes

    def holds(self) -> bool:
        """Say whether nobody else is seen to lead; a directory that cannot be read proves nothing."""
        try:
            return self.lost_to() is None
        except FilesError:
            return True

    def _terms(self) -> list[int]:
        return _terms(self._shared)

    def _tidy(self) -> None:
        for term in sorted(self._terms())[:-KEPT]:
            self._shared.remove(f"{FOLDER}/{term}")


def living_leader(shared: Files, status: Files, clock: Clock, besides: str = "") -> str:
    """Return who leads this site and lives, as far as the files show; nothing when nobody does, `besides` left out.

    A leader lives that began or spoke a moment ago and has not said that it left.
    """
    try:
        highest = max(_terms(shared), default=None)
        note = _said(shared, f"{FOLDER}/{highest}") if highest is not None else None
    except FilesError:
        note = {}  # nobody can say; then whoever spoke to readers a moment ago may lead
    if note is None or "left" in note or (besides and note.get("leader") == besides):
        return ""
    with suppress(FilesError):  # where nothing can be read, nothing will be written either
        beat = _said(status, HEARTBEAT)
        # A daemon that has made no pass is one that may not act.
        signs = [note.get("since"), beat.get("at") if beat.get("pass") else None]
        if any(_is_recent(sign, clock) for sign in signs):
            return str(note.get("leader", "another daemon"))
    return ""


def _is_recent(sign: Any, clock: Clock) -> bool:
    try:
        return clock.now().wall - datetime.fromisoformat(sign) < SILENT_AFTER
    except (TypeError, ValueError):
        return False


def _said(files: Files, path: str) -> Mapping[str, Any]:
    try:
        found = orjson.loads(files.read(path, limit=1024) or b"")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _terms(shared: Files) -> list[int]:
    return [int(name) for name in shared.list(FOLDER) if name.isdecimal()]
