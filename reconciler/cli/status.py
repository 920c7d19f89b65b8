"""Reading the status directory: tolerant of what is missing, half new or broken, and never of a lie.

The daemon writes documents before the index, and a reader may come between: a document is newer than its index row.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Any

import orjson

from reconciler.cli.exit import Ended, Exit
from reconciler.cli.names import JOB, KINDS, NODE, POOL, Wanted
from reconciler.cli.seen import Seen, rows_of, table_of
from reconciler.cli.text import clock_time, moment, span
from reconciler.model.ids import ObjectId
from reconciler.model.layout import HEARTBEAT, SILENT_AFTER
from reconciler.remote.files import Files, FilesError

DOCUMENT_LIMIT = 4 << 20
INDEX_LIMIT = 64 << 20

_FOLDERS = {kind.lower(): kind for kind in KINDS if kind != NODE}


class Depth(IntEnum):
    """How much a list must hold of each object; less costs less."""

    ROW = 0  # what the index says
    DETAIL = 1  # the part of its kind too
    DOCUMENT = 2  # all of it


@dataclass(frozen=True, slots=True)
class StatusTree:
    """The status directory of one installation."""

    files: Files
    note: Callable[[str], None]

    def all(self, kinds: set[str], depth: Depth) -> list[Seen]:
        """Return the objects of some kinds, sorted."""
        rows = [row for row in self._index() if row.id.kind in kinds]
        # A row without a document is of an old index: the object is gone.
        found = [seen for row in rows if (seen := self._deep(row, depth)) is not None]
        if NODE in kinds:
            found += self.nodes()
        return sorted(found, key=lambda seen: (list(KINDS).index(seen.id.kind), seen.id))

    def nodes(self) -> list[Seen]:
        """Return the machines of every pool, as their pools tell about them."""
        pools = [self.read(row.id) or row for row in self._index() if row.id.kind == POOL]
        return [_node(pool, row) for pool in pools for row in rows_of(pool.detail.get("nodes"))]

    def pool_of(self, node: ObjectId) -> ObjectId:
        """Return the pool of a machine: events about a machine are events of its pool."""
        pools = [seen.detail.get("pool") for seen in self.nodes() if seen.id == node]
        return ObjectId(POOL, "", str(pools[0])) if pools else node

    def read(self, who: ObjectId) -> Seen | None:
        """Return one object, or None when there is none."""
        if who.kind == NODE:
            return next((node for node in self.nodes() if node.id == who), None)
        middle = f"{who.team}/" if who.team else ""
        try:
            document = self._json(f"{who.kind.lower()}/{middle}{who.name}.json", DOCUMENT_LIMIT)
        except _Broken as broken:
            return Seen(who, _skeleton(who) | _unreadable(str(broken)))
        return Seen(who, document) if document else None

    def find(self, wanted: Wanted) -> Seen:
        """Return the one object that was meant; none and several end the verb."""
        exact = wanted.kind and (wanted.team or wanted.kind != JOB)
        if exact and (seen := self.read(ObjectId(wanted.kind, wanted.team, wanted.name))):
            return seen
        everything = [row.id for row in self.all({wanted.kind} if wanted.kind else set(KINDS), Depth.ROW)]
        fitting = [who for who in everything if wanted.fits(who)]
        if len(fitting) > 1:
            raise Ended(Exit.USAGE, f"{wanted}: several are called so: {', '.join(map(str, fitting))} (name one)")
        seen = self.read(fitting[0]) if fitting else None
        if seen is None:
            raise Ended(Exit.NOT_FOUND, _not_found(wanted, everything))
        return seen

    def heartbeat(self) -> Mapping[str, Any]:
        """Return what the daemon said last about itself."""
        return self.other(HEARTBEAT)

    def silence(self, now: datetime) -> timedelta | None:
        """Return how long the daemon has said nothing, or None when it never spoke."""
        at = moment(self.heartbeat().get("at"))
        return now - at if at else None

    def stale(self, now: datetime) -> str:
        """Return why the status is not to be believed, or nothing when it is."""
        silence = self.silence(now)
        if silence is None:
            return "no daemon has said that it lives (is `rayops run` started?)"
        if silence < -SILENT_AFTER:
            return f"its last sign of life is {span(-silence)} ahead of this clock: one of the clocks is wrong"
        if silence > SILENT_AFTER:
            return f"this is {span(silence)} old: the daemon is silent (is `rayops run` alive?)"
        return ""

    def troubles(self) -> list[str]:
        """Return what keeps the daemon from following its source, or from acting at all."""
        summary = self.other("summary.json")
        read_only, source = table_of(summary.get("readOnly")), table_of(summary.get("source"))
        broken = len({error.get("path") for error in rows_of(summary.get("errors"))})
        more = " or more" if summary.get("errorsOmitted") else ""
        return [
            *([f"the daemon touches nothing{_since(read_only)}: {read_only.get('reason')}"] if read_only else []),
            *([f"the source cannot be followed{_since(source)}: {source.get('message')}"] if source else []),
            *([f"broken files in the source: {broken}{more} (see `rayops describe site`)"] if broken else []),
        ]

    def other(self, path: str) -> Mapping[str, Any]:
        """Return a document that belongs to no object, or an empty one."""
        try:
            return self._json(path, DOCUMENT_LIMIT) or {}
        except _Broken as broken:
            self.note(f"warning: {broken}")
            return {}

    def _deep(self, row: Seen, depth: Depth) -> Seen | None:
        if depth is Depth.ROW or (depth is Depth.DETAIL and "detail" in row.document):
            return row
        return self.read(row.id)

    def _index(self) -> Iterator[Seen]:
        try:
            rows = table_of(self._json("index.json", INDEX_LIMIT)).get("objects")
        except _Broken as broken:
            self.note(f"warning: {broken}; reading every document instead")
            rows = None
        if not isinstance(rows, list):
            yield from self._walk()
            return
        for row in rows_of(rows):
            kind = _FOLDERS.get(str(row.get("kind", "")).lower())
            if kind and isinstance(row.get("name"), str):
                who = ObjectId(kind, row["team"] if isinstance(row.get("team"), str) else "", row["name"])
                yield Seen(who, {**_skeleton(who), **row})

    def _walk(self) -> Iterator[Seen]:
        for folder, kind in _FOLDERS.items():
            teams = self.files.list(folder) if kind == JOB else ("",)
            for team in teams:
                for name in self.files.list(f"{folder}/{team}".rstrip("/")):
                    if name.endswith(".json"):
                        who = ObjectId(kind, team, name.removesuffix(".json"))
                        yield Seen(who, _skeleton(who))

    def _json(self, path: str, limit: int) -> Any:
        try:
            content = self.files.read(path, limit=limit)
            document = orjson.loads(content) if content is not None else None
        except FilesError as error:
            raise _Broken(error.message) from error
        except ValueError as error:
            raise _Broken(f"{path}: not a status document: {error}") from error
        if document is not None and not isinstance(document, dict):
            raise _Broken(f"{path}: not a status document")
        return document


class _Broken(Exception):
    """A file is there, and says nothing that can be understood."""


def _skeleton(who: ObjectId) -> dict[str, Any]:
    return {"kind": who.kind, "metadata": {"name": who.name} | ({"team": who.team} if who.team else {})}


def _since(trouble: Mapping[str, Any]) -> str:
    since = trouble.get("since")
    return f" since {clock_time(since)}" if since else ""


def _unreadable(message: str) -> dict[str, str]:
    return {"state": "Unknown", "health": "Unknown", "reason": "StatusUnreadable", "message": message}


def _node(pool: Seen, row: Mapping[str, Any]) -> Seen:
    who = ObjectId(NODE, "", str(row.get("name", "?")))
    detail = {"pool": pool.id.name, "cluster": pool.detail.get("cluster"), **row}
    facts = {key: detail.pop(key) for key in ("state", "reason", "message", "since") if key in detail}
    return Seen(who, _skeleton(who) | facts | {"detail": detail})


def _not_found(wanted: Wanted, everything: list[ObjectId]) -> str:
    from difflib import get_close_matches  # slow to load, and needed for mistakes only

    names = {str(who): str(who) for who in everything} | {who.name: str(who) for who in everything}
    close = get_close_matches(str(wanted), names, n=1) or get_close_matches(wanted.name, names, n=1, cutoff=0.5)
    hint = f"did you mean {names[close[0]]}?" if close else "see `rayops get all`"
    return f"{wanted}: there is no status of it ({hint})"
