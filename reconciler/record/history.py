"""What happened, one line per event, one file per day: `history/2026-03-01.jsonl`, in UTC.

An event is in the file of its own day, so a reader can stop at the first day that is too old.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import fields
from datetime import UTC, date, datetime, timedelta
from typing import Any

import orjson

from reconciler.clock import Clock
from reconciler.model.outcome import FailureKind
from reconciler.model.status import Event
from reconciler.record.text import Redaction, one_line, plain
from reconciler.remote.files import Files, FilesError

FOLDER = "history"
MAX_LINE = 16 << 10
# An event storm must not fill the disk; a site with 10,000 jobs a day needs a tenth of this.
MAX_DAY = 256 << 20

_BLOCK = 64 << 10
_DAY = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})\.jsonl")
_NAMES = frozenset(field.name for field in fields(Event))


class History:
    """Appends the events of each pass and reads them again, the newest first."""

    def __init__(
        self,
        files: Files,
        clock: Clock,
        redaction: Redaction | None = None,
        *,
        keep: timedelta = timedelta(days=90),
    ) -> None:
        self._files = files
        self._clock = clock
        self._redaction = redaction or Redaction()
        self._keep = keep
        self._tidied: date | None = None
        # The size of files that are known to end with a whole line.
        self._whole: dict[str, int] = {}

    def append(self, events: Iterable[Event]) -> str | None:
        """Add the events of a pass, one append per day; return None, or why some could not be added.

        Without events nothing is touched. An event that could not be added is lost: history is for people.
        """
        days: dict[str, list[bytes]] = {}
        for event in events:
            days.setdefault(_path(event.at.astimezone(UTC).date()), []).append(self._line(event))
        try:
            for path, lines in days.items():
                self._append(path, b"".join(lines))
            if days:
                self._tidy()
        except FilesError as error:
            return error.message
        return None

    def backwards(
        self, about: str | None = None, *, since: datetime | None = None, until: datetime | None = None
    ) -> Iterator[Event]:
        """Return the events about one object (`job/rl/ppo`) or all, the newest first, both bounds included.

        Lines that are torn or not ours are passed over; raises FilesError when a file cannot be read.
        """
        for day in reversed(self._days()):
            if until is not None and day > until.astimezone(UTC).date():
                continue
            if since is not None and day < since.astimezone(UTC).date():
                return
            for event in self._events_of(day, about):
                if (until is None or event.at <= until) and (since is None or event.at >= since):
                    yield event

    def as_of(self, moment: datetime) -> dict[str, Event]:
        """Return the last change of state of each object at `moment`, as far back as history is kept."""
        found: dict[str, Event] = {}
        for event in self.backwards(until=moment):
            if event.type == "State":
                found.setdefault(event.object, event)
        return found

    def _line(self, event: Event) -> bytes:
        clean = self._redaction.hide
        said: dict[str, Any] = {
            "at": event.at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "object": one_line(clean(event.object), 300),
            "type": one_line(event.type, 100),
            "reason": one_line(clean(event.reason), 200),
            "message": one_line(clean(event.message)),
            "revision": one_line(event.revision, 200),
            "numbers": plain(event.numbers, self._redaction),
        }
        line = orjson.dumps(said)
        if len(line) > MAX_LINE:
            line = orjson.dumps({**said, "numbers": {}})
        return line + b"\n"

    def _append(self, path: str, data: bytes) -> None:
        size = self._whole.pop(path, None)
        if size is None:
            size, whole = self._end_of(path)
            # A line that a crash tore must not swallow the first one of ours.
            data = data if whole else b"\n" + data
        if size + len(data) > MAX_DAY:
            raise FilesError(FailureKind.REFUSED, f"{path} is full; its further events are not kept")
        self._files.append(path, data)
        self._whole = {path: size + len(data)}

    def _end_of(self, path: str) -> tuple[int, bool]:
        stamp = self._files.stamp(path)
        if stamp is None or stamp.size == 0:
            return 0, True
        return stamp.size, self._files.read_range(path, stamp.size - 1, 1) == b"\n"

    def _tidy(self) -> None:
        today = self._clock.now().wall.date()
        if today == self._tidied:
            return
        for day in self._days():
            if day < today - self._keep:
                self._files.remove(_path(day))
        self._tidied = today

    def _days(self) -> list[date]:
        found = []
        for name in self._files.list(FOLDER):
            if match := _DAY.fullmatch(name):
                with suppress(ValueError):  # the 31st of February is nobody's history
                    found.append(date.fromisoformat(match[1]))
        return sorted(found)

    def _events_of(self, day: date, about: str | None) -> Iterator[Event]:
        # Looking for the name first spares parsing the events of everybody else.
        mark = b"" if about is None else orjson.dumps(about)
        for line in self._lines_backwards(_path(day)):
            event = _event(line) if mark in line else None
            if event is not None and about in {None, event.object}:
                yield event

    def _lines_backwards(self, path: str) -> Iterator[bytes]:
        stamp = self._files.stamp(path)
        end, rest = stamp.size if stamp is not None else 0, b""
        while end > 0:
            begin = max(0, end - _BLOCK)
            block = self._files.read_range(path, begin, end - begin) or b""
            first, *lines = (block + rest).split(b"\n")
            yield from reversed(lines)
            # A line longer than any of ours is not kept together: no file may fill our memory.
            end, rest = begin, first if len(first) <= 2 * _BLOCK else b""
        yield rest


def _path(day: date) -> str:
    return f"{FOLDER}/{day.isoformat()}.jsonl"


def _event(line: bytes) -> Event | None:
    try:
        said = orjson.loads(line)
        at = datetime.fromisoformat(said["at"])
    except (ValueError, TypeError, KeyError):
        return None
    texts = all(isinstance(value, str) for name, value in said.items() if name not in {"at", "numbers"})
    if not texts or said.keys() != _NAMES or not isinstance(said["numbers"], dict) or at.tzinfo is None:
        return None
    return Event(**{**said, "at": at})
