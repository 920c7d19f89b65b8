"""What happened, as rows and JSON values; record/history.py reads the files."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from itertools import islice
from typing import Any

from reconciler.clock import Clock
from reconciler.model.ids import ObjectId
from reconciler.record.history import History
from reconciler.remote.files import Files


def recent(
    files: Files, clock: Clock, who: ObjectId | None, limit: int, since: datetime | None = None
) -> list[Mapping[str, Any]]:
    """Return at most `limit` events about one object, or about all, from `since` on; the newest come last."""
    found = History(files, clock).backwards(str(who) if who else None, since=since)
    newest_first: list[Mapping[str, Any]] = [
        asdict(event) | {"at": event.at.isoformat()} for event in islice(found, limit)
    ]
    return newest_first[::-1]
