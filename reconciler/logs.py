"""Logging: one event per record with its fields, to stderr, without secrets, as text or as JSON lines."""

import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

import orjson

from reconciler.record.text import Redaction, cut, escaped, plain

# What logging itself puts on a record; everything else on it came in by `extra`.
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
_MAX_EVENT = 4_000
_MAX_TRACEBACK = 16_000

# These tell of every packet, timer and child process; what we need to know of them our doors say.
_LOUD = ("apscheduler", "asyncio", "fabric", "git", "invoke", "paramiko", "urllib3", "watchfiles")


def start(
    form: Literal["text", "json"] = "text",
    level: str = "INFO",
    redaction: Redaction | None = None,
    stream: TextIO | None = None,
) -> None:
    """Send all logs of this process to `stream`, in place of whatever was set up before."""
    # A record that cannot be written must neither stop the daemon nor appear with its raw arguments.
    logging.raiseExceptions = False
    sink = logging.StreamHandler(stream or sys.stderr)
    hide = redaction or Redaction()
    sink.setFormatter(JsonLines(hide) if form == "json" else PlainLines(hide))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(sink)
    root.setLevel(level.upper())
    logging.captureWarnings(capture=True)
    for name in _LOUD:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


class JsonLines(logging.Formatter):
    """One JSON object per record, on one line."""

    def __init__(self, redaction: Redaction) -> None:
        super().__init__()
        self._redaction = redaction

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as JSON text."""
        said = {
            **_fields(record, self._redaction),
            "at": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": cut(self._redaction.hide(record.getMessage()), _MAX_EVENT),
        }
        if trace := _traceback(self, record, self._redaction):
            said["traceback"] = trace
        # JSON escapes the controls below 32 only; within its strings the other ones may be written out as well.
        return escaped(orjson.dumps(said).decode())


class PlainLines(logging.Formatter):
    """One line per record: time, level, event, and the fields as `name=value`; a traceback is indented below it."""

    def __init__(self, redaction: Redaction) -> None:
        super().__init__()
        self._redaction = redaction

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as text."""
        event = escaped(cut(self._redaction.hide(record.getMessage()), _MAX_EVENT))
        fields = "".join(f" {name}={_word(value)}" for name, value in _fields(record, self._redaction).items())
        line = f"{_time(record)} {record.levelname:<7} {escaped(record.name)}: {event}{fields}"
        # Each line has a mark in front, so that no text of an exception passes for a record.
        trace = _traceback(self, record, self._redaction)
        return "".join([line, *(f"\n  | {escaped(each)}" for each in trace.split("\n") if each)])


def _fields(record: logging.LogRecord, redaction: Redaction) -> dict[str, Any]:
    # A leading underscore marks what libraries put there for themselves: importing ray stamps every record.
    given: Mapping[str, object] = {
        name: value for name, value in vars(record).items() if name not in _OWN and not name.startswith("_")
    }
    fields: dict[str, Any] = plain(given, redaction)
    return fields


def _word(value: object) -> str:
    """Return a field's value as one word: quoted when a reader could not tell where it ends."""
    if isinstance(value, str) and value and not any(c in ' "=\\' or not c.isprintable() for c in value):
        return value
    return escaped(orjson.dumps(value).decode())


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _traceback(formatter: logging.Formatter, record: logging.LogRecord, redaction: Redaction) -> str:
    parts = []
    if record.exc_info and record.exc_info[0] is not None:
        parts.append(formatter.formatException(record.exc_info))
    if record.stack_info:
        parts.append(formatter.formatStack(record.stack_info))
    # The end of a traceback says what went wrong.
    return redaction.hide("\n".join(parts))[-_MAX_TRACEBACK:]
