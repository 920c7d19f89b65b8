"""The door to files: the shared directory, the state directory and the status directory."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from reconciler.model.outcome import FailureKind


class FilesError(Exception):
    """A file could not be read or written; says why, with path and next step. Never means that it is absent."""

    def __init__(self, kind: FailureKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


@dataclass(frozen=True, slots=True)
class FileStamp:
    """What tells a changed file from an unchanged one without reading it."""

    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


class Files(Protocol):
    """A folder tree that is ours. Paths are relative, with `/`; links are never followed, `..` is refused."""

    def read(self, path: str, *, limit: int = 1 << 20) -> bytes | None:
        """Return the whole file, or None when it is proven absent. More than `limit` bytes is an error."""

    def read_range(self, path: str, offset: int, limit: int) -> bytes | None:
        """Return up to `limit` bytes from `offset` on, or None when the file is proven absent."""

    def write(self, path: str, data: bytes, *, mode: int = 0o644) -> None:
        """Replace the file in one step: readers see the old or the new bytes, also after a crash."""

    def write_many(self, files: Mapping[str, bytes]) -> None:
        """Replace many files, each in one step, with as few flushes as the file system allows."""

    def create(self, path: str, data: bytes, *, mode: int = 0o644) -> bool:
        """Create the file with this content unless it exists; say whether it was created by this call."""

    def append(self, path: str, data: bytes) -> None:
        """Append and flush to the disk. After a crash any prefix of `data` may be there."""

    def truncate(self, path: str, size: int) -> None:
        """Cut the file to `size` bytes and flush."""

    def list(self, folder: str) -> tuple[str, ...]:
        """Return the sorted names in a folder; empty when the folder is proven absent."""

    def stamp(self, path: str) -> FileStamp | None:
        """Return the file's stamp, or None when it is proven absent."""

    def remove(self, path: str) -> None:
        """Remove a file, or an empty folder; one that is gone already is fine."""
