"""What was good last, kept across restarts: one file of checked lines, replayed from the start.

Each line is the newest word about one object: the document that was accepted, or that it is gone. A file that is
damaged, or that another model wrote, is thrown away whole; the source then gives everything anew.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

import orjson
from pydantic import ValidationError

from reconciler.desired.parse import Parsed, restore
from reconciler.model.document import DOCUMENT, KINDS
from reconciler.model.ids import ObjectId
from reconciler.model.json import digest
from reconciler.model.spec import steering_fields
from reconciler.remote.files import Files, FilesError

FILE = "desired.cache"
# 50,000 objects of 4 KiB.
MAX_BYTES = 200 << 20
# Room for the words of many passes; then the file is written anew with one line per object.
SPARE_LINES = 1000


@dataclass(frozen=True, slots=True)
class Good:
    """A good file: where it was, which content it had, and what that says."""

    path: str
    content_id: str
    parsed: Parsed


class Cache:
    """The file of what was good last. Losing it costs a full parse, never an object that can be read."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._header = _line(model_digest().encode(), b"")
        self._lines = 0
        self._can_append = False

    def load(self) -> dict[ObjectId, Good]:
        """Return every object that was accepted last, or nothing when the file cannot be trusted."""
        try:
            content = self._files.read(FILE, limit=MAX_BYTES) or b""
            return self._replay(content) if content.startswith(self._header) else {}
        except (FilesError, ValueError, ValidationError):
            return {}

    def save(self, changed: Iterable[ObjectId], accepted: Mapping[ObjectId, Good]) -> None:
        """Append the new words about the `changed` objects; `accepted` is everything, for a file written anew."""
        lines = sorted(_about(who, accepted.get(who)) for who in changed)
        grown = self._lines + len(lines)
        is_small = grown <= 2 * len(accepted) + SPARE_LINES
        try:
            if self._can_append and is_small:
                self._files.append(FILE, b"".join(lines))
                self._lines = grown
            else:
                everything = b"".join(sorted(_about(who, good) for who, good in accepted.items()))
                self._files.write(FILE, self._header + everything, mode=0o600)
                self._lines = len(accepted)
            self._can_append = True
        except FilesError:
            # A full disk must not stop the loop; the next change writes the file anew.
            self._can_append = False

    def _replay(self, content: bytes) -> dict[ObjectId, Good]:
        lines = content[len(self._header) :].split(b"\n")
        # A crash may cut the last line. Its object keeps the word before, and its file is read again.
        self._can_append = not lines.pop()
        self._lines = len(lines)
        latest: dict[tuple[str, ...], tuple[str, str, str, bytes]] = {}
        for line in lines:
            (kind, team, name, path, content_id, spec_digest), written = _checked(line)
            latest[kind, team, name] = (path, content_id, spec_digest, written)
        goods = (
            Good(path, content_id, restore(written, spec_digest))
            for path, content_id, spec_digest, written in latest.values()
            if content_id
        )
        return {good.parsed.id: good for good in goods}


@cache
def model_digest() -> str:
    """Return what changes when documents would be read or digested in another way."""
    steering = {name: steering_fields(kind) for name, kind in KINDS.items()}
    return digest({"format": 1, "schema": DOCUMENT.json_schema(), "steering": steering})


def _about(who: ObjectId, good: Good | None) -> bytes:
    if good is None:
        return _line(orjson.dumps([who.kind, who.team, who.name, "", "", ""]), b"")
    head = [who.kind, who.team, who.name, good.path, good.content_id, good.parsed.digest]
    return _line(orjson.dumps(head), good.parsed.written)


def _line(head: bytes, written: bytes) -> bytes:
    # JSON has no raw tab and no raw line break, so both can separate.
    body = head + b"\t" + written
    return _checksum(body) + body + b"\n"


def _checksum(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=8).hexdigest().encode()


def _checked(line: bytes) -> tuple[list[str], bytes]:
    body = line[16:]
    if _checksum(body) != line[:16]:
        raise ValueError("a damaged line")
    head, _, written = body.partition(b"\t")
    return orjson.loads(head), written
