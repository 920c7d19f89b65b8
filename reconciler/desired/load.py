"""From the files of one revision to desired objects. Only what changed is read; what breaks keeps its last good."""

import gc
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType

from reconciler.desired.cache import Cache, Good
from reconciler.desired.check import Checks
from reconciler.desired.parse import Parsed, is_document, misplaced, parse, team_of
from reconciler.model.derived import Edition
from reconciler.model.desired import Desired, FileError, Loaded
from reconciler.model.ids import ObjectId
from reconciler.model.snapshot import Snapshot
from reconciler.remote.files import Files

MAX_OBJECTS = 50_000
# Enough to keep the source busy, few enough that contents of a first load do not pile up in memory.
READ_AT_ONCE = 500

# In place of a content id, for an entry that the source does not hand out: a link, a submodule, a huge file.
_REFUSED = "refused: "

Read = Callable[[Sequence[str]], Mapping[str, bytes]]


def load_tree(files: Mapping[str, bytes]) -> Desired:
    """Return what a tree of files asks for, with nothing remembered: for checking a work tree."""
    # In a work tree the path names the content as well as anything.
    snapshot = Snapshot("tree", {path: path for path in files})
    return Loader().load(snapshot, lambda paths: {path: files[path] for path in paths})


class Loader:
    """Desired objects, revision after revision.

    An object comes from the one good file that describes it. While that file is broken or cannot be read, or while
    two files describe it, the object stays as it was accepted last and is marked stale.
    """

    def __init__(self, files: Files | None = None, *, max_objects: int = MAX_OBJECTS) -> None:
        self._cache = Cache(files) if files else None
        self._max_objects = max_objects
        self._desired = Desired("", {})
        # By path: the content last judged, the newest good content, and what is wrong with the present one.
        self._judged: dict[str, str] = {}
        self._good: dict[str, Good] = {}
        self._broken: dict[str, tuple[FileError, ...]] = {}
        self._unread: set[str] = set()
        # By identity: the paths that describe it, and what was accepted.
        self._claims: dict[ObjectId, set[str]] = {}
        with _no_collection():
            self._accepted: dict[ObjectId, Good] = self._cache.load() if self._cache else {}
        # Kept although nothing describes them for certain; looked at again whenever a file changes.
        self._lingering: set[ObjectId] = set(self._accepted)
        self._contested: set[ObjectId] = set()
        self._is_settled = False
        self._checks = Checks()
        self.parsed = 0
        """How many contents were parsed so far: none that was known, in this life or the one before."""
        self._objects = {who: _loaded(good, stale=True) for who, good in self._accepted.items()}
        # By content: what need not be parsed again. After a restart this is all that was accepted before.
        self._parsed = {good.content_id: good.parsed for good in self._accepted.values()}
        # What a path described last, for the first load; a path that two objects came from tells nothing.
        sources = Counter(good.path for good in self._accepted.values())
        self._remembered = {good.path: good for good in self._accepted.values() if sources[good.path] == 1}

    @property
    def incomplete(self) -> bool:
        """Whether a content could not be read from the source, so that the same revision may say more by now."""
        return bool(self._unread)

    def load(self, snapshot: Snapshot, read: Read) -> Desired:
        """Return the objects of `snapshot`; `read` gives the bytes of content ids."""
        files = snapshot.files
        changed = [
            path for path, content in files.items() if self._judged.get(path) != content and is_document(path)
        ]
        refused = {path: why for path, why in snapshot.rejected.items() if self._is_news(path, _REFUSED + why)}
        there = files.keys() | snapshot.rejected.keys()
        removed = [path for seen in (self._judged, self._broken) for path in seen if path not in there]
        if len(self._judged) + len(changed) > self._max_objects and self._is_too_large(files):
            return self._refuse(snapshot)
        if not changed and not removed and not refused and self._is_settled:
            self._desired = replace(self._desired, revision=snapshot.revision)
            return self._desired
        touched = self._lingering
        with _no_collection():
            for path in removed:
                touched |= self._forget(path)
            for path, why in refused.items():
                error = FileError(path, 1, 1, "", why, "put a regular file in its place")
                touched |= self._judge(path, _REFUSED + why, (error,))
            for path, found in self._look(sorted(changed), files, read):
                touched |= self._judge(path, files[path], found)
            return self._settle(snapshot.revision, touched)

    def _is_news(self, path: str, refusal: str) -> bool:
        """Say whether a refused entry stands, as of now, where a document is or was: a file, or a whole folder."""
        if self._judged.get(path) == refusal:
            return False
        return is_document(path.lower()) or any(known.startswith(f"{path}/") for known in self._judged)

    def _is_too_large(self, files: Mapping[str, str]) -> bool:
        return sum(map(is_document, files)) > self._max_objects

    def _refuse(self, snapshot: Snapshot) -> Desired:
        error = FileError(
            "", 1, 1, "", f"there are more than {self._max_objects} files", "nothing of this is applied"
        )
        unsettled = frozenset({"", *map(team_of, snapshot.files), *(who.team for who in self._objects)})
        kept = MappingProxyType(dict(self._objects))
        return replace(
            self._desired, revision=snapshot.revision, objects=kept, errors=(error,), unsettled=unsettled
        )

    def _look(
        self, changed: Sequence[str], files: Mapping[str, str], read: Read
    ) -> Iterator[tuple[str, Parsed | tuple[FileError, ...] | None]]:
        """Give for each changed path what it says, what is wrong with it, or None when it is unreadable."""
        for start in range(0, len(changed), READ_AT_ONCE):
            paths = changed[start : start + READ_AT_ONCE]
            contents = read(sorted({files[path] for path in paths if files[path] not in self._parsed}))
            for path in paths:
                content_id = files[path]
                if (known := self._parsed.get(content_id)) is not None:
                    yield path, known
                elif content_id in contents:
                    self.parsed += 1
                    yield path, parse(path, contents[content_id])
                else:
                    yield path, None

    def _judge(self, path: str, content_id: str, found: Parsed | tuple[FileError, ...] | None) -> set[ObjectId]:
        """Take in what one path says now, and return the identities that this may concern."""
        self._judged[path] = content_id
        self._unread.discard(path)
        before = self._good.get(path)
        touched = {before.parsed.id} if before else set()
        if found is None:
            self._judged.pop(path)  # so that the next load asks again
            self._unread.add(path)
            found = (FileError(path, 1, 1, "", "the content cannot be read from the source", "it is tried again"),)
        elif isinstance(found, Parsed) and (error := misplaced(path, found.id)):
            found = (error,)
        if isinstance(found, Parsed):
            self._broken.pop(path, None)
            self._parsed[content_id] = found
            self._disclaim(path)
            last = self._accepted.get(found.id)
            is_same = last is not None and (last.path, last.content_id) == (path, content_id)
            self._claim(last if last and is_same else Good(path, content_id, found))
            return touched | {found.id}
        self._broken[path] = found
        self._fall_back(path)
        return touched

    def _fall_back(self, path: str) -> None:
        """Let a broken file stand for what was accepted from it, and for nothing that was refused."""
        current = self._good.get(path)
        good = current or self._remembered.get(path)
        last = self._accepted.get(good.parsed.id) if good else None
        if current is last:
            return
        self._disclaim(path)
        if last and last.path == path:
            self._claim(last)

    def _forget(self, path: str) -> set[ObjectId]:
        self._judged.pop(path, None)
        self._broken.pop(path, None)
        self._unread.discard(path)
        return self._disclaim(path)

    def _claim(self, good: Good) -> None:
        self._good[good.path] = good
        self._parsed[good.content_id] = good.parsed
        self._claims.setdefault(good.parsed.id, set()).add(good.path)

    def _disclaim(self, path: str) -> set[ObjectId]:
        good = self._good.pop(path, None)
        if good is None:
            return set()
        self._claims[good.parsed.id].discard(path)
        if not self._claims[good.parsed.id]:
            del self._claims[good.parsed.id]
        return {good.parsed.id}

    def _settle(self, revision: str, touched: set[ObjectId]) -> Desired:
        lost = self._broken.keys() - self._good.keys()
        unsettled = frozenset(team_of(path if is_document(path) else f"{path}/any.yaml") for path in lost)
        before = {who: self._accepted.get(who) for who in touched}
        known = Edition.of(self._desired.objects) if self._is_settled else Edition(self._objects)
        self._lingering, self._remembered, self._is_settled = set(), {}, True
        for who in touched:
            self._accept(who, unsettled)
        # Identity tells enough: comparing 10,000 documents by value costs more than judging them.
        changed = [who for who in touched if self._accepted.get(who) is not before[who]]
        if self._cache and changed:
            self._cache.save(changed, self._accepted)
        if len(self._parsed) > 2 * len(self._good) + READ_AT_ONCE:
            self._parsed = {good.content_id: good.parsed for good in self._good.values()}
        objects = known.next({who: self._objects.get(who) for who in touched})
        problems = self._checks.update(objects, touched)
        lingering = frozenset(self._lingering - self._claims.keys())
        self._desired = Desired(revision, objects, self._errors(), problems, unsettled, lingering)
        return self._desired

    def _accept(self, who: ObjectId, unsettled: frozenset[str]) -> None:
        """Decide what one object is now."""
        paths = self._claims.get(who, set())
        (self._contested.add if len(paths) > 1 else self._contested.discard)(who)
        if len(paths) == 1:
            (path,) = paths
            self._accepted[who] = self._good[path]
            self._objects[who] = _loaded(self._good[path], stale=path in self._broken)
            return
        last = self._accepted.get(who)
        if last is None:
            return
        if not paths and not _scope(who, last.path) & unsettled:
            self._accepted.pop(who)
            self._objects.pop(who, None)
            return
        # Two files describe it, or its file is gone while a broken one may be its new home.
        is_unchanged = last.path in paths - self._broken.keys() and self._good[last.path] is last
        self._objects[who] = _loaded(last, stale=not is_unchanged)
        self._lingering.add(who)

    def _errors(self) -> tuple[FileError, ...]:
        found = [error for errors in self._broken.values() for error in errors]
        for who in self._contested:
            paths = self._claims[who]
            found += [_twice(path, who, sorted(paths - {path})) for path in paths]
        return tuple(sorted(found))


@contextmanager
def _no_collection() -> Iterator[None]:
    """Let Python look for no garbage meanwhile."""
    # What loading makes stays, and going through all of it again and again takes as long as making it: a second
    # start of 10,000 objects takes twice the time with collections.
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _scope(who: ObjectId, path: str) -> frozenset[str]:
    return frozenset({who.team, team_of(path)})


def _loaded(good: Good, *, stale: bool) -> Loaded:
    parsed = good.parsed
    return Loaded(parsed.id, parsed.document, parsed.digest, good.path, good.content_id, stale)


def _twice(path: str, who: ObjectId, others: Sequence[str]) -> FileError:
    named = ", ".join(others[:3])
    return FileError(path, 1, 1, "metadata.name", f"{who} is described in {named} too", "keep one of the files")
