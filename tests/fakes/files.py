"""Files in memory with the crash model of a disk: what is not flushed may be lost, whole or in part.

The steps of every operation are those of `DiskFiles`: data is flushed before it gets its name, the folder after
(test_content_is_flushed_before_it_gets_its_name_and_the_folder_after). For the rest `tests/contract/test_files.py`
holds both to the same promises (test_fake_and_disk_tell_the_same_story).
"""

import errno
import os
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from reconciler.model.outcome import FailureKind
from reconciler.remote.files import FilesError, FileStamp
from reconciler.remote.tree import TEMP_PREFIX, explained, path_parts

# The same few paths are asked for again and again.
_parts = lru_cache(maxsize=4096)(path_parts)


class Crash(BaseException):
    """The daemon died inside an operation; `FakeFiles.crash` then settles what the disk kept."""


@dataclass
class _File:
    inode: int
    live: bytes = b""
    durable: bytes = b""
    mtime_ns: int = 0


@dataclass
class _Folder:
    live: dict[str, _File] = field(default_factory=dict)
    durable: dict[str, _File] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)


@dataclass
class _Fault:
    number: int
    step: str
    path: str
    times: int


class FakeFiles:
    """Implements `Files`; the seed decides what a crash keeps and where a torn write ends."""

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)
        self._folders = {"": _Folder()}
        self._faults: list[_Fault] = []
        self._hidden: dict[str, _File | None] = {}
        self._tick = 0
        self.mounted = True
        self.steps = 0
        # Those of the steps that change the disk: dying in another one is dying before the next of these.
        self.changes: list[int] = []
        self.die_at: int | None = None

    def fail(self, number: int, *, step: str = "", path: str = "", times: int = 1) -> None:
        """Let the next `times` steps of this name (open, write, flush, name, flush folder) end with an errno.

        What is there stays (test_a_fault_before_the_name_keeps_the_old_file, test_a_full_disk_keeps_the_old_file).
        """
        self._faults.append(_Fault(number, step, path, times))

    def mend(self) -> None:
        """Forget all faults."""
        self._faults.clear()
        self.mounted = True

    def crash(self) -> None:
        """Lose what was not flushed: each name and each unflushed tail may or may not have reached the disk."""
        for folder in self._folders.values():
            kept = {}
            for name in sorted(folder.live.keys() | folder.durable.keys()):
                new, old = folder.live.get(name), folder.durable.get(name)
                found = new if new is old or self._random.random() < 0.5 else old
                if found is not None:
                    found.live = found.durable = self._survivor(found)
                    kept[name] = found
            folder.live, folder.durable = kept, dict(kept)
        self.die_at = None

    def write_elsewhere(self, path: str, data: bytes, *, hidden: bool = False) -> None:
        """Let another client write; `hidden` keeps the old answer until `reveal`, as attribute caches do."""
        folder, name = self._place(path, ours=False)
        if hidden:
            self._hidden.setdefault(path, folder.live.get(name))
        folder.live[name] = folder.durable[name] = self._new(data, data)

    def read_elsewhere(self, path: str) -> bytes | None:
        """Let another client read: it sees what is true, and meets none of our faults."""
        *parents, name = _parts(path)
        folder = self._folders.get("/".join(parents))
        found = folder.live.get(name) if folder is not None else None
        return found.live if found is not None else None

    def everything(self) -> Iterator[tuple[str, bytes]]:
        """Return every file that there is, by its path."""
        for folder, found in self._folders.items():
            for name, file in found.live.items():
                yield f"{folder}/{name}", file.live

    def reveal(self, path: str = "") -> None:
        """Let all clients see the same again, of one file or of all."""
        if path:
            self._hidden.pop(path, None)
        else:
            self._hidden.clear()

    def read(self, path: str, *, limit: int = 1 << 20) -> bytes | None:
        """Return the whole file, or None when it is proven absent. More than `limit` bytes is an error."""
        content = self.read_range(path, 0, limit + 1)
        if content is not None and len(content) > limit:
            raise FilesError(FailureKind.REFUSED, f"{path}: the file is larger than {limit} bytes and is not read")
        return content

    def read_range(self, path: str, offset: int, limit: int) -> bytes | None:
        """Return up to `limit` bytes from `offset` on, or None when the file is proven absent."""
        with explained(path):
            found = self._look(path)
        return None if found is None else found.live[offset : offset + limit]

    def write(self, path: str, data: bytes, *, mode: int = 0o644) -> None:
        """Replace the file in one step: readers see the old or the new bytes, also after a crash."""
        with explained(path):
            folder, name = self._place(path)
            if name in folder.folders:
                raise IsADirectoryError(errno.EISDIR, name)
            self._temporary(path, folder, data)
            self._step("name", path, folder)
            folder.live[name] = folder.live.pop(TEMP_PREFIX)
            self._hidden.pop(path, None)
            self._flush_folder(path, folder)

    def write_many(self, files: Mapping[str, bytes]) -> None:
        """Replace many files, each in one step."""
        for path in files:
            _parts(path)
        for path, data in files.items():
            self.write(path, data)

    def create(self, path: str, data: bytes, *, mode: int = 0o644) -> bool:
        """Create the file with this content unless it exists; say whether it was created by this call."""
        with explained(path):
            folder, name = self._place(path)
            if name in folder.live or name in folder.folders:
                return False
            self._temporary(path, folder, data)
            self._step("name", path, folder)
            folder.live[name] = folder.live.pop(TEMP_PREFIX)
            self._flush_folder(path, folder)
        return True

    def append(self, path: str, data: bytes) -> None:
        """Append and flush. After a crash or an error any prefix of `data` may be there."""
        with explained(path):
            folder, name = self._place(path)
            if name in folder.folders:
                raise IsADirectoryError(errno.EISDIR, name)
            self._step("open", path, folder)
            is_new = name not in folder.live
            found = folder.live.setdefault(name, self._new(b"", b"")) if is_new else folder.live[name]
            before = found.live
            try:
                found.live = before + data
                self._step("write", path, folder)
            except OSError:
                found.live = before + data[: self._random.randrange(len(data) + 1)]
                raise
            self._step("flush", path, folder)
            self._settle(found)
            if is_new:
                self._flush_folder(path, folder)

    def truncate(self, path: str, size: int) -> None:
        """Cut the file to `size` bytes and flush."""
        with explained(path):
            found = self._look(path)
            if found is None or len(found.live) < size:
                raise FilesError(FailureKind.BUG, f"{path}: there is nothing to cut")
            found.live = found.live[:size]
            self._step("flush", path, self._place(path)[0])
            self._settle(found)

    def list(self, folder: str) -> tuple[str, ...]:
        """Return the sorted names in a folder; empty when the folder is proven absent."""
        with explained(folder):
            self._step("look", folder, None)
            names = _parts(folder) if folder else ()
            self._refuse_file_as_folder(names)
            found = self._folders.get("/".join(names))
        if found is None:
            return ()
        prefix = f"{folder}/" if folder else ""
        unseen = {path.removeprefix(prefix) for path, old in self._hidden.items() if old is None}
        shown = (found.live.keys() | found.folders) - unseen
        return tuple(sorted(name for name in shown if not name.startswith(TEMP_PREFIX)))

    def stamp(self, path: str) -> FileStamp | None:
        """Return the file's stamp, or None when it is proven absent."""
        with explained(path):
            found = self._look(path)
        if found is None:
            return None
        return FileStamp(found.inode, len(found.live), found.mtime_ns, found.mtime_ns)

    def remove(self, path: str) -> None:
        """Remove a file, or an empty folder; one that is gone already is fine."""
        with explained(path):
            *parents, name = _parts(path)
            self._step("look", path, None)
            parent = self._folders.get("/".join(parents))
            if parent is None or (name not in parent.live and name not in parent.folders):
                return
            if name in parent.folders:
                below = self._folders[path]
                if below.folders or any(not each.startswith(TEMP_PREFIX) for each in below.live):
                    raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY))
                del self._folders[path]
                parent.folders.remove(name)
                return
            del parent.live[name]
            self._hidden.pop(path, None)
            self._flush_folder(path, parent)

    def _look(self, path: str) -> _File | None:
        *parents, name = _parts(path)
        self._step("look", path, None)
        self._refuse_file_as_folder(parents)
        folder = self._folders.get("/".join(parents))
        if folder is not None and name in folder.folders:
            raise FilesError(FailureKind.REFUSED, f"{path}: it is not a regular file; remove it")
        if path in self._hidden:
            return self._hidden[path]
        return None if folder is None else folder.live.get(name)

    def _place(self, path: str, *, ours: bool = True) -> tuple[_Folder, str]:
        *parents, name = _parts(path)
        self._refuse_file_as_folder(parents)
        if ours and not self.mounted:
            raise OSError(errno.ENOENT, "root")
        for depth, parent in enumerate(parents):
            above, here = "/".join(parents[:depth]), "/".join(parents[: depth + 1])
            if here not in self._folders:
                self._folders[above].folders.add(parent)
                self._folders[here] = _Folder()
        return self._folders["/".join(parents)], name

    def _refuse_file_as_folder(self, names: Sequence[str]) -> None:
        if "/".join(names) in self._folders:
            return
        for depth, name in enumerate(names):
            above = self._folders.get("/".join(names[:depth]))
            if above is not None and name in above.live:
                raise NotADirectoryError(errno.ENOTDIR, name)

    def _temporary(self, path: str, folder: _Folder, data: bytes) -> None:
        self._step("open", path, folder)
        temporary = folder.live[TEMP_PREFIX] = self._new(data, b"")
        self._step("write", path, folder)
        self._step("flush", path, folder)
        self._settle(temporary)

    def _flush_folder(self, path: str, folder: _Folder) -> None:
        self._step("flush folder", path, folder)
        folder.durable = dict(folder.live)

    def _step(self, step: str, path: str, folder: _Folder | None) -> None:
        """Count a step; die or fail here if that was asked for. A failed write leaves no temporary file."""
        self.steps += 1
        if step != "look":
            self.changes.append(self.steps)
        if self.die_at is not None and self.steps >= self.die_at:
            raise Crash(step)
        if not self.mounted:
            raise OSError(errno.ENOENT, "root")
        for fault in self._faults:
            if fault.times > 0 and fault.step in {"", step} and path.startswith(fault.path):
                fault.times -= 1
                if folder is not None:
                    folder.live.pop(TEMP_PREFIX, None)
                raise OSError(fault.number, os.strerror(fault.number))

    def _new(self, live: bytes, durable: bytes) -> _File:
        self._tick += 1
        return _File(self._tick, live, durable, self._tick * 10**9)

    def _settle(self, found: _File) -> None:
        self._tick += 1
        found.durable, found.mtime_ns = found.live, self._tick * 10**9

    def _survivor(self, found: _File) -> bytes:
        if found.live.startswith(found.durable):
            return found.live[: self._random.randint(len(found.durable), len(found.live))]
        return self._random.choice((found.live, found.durable))
