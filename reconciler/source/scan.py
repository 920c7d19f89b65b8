"""Walking a folder that others may write: no link is followed, nothing but plain files is opened."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field

from reconciler.remote.files import FileStamp
from reconciler.source.entries import Entry, Ignored, Rejected, Wanted, judge, printable, too_large
from reconciler.source.limits import Limits

MAX_DEPTH = 64

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Non-blocking: a FIFO that takes a file's place between look and open must not hold us.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Unstable(Exception):
    """Something changed while it was read."""


class Excess(Exception):
    """The folder has more entries or deeper nesting than is allowed."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A desired file in the folder that is open as `folder`."""

    path: str
    folder: int
    name: str
    stamp: FileStamp


@dataclass(slots=True)
class Walk:
    """One walk through a tree: iterate over the files, then read what else was seen."""

    root: int
    limits: Limits
    folders: dict[str, FileStamp] = field(default_factory=dict)
    rejected: dict[str, str] = field(default_factory=dict)
    _count: int = 0

    def files(self) -> Iterator[Seen]:
        """Give every desired file while its folder is open. An `OSError` means that the walk is incomplete."""
        owner = os.fstat(self.root).st_uid
        yield from self._folder(self.root, "", owner, MAX_DEPTH)

    def unchanged(self) -> bool:
        """Say whether all folders are as they were when the walk read them, so that it missed no file."""
        return same_folders(self.root, self.folders)

    def _folder(self, folder: int, prefix: str, owner: int, depth: int) -> Iterator[Seen]:
        if depth == 0:
            raise Excess(f"folders are more than {MAX_DEPTH} deep")
        self.folders[prefix] = stamp_of(os.fstat(folder))
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        for entry in entries:
            self._count += 1
            if self._count > self.limits.files * 2:
                raise Excess(f"there are more than {self.limits.files * 2} entries")
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                inner = os.open(entry.name, _FOLDER, dir_fd=folder)
                try:
                    yield from self._folder(inner, f"{prefix}{entry.name}/", owner, depth - 1)
                finally:
                    os.close(inner)
            else:
                yield from self._file(entry, folder, prefix, owner)

    def _file(self, entry: os.DirEntry[str], folder: int, prefix: str, owner: int) -> Iterator[Seen]:
        kind = _kind(entry)
        match judge(os.fsencode(prefix + entry.name), kind):
            case Rejected(path, reason):
                self.rejected[path] = reason
            case Wanted(path):
                seen = entry.stat(follow_symlinks=False)
                if seen.st_nlink > 1 and seen.st_uid != owner:
                    # Whoever may write here can link any file of this disk under a name of his choice.
                    self.rejected[path] = "it is a hard link to another owner's file"
                elif seen.st_size > self.limits.file_bytes:
                    self.rejected[path] = too_large(seen.st_size, self.limits.file_bytes)
                else:
                    yield Seen(path, folder, entry.name, stamp_of(seen))
            case Ignored():
                pass


def read_whole(folder: int, name: str, limit: int) -> tuple[bytes, FileStamp]:
    """Return the bytes of a plain file and its stamp, which was the same before and after."""
    descriptor = os.open(name, _FILE, dir_fd=folder)
    try:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode) or before.st_size > limit:
            raise Unstable(f"{printable(name)} is no longer a plain file of an allowed size")
        parts: list[bytes] = []
        # One byte more than the size, so that the end of the file is seen.
        left = before.st_size + 1
        while left > 0 and (part := os.read(descriptor, left)):
            parts.append(part)
            left -= len(part)
        stamp = stamp_of(before)
        if left != 1 or stamp_of(os.fstat(descriptor)) != stamp:
            raise Unstable(f"{printable(name)} changed while it was read")
        return b"".join(parts), stamp
    finally:
        os.close(descriptor)


def read_at(root: int, path: str, limit: int) -> bytes:
    """Return the bytes of the plain file at a relative path, following no link on the way."""
    *folders, name = path.split("/")
    opened: list[int] = []
    try:
        for folder in folders:
            opened.append(os.open(folder, _FOLDER, dir_fd=opened[-1] if opened else root))
        return read_whole(opened[-1] if opened else root, name, limit)[0]
    finally:
        for folder_descriptor in opened:
            os.close(folder_descriptor)


def same_folders(root: int, folders: dict[str, FileStamp]) -> bool:
    """Say whether the folders (paths ending in `/`, the root empty) still have these stamps."""
    for path, stamp in folders.items():
        try:
            seen = os.stat(path or ".", dir_fd=root, follow_symlinks=False)
        except FileNotFoundError:
            return False
        if stamp_of(seen) != stamp:
            return False
    return True


def stamp_of(seen: os.stat_result) -> FileStamp:
    """Return what tells a changed file from an unchanged one; ctime sees through restored mtimes."""
    return FileStamp(seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns)


def _kind(entry: os.DirEntry[str]) -> Entry:
    if entry.is_symlink():
        return Entry.LINK
    return Entry.FILE if entry.is_file(follow_symlinks=False) else Entry.SPECIAL
