"""The files door on a disk or a share: whole files, flushed, never through a link."""

import itertools
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from reconciler.model.outcome import FailureKind
from reconciler.remote.files import FileStamp
from reconciler.remote.tree import TEMP_PREFIX, Tree, path_parts

# A write takes seconds even on a slow share; a temporary file this old belongs to nobody any more.
LEFTOVER_AGE_NS = 3600 * 10**9
# On a share each flush waits for a round trip and eight at once hide most of it; a local disk does not care.
WRITERS = 8
CHUNK = 32
# How many swept folders are remembered: enough for a busy site, a few megabytes at most.
SWEPT_LIMIT = 20_000


class DiskFiles:
    """Files below a root that exists. Whoever can write there can spoil files, but not lead us elsewhere."""

    def __init__(self, root: Path, *, inside: Path | None = None, folder_mode: int = 0o755) -> None:
        """Take a root as it is, or make it `inside` a folder where others write, never through a link of theirs."""
        self._tree = Tree(root, inside, folder_mode)
        self._folder_mode = folder_mode
        self._count = itertools.count()
        self._swept: set[tuple[str, ...]] = set()

    def read(self, path: str, *, limit: int = 1 << 20) -> bytes | None:
        """Return the whole file, or None when it is proven absent. More than `limit` bytes is an error."""
        content = self.read_range(path, 0, limit + 1)
        if content is not None and len(content) > limit:
            self._tree.refuse(path, f"the file is larger than {limit} bytes and is not read")
        return content

    def read_range(self, path: str, offset: int, limit: int) -> bytes | None:
        """Return up to `limit` bytes from `offset` on, or None when the file is proven absent."""
        with self._tree.explained(path):
            return self._tree.again(lambda: self._read_once(path, offset, limit))

    def write(self, path: str, data: bytes, *, mode: int = 0o644) -> None:
        """Replace the file in one step: readers see the old or the new bytes, also after a crash."""
        *folders, name = path_parts(path)
        with self._tree.explained(path), self._folder(folders) as folder:
            self._replace(folder, tuple(folders), name, data, mode)
            os.fsync(folder)

    def write_many(self, files: Mapping[str, bytes]) -> None:
        """Replace many files, each in one step; folders are flushed once per chunk, chunks side by side.

        After an error some of the files are replaced and some are not; none is torn.
        """
        by_folder: dict[tuple[str, ...], list[tuple[str, bytes]]] = {}
        for path, data in files.items():
            *folders, name = path_parts(path)
            by_folder.setdefault(tuple(folders), []).append((name, data))
        chunks = [
            (folders, named[start : start + CHUNK])
            for folders, named in by_folder.items()
            for start in range(0, len(named), CHUNK)
        ]
        if len(chunks) == 1:
            self._write_chunk(*chunks[0])
        elif chunks:
            with ThreadPoolExecutor(min(WRITERS, len(chunks))) as pool:
                list(pool.map(lambda chunk: self._write_chunk(*chunk), chunks))

    def create(self, path: str, data: bytes, *, mode: int = 0o644) -> bool:
        """Create the file with this content unless it exists; say whether it was created by this call."""
        *folders, name = path_parts(path)
        with self._tree.explained(path), self._folder(folders) as folder:
            if _exists(folder, name):
                return False
            with self._temporary(folder, tuple(folders), data, mode) as (fd, temporary):
                made = _link(folder, temporary, name, fd)
                os.unlink(temporary, dir_fd=folder)
            os.fsync(folder)
        return made

    def append(self, path: str, data: bytes) -> None:
        """Append and flush to the disk. After a crash or an error any prefix of `data` may be there."""
        *folders, name = path_parts(path)
        with self._tree.explained(path):
            fd = self._tree.open_file(path, os.O_WRONLY | os.O_APPEND)
            if fd is None:
                with self._folder(folders) as folder:
                    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                    fd = os.open(name, flags, 0o644, dir_fd=folder)
                    _write_whole(fd, data)
                    os.fsync(folder)
                    return
            _write_whole(fd, data)

    def truncate(self, path: str, size: int) -> None:
        """Cut the file to `size` bytes and flush."""
        with self._tree.explained(path):
            fd = self._tree.open_file(path, os.O_WRONLY)
            if fd is None:
                self._tree.refuse(path, "there is no file to cut", FailureKind.BUG)
            try:
                if os.fstat(fd).st_size < size:
                    self._tree.refuse(path, f"the file is shorter than {size} bytes", FailureKind.BUG)
                os.ftruncate(fd, size)
                os.fsync(fd)
            finally:
                os.close(fd)

    def list(self, folder: str) -> tuple[str, ...]:
        """Return the sorted names in a folder; empty when the folder is proven absent.

        Unfinished writes are left out, and so are names that are not text: none of them is ours.
        """
        names = path_parts(folder) if folder else []
        with self._tree.explained(folder):
            found = self._tree.again(lambda: self._names(names))
        return tuple(sorted(name for name in found if not name.startswith(TEMP_PREFIX) and _is_text(name)))

    def stamp(self, path: str) -> FileStamp | None:
        """Return the file's stamp, or None when it is proven absent."""
        with self._tree.explained(path):
            # Opening asks the file server again; a plain stat may be answered from a cache (nfs(5), close-to-open).
            seen = self._tree.again(lambda: self._stat(path))
        if seen is None:
            return None
        return FileStamp(seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns)

    def remove(self, path: str) -> None:
        """Remove a file, or an empty folder; one that is gone already is fine."""
        *folders, name = path_parts(path)
        with self._tree.explained(path):
            folder = self._tree.open_folder(folders)
            if folder is None:
                return
            try:
                with suppress(FileNotFoundError):
                    self._unlink(folder, name, (*folders, name))
                    os.fsync(folder)
            finally:
                os.close(folder)

    def _read_once(self, path: str, offset: int, limit: int) -> bytes | None:
        fd = self._tree.open_file(path, os.O_RDONLY)
        if fd is None:
            return None
        pieces = []
        try:
            while limit > 0 and (piece := os.pread(fd, min(limit, 1 << 20), offset)):
                pieces.append(piece)
                offset += len(piece)
                limit -= len(piece)
        finally:
            os.close(fd)
        return b"".join(pieces)

    def _stat(self, path: str) -> os.stat_result | None:
        fd = self._tree.open_file(path, os.O_RDONLY)
        if fd is None:
            return None
        try:
            return os.fstat(fd)
        finally:
            os.close(fd)

    def _names(self, names: Sequence[str]) -> Sequence[str]:
        fd = self._tree.open_folder(names)
        if fd is None:
            return ()
        try:
            return _names_in(fd)
        finally:
            os.close(fd)

    @contextmanager
    def _folder(self, names: Sequence[str]) -> Iterator[int]:
        fd = self._tree.open_folder(names, make_mode=self._folder_mode)
        assert fd is not None
        try:
            yield fd
        finally:
            os.close(fd)

    def _write_chunk(self, folders: tuple[str, ...], named: Sequence[tuple[str, bytes]]) -> None:
        with self._tree.explained("/".join(folders)), self._folder(folders) as folder:
            for name, data in named:
                self._replace(folder, folders, name, data, 0o644)
            os.fsync(folder)

    def _replace(self, folder: int, key: tuple[str, ...], name: str, data: bytes, mode: int) -> None:
        with self._temporary(folder, key, data, mode) as (_, temporary):
            os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)

    @contextmanager
    def _temporary(self, folder: int, key: tuple[str, ...], data: bytes, mode: int) -> Iterator[tuple[int, str]]:
        """Write a flushed temporary file; it is gone afterwards unless it was given its name."""
        fd, name = self._new_file(folder)
        try:
            os.fchmod(fd, mode)
            _write_all(fd, data)
            os.fsync(fd)
            self._sweep(folder, key, os.fstat(fd).st_mtime_ns)
            yield fd, name
        except BaseException:
            with suppress(OSError):
                os.unlink(name, dir_fd=folder)
            raise
        finally:
            os.close(fd)

    def _new_file(self, folder: int) -> tuple[int, str]:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        while True:
            name = f"{TEMP_PREFIX}{os.getpid()}-{next(self._count)}"
            with suppress(FileExistsError):  # a leftover, or another machine's process of the same number
                return os.open(name, flags, 0o600, dir_fd=folder), name

    def _sweep(self, folder: int, key: tuple[str, ...], now_ns: int) -> None:
        """Remove what crashes left in a folder, once. The file just written tells the time of the file server."""
        if key in self._swept:
            return
        if len(self._swept) >= SWEPT_LIMIT:
            self._swept.clear()
        self._swept.add(key)
        for name in _names_in(folder):
            if name.startswith(TEMP_PREFIX):
                with suppress(OSError):  # a leftover that stays harms nobody
                    seen = os.stat(name, dir_fd=folder, follow_symlinks=False)
                    if stat.S_ISREG(seen.st_mode) and now_ns - seen.st_mtime_ns > LEFTOVER_AGE_NS:
                        os.unlink(name, dir_fd=folder)

    def _unlink(self, folder: int, name: str, names: Sequence[str]) -> None:
        try:
            os.unlink(name, dir_fd=folder)
        except IsADirectoryError:
            self._clear_unfinished(names)
            os.rmdir(name, dir_fd=folder)

    def _clear_unfinished(self, names: Sequence[str]) -> None:
        """Remove unfinished writes from a folder that holds nothing else: `list` calls it empty."""
        folder = self._tree.open_folder(names)
        if folder is None:
            return
        try:
            inside = _names_in(folder)
            if all(name.startswith(TEMP_PREFIX) for name in inside):
                for name in inside:
                    os.unlink(name, dir_fd=folder)
        finally:
            os.close(folder)


def _names_in(folder: int) -> Sequence[str]:
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries]


def _exists(folder: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _link(folder: int, temporary: str, name: str, fd: int) -> bool:
    # link() either gives the whole, flushed content its name or fails; O_EXCL could leave an empty file in a crash.
    try:
        os.link(temporary, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    except FileExistsError:
        # The reply to a first try may have been lost on the way (NFS): then our file has two names.
        return os.fstat(fd).st_nlink > 1
    return True


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _write_whole(fd: int, data: bytes) -> None:
    try:
        _write_all(fd, data)
        os.fsync(fd)
    finally:
        os.close(fd)


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
