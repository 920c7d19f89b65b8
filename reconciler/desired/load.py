"""From the files of one revision to desired objects. Only what changed is read; what breaks keeps its last good."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain

from reconciler.desired.cache import Cache, Kept
from reconciler.desired.check import Checks
from reconciler.desired.parse import (
    Errors,
    folders_of,
    is_document,
    is_place,
    misplaced,
    parse_all,
    team_of,
    teams_in,
    twice,
)
from reconciler.garbage import no_collection
from reconciler.model.derived import Edition, differences
from reconciler.model.desired import ANY_TEAM, Desired, FileError, Loaded, homes
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
        self._desired = Desired("", Edition())
        # What was judged last: only what differs from it is looked at.
        self._seen = Snapshot("", {})
        # By path: the content last judged, the newest good content, and what is wrong with the present one.
        self._judged: dict[str, str] = {}
        self._good: dict[str, Loaded] = {}
        self._broken: dict[str, Errors] = {}
        # By identity: the paths that describe it, and what was accepted.
        self._claims: dict[ObjectId, tuple[str, ...]] = {}
        self._accepted: dict[ObjectId, Loaded] = {}
        # Kept although nothing describes them for certain; looked at again whenever a file changes.
        self._lingering: set[ObjectId] = set()
        self._contested: set[ObjectId] = set()
        self._is_settled = False
        # Judged anew, and not settled yet.
        self._touched: set[ObjectId] = set()
        self._checks = Checks()
        # Whether the problems that are known are those of the objects as they are.
        self._is_checked = False
        self.parsed = 0
        """How many contents were parsed so far: none that was known, in this life or the one before."""
        # By content: what need not be parsed again.
        self._known: dict[str, Loaded] = {}
        self._unkept: set[ObjectId] = set()  # what the cache does not know yet
        if self._cache:
            with no_collection():
                self._recall(self._cache.load())

    def _recall(self, kept: Kept) -> None:
        """Begin as if the files of the accepted objects had been loaded before, and no others."""
        accepted = self._accepted = kept.objects
        sources = Counter(good.path for good in accepted.values())
        # What a path says that two objects came from is not known, nor one that its object has left.
        alone = [good for good in accepted.values() if sources[good.path] == 1 and good.content_id]
        self._known = {good.content_id: good for good in accepted.values()}
        self._judged = {good.path: good.content_id for good in alone}
        self._good = {good.path: good for good in alone}
        self._claims = {good.id: (good.path,) for good in alone}
        self._lingering = accepted.keys() - self._claims.keys()
        self._desired = replace(self._desired, objects=Edition(accepted), problems=kept.problems or {})
        self._is_checked = kept.problems is not None

    @property
    def incomplete(self) -> bool:
        """Whether a content could not be read from the source, so that the same revision may say more by now."""
        return any(self._unread())

    def load(self, snapshot: Snapshot, read: Read) -> Desired:
        """Return the objects of `snapshot`; `read` gives the bytes of content ids."""
        files, rejected = snapshot.files, snapshot.rejected
        news = self._news(snapshot)
        changed = [
            path for path in news if path in files and self._judged.get(path) != files[path] and is_document(path)
        ]
        refused = self._refused(rejected) if rejected else {}
        known = [path for path in news if path in self._judged or path in self._broken]
        removed = [path for path in known if path not in files and path not in rejected]
        if len(self._judged) + len(changed) > self._max_objects and self._is_too_large(files):
            return self._refuse(snapshot)
        if not changed and not removed and not refused and self._is_settled:
            self._desired, self._seen = replace(self._desired, revision=snapshot.revision), snapshot
            return self._desired
        # Until all of it is judged: a load that is cut short is begun again, with what it had touched.
        self._is_settled = False
        touched = self._touched
        touched |= self._lingering
        with no_collection():
            for path in removed:
                touched |= self._forget(path)
            for path, why in refused.items():
                error = FileError(path, 1, 1, "", why, "put a regular file in its place")
                self._judge(path, _REFUSED + why, (error,), touched)
            for path, found in self._look(changed, files, read):
                self._judge(path, files[path], found, touched)
            self._seen = snapshot
            return self._settle(snapshot.revision, touched)

    def keep(self) -> None:
        """Remember across restarts what is in force; not before the ledger knows that its revision is."""
        if self._cache and self._unkept:
            self._cache.save(self._unkept, self._accepted, self._desired.problems)
            self._unkept = set()

    def _news(self, snapshot: Snapshot) -> Collection[str]:
        """Return all paths that may say something else than at the last load, or could not be read then."""
        if not self._is_settled:
            return dict.fromkeys([*self._judged, *self._broken, *snapshot.files])
        return dict.fromkeys(
            [*differences(self._seen.files, snapshot.files), *self._seen.rejected, *self._unread()]
        )

    def _unread(self) -> Iterator[str]:
        return (path for path in self._broken if path not in self._judged)

    def _refused(self, rejected: Mapping[str, str]) -> dict[str, str]:
        """Return new entries that stand, as of now, where a document is or was: a file, or a whole folder."""
        folders = folders_of(chain(self._judged, (self._accepted[who].path for who in self._lingering)))
        news = {path: why for path, why in rejected.items() if self._judged.get(path) != _REFUSED + why}
        return {path: why for path, why in news.items() if is_place(path) or path in folders}

    def _is_too_large(self, files: Mapping[str, str]) -> bool:
        return sum(map(is_document, files)) > self._max_objects

    def _refuse(self, snapshot: Snapshot) -> Desired:
        error = FileError(
            "", 1, 1, "", f"there are more than {self._max_objects} files", "nothing of this is applied"
        )
        unsettled = frozenset({"", ANY_TEAM})
        return replace(self._desired, revision=snapshot.revision, errors=(error,), unsettled=unsettled)

    def _look(
        self, changed: Sequence[str], files: Mapping[str, str], read: Read
    ) -> Iterator[tuple[str, Loaded | Errors | None]]:
        """Give for each changed path what it says, what is wrong with it, or None when it is unreadable."""
        for start in range(0, len(changed), READ_AT_ONCE):
            paths = changed[start : start + READ_AT_ONCE]
            unknown = [path for path in paths if files[path] not in self._known]
            contents = read([*{files[path]: None for path in unknown}])
            there = [(path, files[path], contents[files[path]]) for path in unknown if files[path] in contents]
            self.parsed += len(there)
            parsed = dict(zip((path for path, _, _ in there), parse_all(there), strict=True))
            for path in paths:
                yield path, parsed.get(path) or self._moved(path, files[path])

    def _moved(self, path: str, content_id: str) -> Loaded | None:
        known = self._known.get(content_id)
        return known if known is None or known.path == path else replace(known, path=path)

    def _judge(self, path: str, content_id: str, found: Loaded | Errors | None, touched: set[ObjectId]) -> None:
        """Take in what one path says now, and add the identities that this may concern to `touched`."""
        self._judged[path] = content_id
        if (before := self._good.get(path)) is not None:
            touched.add(before.id)
        if isinstance(found, Loaded) and (error := misplaced(path, found.id)):
            found = (error,)
        if isinstance(found, Loaded):
            self._broken.pop(path, None)
            self._disclaim(path)
            last = self._accepted.get(found.id)
            self._claim(last if last is not None and last == found else found)
            touched.add(found.id)
            return
        if found is None:
            del self._judged[path]  # so that the next load asks again
            found = (FileError(path, 1, 1, "", "the content cannot be read from the source", "it is tried again"),)
        self._broken[path] = found
        self._fall_back(path)

    def _fall_back(self, path: str) -> None:
        """Let a broken file stand for what was accepted from it, and for nothing that was refused."""
        current = self._good.get(path)
        last = self._accepted.get(current.id) if current else None
        if current is last:
            return
        self._disclaim(path)
        if last and last.path == path:
            self._claim(last)

    def _forget(self, path: str) -> set[ObjectId]:
        self._judged.pop(path, None)
        self._broken.pop(path, None)
        return self._disclaim(path)

    def _claim(self, good: Loaded) -> None:
        self._good[good.path] = good
        self._known[good.content_id] = good
        self._claims[good.id] = (*self._claims.get(good.id, ()), good.path)

    def _disclaim(self, path: str) -> set[ObjectId]:
        good = self._good.pop(path, None)
        if good is None:
            return set()
        paths = tuple(other for other in self._claims.pop(good.id) if other != path)
        if paths:
            self._claims[good.id] = paths
        return {good.id}

    def _settle(self, revision: str, touched: set[ObjectId]) -> Desired:
        # Never the difference of two views, which goes through all there is.
        lost = [path for path in self._broken if path not in self._good]
        unsettled = frozenset(chain.from_iterable(map(teams_in, lost))) | self._in_two_minds(touched)
        self._lingering = set()
        before = {who: self._accepted.get(who) for who in touched}
        objects = Edition.of(self._desired.objects).next({who: self._accept(who, unsettled) for who in touched})
        # Identity tells enough: comparing 10,000 objects by value costs more than judging them.
        changed = [who for who in touched if self._accepted.get(who) is not before[who]]
        if len(self._known) > 2 * len(self._good) + READ_AT_ONCE:
            self._known = {good.content_id: good for good in self._good.values()}
        problems = self._desired.problems
        if touched or not self._is_checked:
            problems, self._is_checked = self._checks.update(objects, touched), True
        self._unkept.update(changed)
        lingering = frozenset(who for who in self._lingering if who not in self._claims)
        self._desired = Desired(revision, objects, self._errors(), problems, unsettled, lingering)
        self._touched, self._is_settled = set(), True
        return self._desired

    def _in_two_minds(self, touched: set[ObjectId]) -> frozenset[str]:
        """Return where objects are that two files describe and of which none was accepted: they have not left."""
        doubtful = {
            who: paths
            for who in self._contested | touched
            if len(paths := self._claims.get(who, ())) > 1 and who not in self._accepted
        }
        return frozenset(team for who, paths in doubtful.items() for team in (who.team, *map(team_of, paths)))

    def _accept(self, who: ObjectId, unsettled: frozenset[str]) -> Loaded | None:
        """Decide what one object is now, if it is there."""
        paths = self._claims.get(who, ())
        (self._contested.add if len(paths) > 1 else self._contested.discard)(who)
        if len(paths) == 1:
            (path,) = paths
            good = self._accepted[who] = self._good[path]
            return replace(good, stale=True) if path in self._broken else good
        last = self._accepted.get(who)
        if last is None:
            return None
        if not paths and homes(who).isdisjoint(unsettled):
            del self._accepted[who]
            return None
        # Two files describe it, or its file is gone while a broken one may be its new home.
        self._lingering.add(who)
        if last.path not in paths and last.content_id:
            # Whatever is at that path next is another file, after a restart too.
            last = self._accepted[who] = replace(last, content_id="")
        is_unchanged = last.path in set(paths) - self._broken.keys() and self._good[last.path] is last
        return last if is_unchanged else replace(last, stale=True)

    def _errors(self) -> tuple[FileError, ...]:
        found = [error for errors in self._broken.values() for error in errors]
        for who in self._contested:
            paths = self._claims[who]
            found += [twice(path, who, sorted({*paths} - {path})) for path in paths]
        return tuple(sorted(found))
