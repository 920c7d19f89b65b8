"""Desired files from a folder, local or on a network file system that tells nobody about changes."""

import errno
import hashlib
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import orjson

from reconciler.clock import Clock
from reconciler.model.json import canonical
from reconciler.model.snapshot import Snapshot, SourceFault, SourceProblem
from reconciler.remote.files import Files, FilesError, FileStamp
from reconciler.source.lane import Hung, Lane
from reconciler.source.limits import Limits
from reconciler.source.location import SourceConfigError
from reconciler.source.mounts import is_local
from reconciler.source.scan import Excess, Unstable, Walk, read_at, read_whole, same_folders

# A publisher rewrites this file after its other files: it names a complete state, and costs one open per look.
MARKER = ".generation"
MAX_MARKER = 4096
# In our own directory: the marker seen last, and which files it stood for. Without it a restart in the midst of a
# publication would take what is half there.
PUBLISHED = "published.json"

# Without a marker and on a network file system: every so many looks the files are compared one by one, since an
# edit in place does not touch its folder.
FULL_LOOK_EVERY = 20

# Time stamps are coarse (a jiffy here, a second elsewhere), and a server's clock may be off by a little: a file
# that changed so recently may change again under the same stamp, and is read again at the next look.
RECENT = timedelta(seconds=3)

# A folder that changes during each of so many looks is a problem to report, no longer a coincidence.
PATIENCE = 10

# What opening an entry gives that was there a moment ago.
_MOVED = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})

# Bytes of files that were read to name them and are kept until somebody asks for them.
KEPT_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class _Known:
    """What the last complete look found."""

    snapshot: Snapshot
    marker: tuple[FileStamp, bytes] | None
    folders: dict[str, FileStamp]
    # A stamp is missing where the file must be read again.
    files: dict[str, tuple[FileStamp | None, str]]
    fresh: dict[str, bytes] = field(default_factory=dict)


class DirectorySource:
    """Follows the YAML files of a folder. A look is complete and of one moment, or it does not count."""

    def __init__(
        self,
        folder: Path,
        clock: Clock,
        *,
        limits: Limits | None = None,
        trust_folders: bool | None = None,
        kept: Files | None = None,
    ) -> None:
        """Follow `folder`; `kept` is where it is remembered across restarts which marker stood for which files."""
        if not folder.is_absolute():
            raise SourceConfigError("the folder of desired files must be given as an absolute path")
        self._folder = folder
        self._clock = clock
        self._limits = limits or Limits()
        # Comparing 10,000 files takes 55 ms on a local disk and 10 s on a network one, where folders must do.
        self._trust_folders = trust_folders
        self._kept = kept
        self._lane = Lane(clock)
        self._known: _Known | None = None
        self._looks = 0
        self._unstable = 0

    def latest(self, applied: str | None, accepted: frozenset[str] = frozenset()) -> Snapshot | SourceProblem:  # noqa: ARG002 - a folder has no history that could be rewritten
        """Return what the folder holds now, or say why that cannot be said.

        An empty, missing or unreadable folder is a problem and never the wish to delete everything.
        """
        known, self._looks = self._known, self._looks + 1
        limit = self._limits.fetch if known else self._limits.first_fetch
        try:
            found = self._lane.run(lambda: self._look(known), limit)
        except Hung:
            return self._unreachable("does not answer")
        except Unstable as change:
            self._unstable += 1
            if known is None or self._unstable > PATIENCE:
                return self._unreachable(f"changes while it is read ({change}); publish with a marker file")
            found = known
        except Excess as excess:
            return SourceProblem(SourceFault.TOO_LARGE, f"{self._folder}: {excess}")
        except OSError as error:
            return self._unreachable(f"cannot be read completely ({error.strerror})")
        else:
            self._unstable = 0
        if not found.snapshot.files and applied is not None:
            return SourceProblem(SourceFault.EMPTY, f"{self._folder} holds no desired file; is it mounted?")
        if known is not found and found.marker is not None and not self._is_published(known, found):
            return self._unreachable(f"is half published: let the publisher end, or write {MARKER} anew")
        self._known = found
        return found.snapshot

    def at(self, revision: str) -> Snapshot | SourceProblem:
        """Return the newest snapshot if that is the one meant; a folder keeps no earlier ones."""
        if self._known is not None and revision == self._known.snapshot.revision:
            return self._known.snapshot
        return SourceProblem(SourceFault.NO_BRANCH, "a directory keeps no earlier revisions; only Git does")

    def read(self, content_ids: Sequence[str]) -> Mapping[str, bytes]:
        """Return the bytes of the given content ids; ids that cannot be read whole are left out."""
        known = self._known
        if known is None:
            return {}
        found = {one: known.fresh.pop(one) for one in dict.fromkeys(content_ids) if one in known.fresh}
        wanted = {one for one in content_ids if one not in found}
        paths = {one: path for path, (_, one) in known.files.items() if one in wanted} if wanted else {}
        if paths:
            with suppress(Hung, OSError):
                found |= self._lane.run(lambda: self._reread(paths), self._limits.local)
        return found

    def close(self) -> None:
        """End the thread that reads."""
        self._lane.close()

    def _look(self, known: _Known | None) -> _Known:
        root = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            marker = _marker(root)
            if known is not None and self._nothing_new(root, known, marker):
                return known
            try:
                found = self._everything(root, known, marker)
            except OSError as error:
                if error.errno in _MOVED:
                    raise Unstable("an entry went away or was replaced") from error
                raise
            if _marker(root) != marker:
                raise Unstable("its marker moved")
            if known is not None and found.snapshot.revision == known.snapshot.revision:
                # The same content: the same object, so that nobody looks for differences.
                return _Known(known.snapshot, marker, found.folders, found.files, found.fresh)
            return found
        finally:
            os.close(root)

    def _is_published(self, known: _Known | None, found: _Known) -> bool:
        """Say whether the files are those that the marker was written for, and remember it.

        After a restart under the same marker they must be the same; a newer marker stands for what there is.
        """
        if self._kept is None:
            return True
        word = {"marker": repr(found.marker), "files": _revision(found.snapshot.files, {})}
        try:
            before = orjson.loads(self._kept.read(PUBLISHED) or b"{}") if known is None else {}
            if isinstance(before, dict) and before.get("marker") == word["marker"] and before != word:
                return False
            self._kept.write(PUBLISHED, canonical(word) + b"\n")
        except (FilesError, ValueError):
            pass
        return True

    def _nothing_new(self, root: int, known: _Known, marker: tuple[FileStamp, bytes] | None) -> bool:
        if marker is not None:
            return marker == known.marker
        if known.marker is not None or self._looks % FULL_LOOK_EVERY == 0:
            return False
        if self._trust_folders is None:
            self._trust_folders = not is_local(self._folder)
        settled = all(stamp is not None for stamp, _ in known.files.values())
        return self._trust_folders and settled and same_folders(root, known.folders)

    def _everything(self, root: int, known: _Known | None, marker: tuple[FileStamp, bytes] | None) -> _Known:
        recent = int((self._clock.now().wall - RECENT).timestamp() * 1_000_000_000)
        before = known.files if known else {}
        files: dict[str, tuple[FileStamp | None, str]] = {}
        fresh: dict[str, bytes] = {}
        kept = total = 0
        walk = Walk(root, self._limits)
        for seen in walk.files():
            total += seen.stamp.size
            if len(files) >= self._limits.files or total > self._limits.total_bytes:
                raise Excess("there are more desired files or bytes than are allowed")
            stamp, content_id = before.get(seen.path, (None, ""))
            if stamp != seen.stamp:
                data, stamp = read_whole(seen.folder, seen.name, self._limits.file_bytes)
                content_id = _content_id(data)
                if kept + len(data) <= KEPT_BYTES:
                    fresh[content_id] = data
                    kept += len(data)
            files[seen.path] = (stamp if stamp.ctime_ns < recent else None, content_id)
        if not walk.unchanged():
            raise Unstable("a folder got or lost a file")
        listed = {path: one for path, (_, one) in files.items()}
        return _Known(
            Snapshot(_revision(listed, walk.rejected), listed, walk.rejected), marker, walk.folders, files, fresh
        )

    def _reread(self, paths: Mapping[str, str]) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        root = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for one, path in paths.items():
                with suppress(OSError, Unstable):
                    data = read_at(root, path, self._limits.file_bytes)
                    if _content_id(data) == one:
                        found[one] = data
        finally:
            os.close(root)
        return found

    def _unreachable(self, why: str) -> SourceProblem:
        return SourceProblem(SourceFault.UNREACHABLE, f"{self._folder} {why}")


def _marker(root: int) -> tuple[FileStamp, bytes] | None:
    # Opened each time: on NFS an open asks the server, a mere look may be answered from the cache.
    try:
        data, stamp = read_whole(root, MARKER, MAX_MARKER)
    except FileNotFoundError:
        return None
    return stamp, data


def _content_id(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _revision(files: Mapping[str, str], rejected: Mapping[str, str]) -> str:
    lines = sorted([*files.items(), *rejected.items()])
    whole = "".join(f"{path}\0{what}\n" for path, what in lines)
    return f"dir:{hashlib.sha256(whole.encode()).hexdigest()}"
