"""Reading what happened: one file of JSON lines per day, the newest last."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import orjson

from reconciler.cli.text import moment
from reconciler.model.ids import ObjectId
from reconciler.remote.files import Files

BLOCK = 1 << 20
_ENDING = ".jsonl"


def recent(files: Files, who: ObjectId | None, since: datetime | None, limit: int) -> list[Mapping[str, Any]]:
    """Return at most `limit` events about one object, or about all, from `since` on; the newest come last."""
    found: list[Mapping[str, Any]] = []
    for day in sorted((name for name in files.list("history") if name.endswith(_ENDING)), reverse=True):
        # A day's events lie within that day, so the first day that is too old ends the search.
        if since and day.removesuffix(_ENDING) < since.date().isoformat():
            break
        found = [event for event in _of_day(files, day, who) if _is_since(event, since)][-limit:] + found
        if len(found) >= limit:
            break
    return found[-limit:]


def _of_day(files: Files, day: str, who: ObjectId | None) -> Iterator[Mapping[str, Any]]:
    name = str(who) if who else ""
    # Looking for the name first spares parsing the events of everybody else.
    mark = name.encode()
    for line in _lines(files, f"history/{day}"):
        if mark not in line:
            continue
        try:
            event = orjson.loads(line)
        except ValueError:
            continue  # the line of a crash, or one that is still being written
        if isinstance(event, dict) and (not name or event.get("object") == name):
            yield event


def _lines(files: Files, path: str) -> Iterator[bytes]:
    offset, rest = 0, b""
    while block := files.read_range(path, offset, BLOCK):
        offset += len(block)
        *lines, rest = (rest + block).split(b"\n")
        yield from lines
    yield rest


def _is_since(event: Mapping[str, Any], since: datetime | None) -> bool:
    at = moment(event.get("at"))
    return since is None or (at is not None and at >= since)
