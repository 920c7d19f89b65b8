"""What was good last, kept across restarts: one file of checked lines, replayed from the start.

Each line holds the newest words about some objects: the document that was accepted, or that it is gone. With them
it says what was found wrong across all objects by then. Its checksum is over itself and all lines before it, so
that none can be lost or put elsewhere. A file that is damaged, or that another program wrote, is thrown away whole;
the source then gives everything anew.
"""

import hashlib
from collections.abc import Collection, Mapping
from functools import cache
from importlib import resources
from typing import NamedTuple, TypeAlias

import orjson
import pydantic

from reconciler.model.desired import Loaded, Said
from reconciler.model.ids import ObjectId
from reconciler.remote.files import Files, FilesError, FileStamp

FILE = "desired.cache"
# 50,000 objects of 4 KiB.
MAX_BYTES = 200 << 20
# 64 bits: this finds accidents; whoever may write the file can also compute a new checksum.
_SUM_LENGTH = 16
# Room for the words of many passes; then the file is written anew with one word per object.
SPARE_WORDS = 1000
# Each line repeats them all; so many that they are found again rather than kept come from a mistake in a template.
MAX_PROBLEMS = 100
# In place of digest, path and content.
_GONE = ("", "", "")
_UNKNOWN = orjson.dumps(None)

Problems: TypeAlias = Mapping[ObjectId, tuple[str, ...]]


class Kept(NamedTuple):
    """What was accepted last, and what is wrong with which of it; None when that is to be found out again."""

    objects: dict[ObjectId, Loaded]
    problems: Problems | None


class Cache:
    """The file of what was good last. Losing it costs a full parse, never an object that can be read."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._header = _sealed(program_digest().encode(), b"")
        self._checksum = _sum_of(self._header)
        self._words = 0
        # How we left the file; None when it is to be written anew.
        self._left: FileStamp | None = None

    def load(self) -> Kept:
        """Return every object that was accepted last, or nothing when the file cannot be trusted."""
        try:
            content = self._files.read(FILE, limit=MAX_BYTES) or b""
            return self._replay(content) if content.startswith(self._header) else Kept({}, None)
        except (FilesError, ValueError):
            return Kept({}, None)

    def save(self, changed: Collection[ObjectId], accepted: Mapping[ObjectId, Loaded], problems: Problems) -> None:
        """Append the new words about the `changed` objects; `accepted` is everything, for a file written anew.

        `problems` are those of all of them.
        """
        grown = self._words + len(changed)
        is_small = grown <= 2 * len(accepted) + SPARE_WORDS
        try:
            # A daemon that was overtaken and does not know it yet may write here, too.
            if is_small and self._left is not None and self._left == self._files.stamp(FILE):
                line = _sealed(
                    _words([(who, accepted.get(who)) for who in sorted(changed)], problems), self._checksum
                )
                self._files.append(FILE, line)
                self._words = grown
            else:
                line = _sealed(_words(accepted.items(), problems), _sum_of(self._header))
                self._files.write(FILE, self._header + line, mode=0o600)
                self._words = len(accepted)
            self._checksum, self._left = _sum_of(line), self._files.stamp(FILE)
        except FilesError:
            # A full disk must not stop the loop; the next change writes the file anew.
            self._left = None

    def _replay(self, content: bytes) -> Kept:
        lines = content[len(self._header) :].split(b"\n")
        torn = lines.pop()
        checksum, words, verdict = _sum_of(self._header), 0, _UNKNOWN
        latest: dict[ObjectId, tuple[bytes, str, str, str]] = {}
        for line in lines:
            heads, verdict, *documents = _opened(line, checksum).split(b"\t")
            for kind, team, name, digest, path, content_id, written in zip(
                *orjson.loads(heads), documents, strict=True
            ):
                latest[ObjectId(kind, team, name)] = (written, digest, path, content_id)
            checksum, words = _sum_of(line), words + len(documents)
        found = {
            who: Loaded(who, Said(written), digest, path, content_id)
            for who, (written, digest, path, content_id) in latest.items()
            if written
        }
        # Only now: what is appended to a damaged file is thrown away with it. A crash may cut the last line; its
        # objects keep the words before, and their files are read again.
        self._words, self._checksum = words, checksum
        self._left = None if torn else self._files.stamp(FILE)
        return Kept(found, _problems(verdict))


@cache
def program_digest() -> str:
    """Return what changes when documents may be read or digested in another way: the digest of all that does it."""
    source = hashlib.sha256(pydantic.VERSION.encode())
    for package in ("reconciler.desired", "reconciler.model"):
        for file in sorted(resources.files(package).iterdir(), key=lambda file: file.name):
            if file.is_file():
                source.update(file.read_bytes())
    return source.hexdigest()


def _words(about: Collection[tuple[ObjectId, Loaded | None]], problems: Problems) -> bytes:
    """Return where each object is and what its file says, or that it is gone, and what is wrong with which."""
    heads = [(*who, *(_GONE if good is None else (good.digest, good.path, good.content_id))) for who, good in about]
    # All kinds, then all teams and so on: a few long lists are sooner read than thousands of short ones.
    columns = list(zip(*heads, strict=True))
    verdict = [(*who, texts) for who, texts in problems.items()] if len(problems) <= MAX_PROBLEMS else None
    documents = [b"" if good is None else good.written for _, good in about]
    # JSON has no raw tab and no raw line break, so both can separate.
    return b"\t".join((orjson.dumps(columns), orjson.dumps(verdict), *documents))


def _problems(verdict: bytes) -> Problems | None:
    known = orjson.loads(verdict)
    if known is None:
        return None
    return {ObjectId(kind, team, name): tuple(texts) for kind, team, name, texts in known}


def _sealed(words: bytes, before: bytes) -> bytes:
    """Return a line that continues from the checksum of the one before."""
    return _checksum(before + words) + words + b"\n"


def _opened(line: bytes, before: bytes) -> bytes:
    words = line[_SUM_LENGTH:]
    if _checksum(before + words) != _sum_of(line):
        raise ValueError("a damaged line")
    return words


def _sum_of(line: bytes) -> bytes:
    return line[:_SUM_LENGTH]


def _checksum(data: bytes) -> bytes:
    return hashlib.sha256(data).hexdigest()[:_SUM_LENGTH].encode()
