"""The index of the status directory: one row per object, in order, and what they count up to."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from reconciler.model.json import canonical, fitted
from reconciler.record.document import JsonDocument, index_bytes

_FACTS = ("state", "sync", "health")


@dataclass(frozen=True, slots=True)
class Row:
    """What the index says of one object; `content` tells whether the object is the same, and is empty in doubt."""

    key: tuple[str, str, str]
    content: str
    facts: tuple[str, ...]
    encoded: bytes

    @classmethod
    def of(cls, row: JsonDocument) -> "Row":
        """Return a row as it is written."""
        key = (row["kind"], row["team"], row["name"])
        facts = tuple(row[name] for name in _FACTS)
        return cls(key, row["content"], facts, fitted(canonical(row)))

    def counted(self) -> list[tuple[str, str, str]]:
        """Return what it counts for: kind, field and value."""
        kind = self.key[0]
        return [
            (kind, "total", ""),
            *((kind, name, value) for name, value in zip(_FACTS, self.facts, strict=True)),
        ]


class Index:
    """Rows by the paths of their documents. `due` says whether it is another one than was encoded last."""

    def __init__(self) -> None:
        self._rows: dict[str, Row] = {}
        self._order: list[str] | None = None
        self.counts: Counter[tuple[str, str, str]] = Counter()
        self.due = True

    def read(self, data: JsonDocument, present: set[str]) -> None:
        """Begin with the rows of an index that was there: those that are ours and whose documents are present."""
        self._rows, self._order = {}, None
        self.counts.clear()
        rows = data.get("objects")
        for raw in rows if isinstance(rows, list) else []:
            if _is_ours(raw) and raw["path"] in present:
                self.put(raw["path"], Row.of(raw))

    def content(self, path: str) -> str:
        """Return what tells whether an object is the same; empty while nothing is known for certain."""
        row = self._rows.get(path)
        return row.content if row is not None else ""

    def put(self, path: str, row: Row) -> None:
        """Take in a row in the place of the one before."""
        before = self._rows.get(path)
        if before is None:
            self._order = None
        else:
            self.counts.subtract(before.counted())
        self._rows[path] = row
        self.counts.update(row.counted())
        self.due = True

    def drop(self, path: str) -> None:
        """Take a row out, if it is there."""
        row = self._rows.pop(path, None)
        if row is not None:
            self.counts.subtract(row.counted())
            self._order = None
            self.due = True

    def doubt(self, paths: Iterable[str]) -> None:
        """Keep rows for readers, and believe nothing of them until they are put again."""
        for path in self._rows.keys() & paths:
            self._rows[path] = replace(self._rows[path], content="")

    def doubts(self, paths: Iterable[str]) -> bool:
        """Say whether any of these rows is there and not believed."""
        return any(not self._rows[path].content for path in self._rows.keys() & paths)

    def encoded(self) -> bytes:
        """Return the whole index, in the order of identity."""
        if self._order is None:
            self._order = sorted(self._rows, key=lambda path: self._rows[path].key)
        return index_bytes(self._rows[path].encoded for path in self._order)


def _is_ours(raw: Any) -> bool:
    names = ("kind", "team", "name", "path", "content", *_FACTS)
    return isinstance(raw, Mapping) and all(isinstance(raw.get(name), str) for name in names)
