"""The status directory: what changed is written, what did not is left alone, and the index comes last."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

import reconciler
from reconciler.clock import Clock
from reconciler.model.document import KINDS
from reconciler.model.layout import HEARTBEAT
from reconciler.model.outcome import FailureKind
from reconciler.model.status import ObjectStatus
from reconciler.record.document import (
    JsonDocument,
    Overview,
    content_digest,
    digest_of,
    document,
    index_row,
    pretty,
    summary,
)
from reconciler.record.index import Index, Row
from reconciler.record.plan_file import PlanFile
from reconciler.record.text import Redaction, plain, written
from reconciler.remote.files import Files, FilesError, FileStamp

INDEX = "index.json"
SUMMARY = "summary.json"
PLAN = "plan.json"
# Names the documents that are being written, until the index tells of them: what it says of them may be untrue.
WRITING = "writing.json"
QUEUES = "queue"

_MAX_DOCUMENT = 16 << 20
_MAX_INDEX = 1 << 28


class StatusWriter:
    """Writes the status directory and never reads a decision from it.

    What could not be written is kept and tried again with the next call, so a full disk costs readers freshness
    and nothing else.
    """

    def __init__(self, files: Files, clock: Clock, redaction: Redaction | None = None) -> None:
        self._files = files
        self._clock = clock
        self._redaction = redaction or Redaction()
        self._loaded = False
        # What our last write left of the files that come last; another daemon's would leave others.
        self._left: tuple[FileStamp | None, ...] = ()
        self._index = Index()
        self._waiting: dict[str, ObjectStatus | None] = {}
        self._present: set[str] = set()
        self._summary: JsonDocument = {}
        # Of files beside the documents: the digest of what is on the disk, and of what they were made of.
        self._disk: dict[str, str] = {}
        self._made: dict[str, str] = {}
        # What an extra was made of: the same object says the same.
        self._made_of: dict[str, object] = {}
        self._whole_due = False
        self._plan = PlanFile(self._redaction)
        # Documents that the index on the disk may be wrong about; WRITING names them there.
        self._doubt: set[str] = set()
        self.written = 0
        """How many files were written so far, heartbeats left out."""
        self.looks = 0
        """How often the directory was looked through: after each all objects are to be told again."""

    def paths(self) -> frozenset[str]:
        """Return the documents that are there, also those of objects that are gone; raises FilesError."""
        self._load()
        return frozenset(self._present)

    def write(
        self, changed: Iterable[ObjectStatus], removed: Iterable[str], view: Overview, *, whole: bool = False
    ) -> str | None:
        """Bring the directory up to date; return None, or why it could not be.

        `changed` may hold unchanged objects too, at the price of a comparison. With `whole` it holds all there are.
        """
        self._waiting.update({status.path: status for status in changed})
        self._waiting.update(dict.fromkeys(removed))
        self._whole_due = self._whole_due or whole
        try:
            self._load()
            if self._whole_due:
                self._waiting.update(dict.fromkeys(self._present - self._waiting.keys()))
                self._whole_due = False
            self._left = ()
            self._write_documents(view)
            if view.plan is not None:
                self._write_changed(PLAN, self._plan.encoded(view.plan))
            if view.extras is not None:
                self._write_extras(view.extras)
            self._write_summary(view)
            if self._index.due:
                self._write_changed(INDEX, self._index.encoded())
                self._index.due = False
            if self._doubt and not self._index.doubts(self._doubt):
                self._files.remove(WRITING)
                self._doubt.clear()
            self._left = self._stamps()
        except FilesError as error:
            return error.message
        return None

    def beat(self, number: int, pid: int, revision: str) -> str | None:
        """Say that the daemon lives; `number` counts its passes. Return None, or why it could not be said."""
        said = {
            "at": written(self._clock.now().wall),
            "pass": number,
            "pid": pid,
            "revision": revision,
            "version": reconciler.__version__,
        }
        try:
            self._files.write(HEARTBEAT, pretty(said))
        except FilesError as error:
            return error.message
        return None

    def _load(self) -> None:
        """Learn once what the directory holds: one list per folder and one index, not 10,000 documents.

        If others wrote there, the index is not believed, and 10,000 documents are compared after all.
        """
        # A daemon that was overtaken in the midst of writing ends its sentence when it wakes up.
        if self._loaded and not (self._left and self._stamps() != self._left):
            return
        self._loaded = False
        present = set(self._documents_on_disk())
        data = self._files.read(INDEX, limit=_MAX_INDEX)
        self._disk = {INDEX: _digest(data)} if data is not None else {}
        self._summary = _table(self._files.read(SUMMARY, limit=_MAX_DOCUMENT))
        self._made = {f"{QUEUES}/{name}": "" for name in self._files.list(QUEUES)}
        self._present = present
        self._doubt = set(present) if self._left else self._half_written(present)
        self._left = ()
        self._index.read(_table(data), present)
        self._index.doubt(self._doubt)
        self._loaded = True
        self.looks += 1

    def _half_written(self, present: set[str]) -> set[str]:
        """Return the documents that somebody who died was writing: they are compared, whatever the index says."""
        data = self._files.read(WRITING, limit=_MAX_INDEX)
        if data is None:
            return set()
        try:
            return {str(path) for path in orjson.loads(data)}
        except (ValueError, TypeError):
            return set(present)

    def _stamps(self) -> tuple[FileStamp | None, ...]:
        return tuple(self._files.stamp(path) for path in (SUMMARY, INDEX))

    def _documents_on_disk(self) -> Iterable[str]:
        top = self._files.list("")
        for folder in sorted({kind.lower() for kind in KINDS} & set(top)):
            for name in self._files.list(folder):
                if name.endswith(".json"):
                    yield f"{folder}/{name}"
                    continue
                yield from (f"{folder}/{name}/{inner}" for inner in self._names_in(f"{folder}/{name}"))

    def _names_in(self, folder: str) -> Iterable[str]:
        """Return what a team's folder holds; nothing of what is no folder: an editor's backup, somebody's link."""
        try:
            return self._files.list(folder)
        except FilesError as error:
            if error.kind is FailureKind.REFUSED:
                return ()
            raise

    def _write_documents(self, view: Overview) -> None:
        now = view.as_of or self._clock.now().wall
        documents: dict[str, bytes] = {}
        rows: dict[str, Row] = {}
        for path, status in self._waiting.items():
            if status is None:
                continue
            content = content_digest(status)
            if self._index.content(path) == content:
                continue
            before = self._before(path)
            after = document(status, before, now, self._redaction)
            if after is not before:
                documents[path] = pretty(after)
            rows[path] = Row.of(index_row(after, path, content))
        self._begin(documents)
        self._files.write_many(documents)
        self.written += len(documents)
        self._present |= documents.keys()
        self._remove([path for path, status in self._waiting.items() if status is None])
        for path, row in rows.items():
            self._index.put(path, row)
        self._waiting.clear()

    def _begin(self, documents: Iterable[str]) -> None:
        """Believe nothing of these documents until they and the index are written: either may fail half-way."""
        if documents := set(documents):
            self._doubt |= documents
            self._files.write(WRITING, orjson.dumps(sorted(self._doubt)) + b"\n")
            self._index.doubt(documents)

    def _before(self, path: str) -> JsonDocument:
        if path not in self._present:
            return {}
        return _table(self._files.read(path, limit=_MAX_DOCUMENT))

    def _remove(self, paths: Iterable[str]) -> None:
        for path in paths:
            self._files.remove(path)
            self._index.drop(path)
            self._present.discard(path)
            folder = path.rpartition("/")[0]
            if folder and not self._files.list(folder):
                self._files.remove(folder)

    def _write_extras(self, extras: Mapping[str, object]) -> None:
        for path, value in sorted(extras.items()):
            if self._made_of.get(path) is not value:
                self._write_made(path, value)
                self._made_of[path] = value
        for path in sorted(self._made.keys() - extras.keys() - {SUMMARY}):
            self._files.remove(path)
            self._disk.pop(path, None)
            self._made_of.pop(path, None)
            del self._made[path]

    def _write_made(self, path: str, value: object) -> Any:
        """Write a file unless it was made of the same value last: cleaning a value costs more than its digest.

        Return what it says, None when it was left alone.
        """
        made_of = digest_of(value)
        if self._made.get(path) == made_of:
            return None
        said = plain(value, self._redaction)
        self._write_changed(path, pretty(said))
        self._made[path] = made_of
        return said

    def _write_summary(self, view: Overview) -> None:
        now = view.as_of or self._clock.now().wall
        self._summary = (
            self._write_made(SUMMARY, summary(view, self._index.counts, self._summary, now)) or self._summary
        )

    def _write_changed(self, path: str, data: bytes) -> None:
        digest = _digest(data)
        if path not in self._disk:
            found = self._files.read(path, limit=_MAX_INDEX)
            self._disk[path] = _digest(found) if found is not None else ""
        if self._disk[path] != digest:
            # Until it is known to be written, it is not known what is there.
            del self._disk[path]
            self._files.write(path, data)
            self.written += 1
            self._disk[path] = digest


def _table(data: bytes | None) -> JsonDocument:
    try:
        found = orjson.loads(data or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
