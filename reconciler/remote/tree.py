"""Opening what lies below a root folder, step by step, without ever following a link."""

import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Never, TypeVar

from reconciler.model.outcome import FailureKind
from reconciler.remote.files import FilesError

T = TypeVar("T")

# What our own writes are called until they are complete; nobody lists or reads them.
TEMP_PREFIX = ".tmp-"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: opening a FIFO or a device that somebody planted must not wait for its other end.
_FILE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC

_CAUSES = {
    errno.ENOENT: (FailureKind.TRANSIENT, "it does not exist", "create the folder, or mount the share"),
    errno.ENOSPC: (FailureKind.TRANSIENT, "no space is left there", "free some; the old content is intact"),
    errno.EDQUOT: (FailureKind.TRANSIENT, "the quota there is used up", "raise it; the old content is intact"),
    errno.EIO: (FailureKind.TRANSIENT, "the storage reports an input/output error", "check disk or file server"),
    errno.ESTALE: (FailureKind.TRANSIENT, "the share's handle is stale", "it is tried again; if it stays, remount"),
    errno.EROFS: (FailureKind.REFUSED, "the file system is read-only", "remount it writable"),
    errno.EACCES: (FailureKind.REFUSED, "permission denied", "give the daemon's user access"),
    errno.EPERM: (FailureKind.REFUSED, "operation not permitted", "give the daemon's user access"),
    errno.ELOOP: (FailureKind.REFUSED, "a link is in the way", "links are never followed: remove it"),
    errno.ENOTDIR: (FailureKind.REFUSED, "a link or a file stands where a folder belongs", "remove it"),
    errno.ENXIO: (FailureKind.REFUSED, "it is a pipe, socket or device", "remove it"),
    errno.EISDIR: (FailureKind.REFUSED, "it is a folder", "remove it"),
    errno.ENOTEMPTY: (FailureKind.REFUSED, "the folder is not empty", "remove its files first"),
    errno.ENAMETOOLONG: (FailureKind.INVALID, "the name is too long", "shorten it"),
}


@contextmanager
def explained(where: str) -> Iterator[None]:
    """Turn what the system says into a `FilesError` with place, cause and next step."""
    try:
        yield
    except OSError as error:
        raise explanation(where, error) from error


def explanation(where: str, error: OSError) -> FilesError:
    """Return what the system said with place, cause and next step."""
    number = error.errno or errno.EIO
    kind, cause, step = _CAUSES.get(number, (FailureKind.TRANSIENT, os.strerror(number), "it is tried again"))
    return FilesError(kind, f"{where}: {cause}; {step}")


def path_parts(path: str) -> tuple[str, ...]:
    """Return the names in a relative path; one that could lead outside is refused."""
    names = tuple(path.split("/"))
    if "\0" in path or any(n in {"", ".", ".."} or n.startswith(TEMP_PREFIX) for n in names):
        # The path may come from a file that a stranger wrote; it is not repeated.
        raise FilesError(FailureKind.INVALID, "a path must be relative, without empty names, '.', '..' and NUL")
    return names


class Tree:
    """A root folder that must stay the same one: when its share is unmounted, that is an error, never emptiness."""

    def __init__(self, root: Path, inside: Path | None = None, make_mode: int = 0o755) -> None:
        """Follow links on the way to `root`, but none below `inside`, where others write; make it there."""
        self.root = root
        self._begin, self._way = inside or root, root.relative_to(inside).parts if inside else ()
        with self.explained(""):
            fd = self._open(make_mode if inside else None)
            seen = os.fstat(fd)
            os.close(fd)
        self._identity = (seen.st_dev, seen.st_ino)
        self._devices: dict[str, int] = {}

    def explained(self, path: str) -> AbstractContextManager[None]:
        """Turn what the system says about `path` into a `FilesError`."""
        return explained(str(self.root / path))

    def refuse(self, path: str, cause: str, kind: FailureKind = FailureKind.REFUSED) -> Never:
        """Raise the error that says why `path` is not touched."""
        raise FilesError(kind, f"{self.root / path}: {cause}")

    def open_root(self) -> int:
        """Open the root, and make sure that it is the folder it was at the start."""
        fd = -1
        with self.explained(""):
            fd = self._open(None)
            seen = os.fstat(fd)
        if (seen.st_dev, seen.st_ino) != self._identity:
            os.close(fd)
            step = "mount the share again, or restart the daemon if it was moved on purpose"
            self.refuse("", f"this is another folder than at the start; {step}", FailureKind.TRANSIENT)
        return fd

    def open_folder(self, names: Sequence[str], *, make_mode: int | None = None) -> int | None:
        """Open a folder below the root, or return None when it is proven absent; `make_mode` makes it instead."""
        fd = self.open_root()
        try:
            for index, name in enumerate(names):
                below = self._step(fd, name, make_mode)
                if below is None:
                    os.close(fd)
                    return None
                os.close(fd)
                fd = below
                if index == 0:
                    self._same_device(name, fd)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def open_file(self, path: str, flags: int) -> int | None:
        """Open a regular file, or return None when it is proven absent; anything else is refused, unread."""
        *folders, name = path_parts(path)
        folder = self.open_folder(folders)
        if folder is None:
            return None
        try:
            fd = os.open(name, flags | _FILE, dir_fd=folder)
        except FileNotFoundError:
            return None
        finally:
            os.close(folder)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            self.refuse(path, "it is not a regular file; remove it")
        return fd

    def again(self, look: Callable[[], T]) -> T:
        """Look, and look once more when the handle was stale: another client replaced the file (NFS)."""
        try:
            return look()
        except OSError as error:
            if error.errno != errno.ESTALE:
                raise
            return look()

    def _open(self, make_mode: int | None) -> int:
        fd = os.open(self._begin, _FOLDER & ~os.O_NOFOLLOW)
        for name in self._way:
            try:
                below = self._step(fd, name, make_mode)
            finally:
                os.close(fd)
            if below is None:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            fd = below
        return fd

    def _step(self, fd: int, name: str, make_mode: int | None) -> int | None:
        try:
            return os.open(name, _FOLDER, dir_fd=fd)
        except FileNotFoundError:
            if make_mode is None:
                return None
        try:
            os.mkdir(name, make_mode, dir_fd=fd)
            os.fsync(fd)
        except FileExistsError:
            pass  # somebody else made it meanwhile
        return os.open(name, _FOLDER, dir_fd=fd)

    def _same_device(self, name: str, fd: int) -> None:
        # `jobs/` may be a file system of its own; unmounted, its empty mount point would read as "no job has run".
        device = os.fstat(fd).st_dev
        if self._devices.setdefault(name, device) != device:
            self.refuse(name, "this is another file system than before; mount it again", FailureKind.TRANSIENT)
