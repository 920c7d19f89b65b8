"""The bytes of a journal file, and what they mean.

The first line is a header; `lines` of it follow as a snapshot of all records; then one line per commit. Each line
carries a checksum over itself and all lines before it, so that nothing can be changed, lost or put elsewhere in
silence. A commit is appended by one write, so a crash leaves at most one broken line, and only at the very end.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from types import GenericAlias
from typing import Annotated, Any, TypeAlias

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from reconciler.model.ledger import META_KEY, RECORD_TYPES, Change, Ledger, Meta, Record, Table

# Counts up with every change of a record's shape: an older program then stops instead of misreading.
VERSION = 4

# 128 bits: this finds accidents; whoever may write the file can also compute a new checksum.
_SUM_LENGTH = 32
_SUM_START = "0" * _SUM_LENGTH
_PREFIX = b'{"sum":"'
_MIDDLE = b'","entry":'
_ENTRY_AT = len(_PREFIX) + _SUM_LENGTH + len(_MIDDLE)

# Lines that people can still open in an editor.
_RECORDS_PER_LINE = 200


class Fault(StrEnum):
    """Why a ledger cannot be used. Until it can, the daemon only looks."""

    MISSING = "Missing"  # the shared directory knows this site, the state directory does not
    CORRUPT = "Corrupt"  # changed, cut or mixed up
    OLDER_THAN_WORLD = "OlderThanWorld"  # a backup: things were done that it does not know
    NEWER_VERSION = "NewerVersion"  # written by a later RayOps
    UNREADABLE = "Unreadable"  # the disk says no
    OTHER_SITE = "OtherSite"  # the shared directory belongs to somebody else
    NO_ANCHOR = "NoAnchor"  # the shared directory forgot the site: it may not be mounted


@dataclass(frozen=True, slots=True)
class LedgerFault:
    """What is wrong with a ledger, and what a person can do about it."""

    fault: Fault
    message: str
    next_step: str

    def __str__(self) -> str:
        return f"{self.fault.value}: {self.message}; {self.next_step}"


@dataclass(frozen=True, slots=True)
class Recalled:
    """What a journal file says. The next line goes to `size` and continues from `checksum`.

    `snapshot_size` is where the commits begin; `dropped` counts the bytes of a line that a crash left incomplete.
    An `aged` file was begun by an older program, which would read on in it.
    """

    ledger: Ledger
    checksum: str
    size: int
    snapshot_size: int
    dropped: int = 0
    aged: bool = False


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


class _Header(_Frozen):
    version: Annotated[int, Field(ge=1)]
    sequence: int
    at: datetime
    lines: Annotated[int, Field(ge=1)]


def _tables() -> Any:
    fields: dict[str, Any] = {
        table.value: (GenericAlias(dict, (str, kind | None)), Field(default_factory=dict))
        for table, kind in RECORD_TYPES.items()
    }
    return create_model("_Tables", __base__=_Frozen, **fields)


class _Entry(_Frozen):
    sequence: int
    at: datetime
    set: _tables()  # type: ignore[valid-type]  # made from RECORD_TYPES, so that no table is forgotten


_Plain: TypeAlias = dict[str, dict[str, Record | None]]


def commit_line(changes: Sequence[Change], sequence: int, at: datetime, previous: str) -> tuple[bytes, str]:
    """Return the line of one commit, and the checksum that the next line continues from."""
    return _seal({"sequence": sequence, "at": at, "set": _plain(changes)}, previous)


def snapshot(ledger: Ledger, at: datetime) -> tuple[bytes, str]:
    """Return a whole file that means `ledger`, and the checksum that the first commit continues from."""
    changes = ledger.dump()
    parts = [changes[i : i + _RECORDS_PER_LINE] for i in range(0, len(changes), _RECORDS_PER_LINE)]
    line, checksum = _seal(
        {"version": VERSION, "sequence": ledger.sequence, "at": at, "lines": len(parts)}, _SUM_START
    )
    lines = [line]
    for part in parts:
        line, checksum = commit_line(part, ledger.sequence, at, checksum)
        lines.append(line)
    return b"".join(lines), checksum


def read(data: bytes, path: str) -> Recalled | LedgerFault:
    """Return what the bytes of the journal file at `path` mean, or what is wrong with them."""
    lines = data.split(b"\n")
    remainder = lines.pop()
    first = _open(lines[0], _SUM_START) if lines else None
    if first is None:
        return _corrupt(path, "its first line is incomplete or changed")
    header = _header(first, path)
    if isinstance(header, LedgerFault):
        return header
    reading = _Reading(header.version, checksum=_sum_of(lines[0]), size=len(lines[0]) + 1)
    for number, line in enumerate(lines[1:], start=2):
        in_snapshot = number <= header.lines + 1
        entry = _open(line, reading.checksum)
        if entry is None and number == len(lines) and not (remainder or in_snapshot) and _is_torn(line):
            return reading.result(len(line) + 1)
        if entry is None:
            return _corrupt(path, f"line {number} is changed")
        expected = header.sequence if in_snapshot else reading.sequence + 1
        if not reading.take(entry, expected, in_snapshot=in_snapshot):
            return _corrupt(path, f"line {number} holds something unexpected")
        reading.advance(line, in_snapshot=in_snapshot)
    if len(lines) <= header.lines:
        return _corrupt(path, "its end is missing")
    return reading.result(len(remainder))


class _Reading:
    """A file half read."""

    def __init__(self, version: int, *, checksum: str, size: int) -> None:
        self._aged = version < VERSION
        self.checksum = checksum
        self.sequence = 0
        self._size = size
        self._snapshot_size = size
        self._changes: list[Change] = []

    def take(self, payload: bytes, expected: int, *, in_snapshot: bool) -> bool:
        """Remember the records of a line; say whether they are what must come here."""
        try:
            entry = _Entry.model_validate_json(payload)
        except ValidationError:
            return False
        if entry.sequence != expected:
            return False
        changes = list(_changes(entry))
        if in_snapshot and not self._changes and not (changes and changes[0].table is Table.META):
            return False
        self._changes += changes
        self.sequence = entry.sequence
        return True

    def advance(self, line: bytes, *, in_snapshot: bool) -> None:
        """Move behind a line that was taken."""
        self.checksum = _sum_of(line)
        self._size += len(line) + 1
        if in_snapshot:
            self._snapshot_size = self._size

    def result(self, dropped: int) -> Recalled:
        """Return the file's meaning; `dropped` bytes at its end mean nothing."""
        # Every change sets a whole record, so all of them at once give what they give one by one.
        ledger = replace(Ledger(Meta(site="")).apply(self._changes), sequence=self.sequence)
        return Recalled(ledger, self.checksum, self._size, self._snapshot_size, dropped, self._aged)


def _seal(entry: Mapping[str, object], previous: str) -> tuple[bytes, str]:
    payload = orjson.dumps(entry)
    checksum = _checksum(previous, payload)
    return b"".join((_PREFIX, checksum.encode(), _MIDDLE, payload, b"}\n")), checksum


def _open(line: bytes, previous: str) -> bytes | None:
    """Return the payload of a line without its line break, or None when it is not what was written."""
    payload = line[_ENTRY_AT:-1]
    whole = b"".join((_PREFIX, _checksum(previous, payload).encode(), _MIDDLE, payload, b"}"))
    return payload if whole == line else None


def _is_torn(line: bytes) -> bool:
    # A torn line is cut off or has holes of zeros; one that reads well was whole, and was changed or moved later.
    # The more lenient reader is asked: half a character, which orjson refuses, is no hole.
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        # Where two lines begin, the break between them was changed: the first of them was whole.
        return line.count(_PREFIX) < 2
    return False


def _sum_of(line: bytes) -> str:
    return line[len(_PREFIX) : len(_PREFIX) + _SUM_LENGTH].decode()


def _checksum(previous: str, payload: bytes) -> str:
    return hashlib.sha256(previous.encode() + payload).hexdigest()[:_SUM_LENGTH]


def _header(payload: bytes, path: str) -> _Header | LedgerFault:
    try:
        version = orjson.loads(payload)["version"]
        if isinstance(version, int) and version > VERSION:
            return LedgerFault(
                Fault.NEWER_VERSION,
                f"the ledger has version {version}, this RayOps knows {VERSION}",
                "start the newer RayOps again, it left the ledger as it needs it",
            )
        return _Header.model_validate_json(payload)
    except (ValidationError, ValueError, TypeError, KeyError):
        return _corrupt(path, "its header is not one")


def _plain(changes: Sequence[Change]) -> _Plain:
    plain: _Plain = {}
    for change in changes:
        plain.setdefault(change.table.value, {})[change.key] = change.record
    return plain


def _changes(entry: _Entry) -> Iterator[Change]:
    for table in Table:
        for key, record in getattr(entry.set, table.value).items():
            if table is Table.META and (key != META_KEY or record is None):
                continue
            yield Change(table, key, record)


def _corrupt(path: str, what: str) -> LedgerFault:
    return LedgerFault(
        Fault.CORRUPT,
        f"{path} was damaged: {what}",
        "restore the state directory, or run `rayops recover` to rebuild it from the shared directory",
    )
