"""What was good last, kept across restarts: one file of checked lines, replayed from the start.

Each line is the newest word about one object: the document that was accepted, or that it is gone. Its checksum is
over itself and all lines before it, so that none can be lost or put elsewhere. A file that is damaged, or that
another model wrote, is thrown away whole; the source then gives everything anew.
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
from reconciler.remote.files import Files, FilesError, FileStamp

FILE = "desired.cache"
# 50,000 objects of 4 KiB.
MAX_BYTES = 200 << 20
# 64 bits: this finds accidents; whoever may write the file can also compute a new checksum.
_SUM_LENGTH = 16
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
        self._header, self._checksum = _sealed([model_digest().encode() + b"\t"], b"")
        self._lines = 0
        # How we left the file; None when it is to be written anew.
        self._left: FileStamp | None = None

    def load(self) -> dict[ObjectId, Good]:
        """Return every object that was accepted last, or nothing when the file cannot be trusted."""
        try:
            content = self._files.read(FILE, limit=MAX_BYTES) or b""
            return self._replay(content) if content.startswith(self._header) else {}
        except (FilesError, ValueError, ValidationError):
            return {}

    def save(self, changed: Iterable[ObjectId], accepted: Mapping[ObjectId, Good]) -> None:
        """Append the new words about the `changed` objects; `accepted` is everything, for a file written anew."""
        words = sorted(_about(who, accepted.get(who)) for who in changed)
        grown = self._lines + len(words)
        is_small = grown <= 2 * len(accepted) + SPARE_LINES
        try:
            # A daemon that was overtaken and does not know it yet may write here, too.
            if is_small and self._left is not None and self._left == self._files.stamp(FILE):
                lines, checksum = _sealed(words, self._checksum)
                self._files.append(FILE, lines)
                self._lines = grown
            else:
                everything = sorted(_about(who, good) for who, good in accepted.items())
                lines, checksum = _sealed(everything, self._header[:_SUM_LENGTH])
                self._files.write(FILE, self._header + lines, mode=0o600)
                self._lines = len(accepted)
            self._checksum, self._left = checksum, self._files.stamp(FILE)
        except FilesError:
            # A full disk must not stop the loop; the next change writes the file anew.
            self._left = None

    def _replay(self, content: bytes) -> dict[ObjectId, Good]:
        lines = content[len(self._header) :].split(b"\n")
        torn = lines.pop()
        checksum = self._header[:_SUM_LENGTH]
        latest: dict[tuple[str, ...], tuple[str, str, str, bytes]] = {}
        for line in lines:
            (kind, team, name, path, content_id, spec_digest), written = _opened(line, checksum)
            latest[kind, team, name] = (path, content_id, spec_digest, written)
            checksum = line[:_SUM_LENGTH]
        goods = (
            Good(path, content_id, restore(written, spec_digest))
            for path, content_id, spec_digest, written in latest.values()
            if content_id
        )
        found = {good.parsed.id: good for good in goods}
        # Only now: what is appended to a damaged file is thrown away with it. A crash may cut the last line; its
        # object keeps the word before, and its file is read again.
        self._lines, self._checksum = len(lines), checksum
        self._left = None if torn else self._files.stamp(FILE)
        return found


@cache
def model_digest() -> str:
    """Return what changes when documents would be read or digested in another way."""
    steering = {name: steering_fields(kind) for name, kind in KINDS.items()}
    return digest({"format": 2, "schema": DOCUMENT.json_schema(), "steering": steering})


def _about(who: ObjectId, good: Good | None) -> bytes:
    # JSON has no raw tab and no raw line break, so both can separate.
    if good is None:
        return orjson.dumps([who.kind, who.team, who.name, "", "", ""]) + b"\t"
    head = [who.kind, who.team, who.name, good.path, good.content_id, good.parsed.digest]
    return orjson.dumps(head) + b"\t" + good.parsed.written


def _sealed(words: Iterable[bytes], checksum: bytes) -> tuple[bytes, bytes]:
    """Return a line for each word, and the checksum that the next line continues from."""
    lines = []
    for word in words:
        checksum = _checksum(checksum + word)
        lines.append(checksum + word + b"\n")
    return b"".join(lines), checksum


def _opened(line: bytes, before: bytes) -> tuple[list[str], bytes]:
    word = line[_SUM_LENGTH:]
    if _checksum(before + word) != line[:_SUM_LENGTH]:
        raise ValueError("a damaged line")
    head, _, written = word.partition(b"\t")
    return orjson.loads(head), written


def _checksum(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=_SUM_LENGTH // 2).hexdigest().encode()
