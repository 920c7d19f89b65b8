"""Files that survive crashes and hostile neighbours: whole or not there, never through a link."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from reconciler.node import moments
from reconciler.node.failure import REFUSED, TRANSIENT, NotDone


def read(path: Path, limit: int) -> bytes | None:
    """Return a regular file's bytes, or None when it is absent; links, pipes and long files are refused."""
    try:
        # O_NONBLOCK: opening a FIFO would wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise NotDone(REFUSED, f"{path} is a link; remove it") from error
        raise
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > limit:
            raise NotDone(REFUSED, f"{path} is not a regular file of at most {limit} bytes")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(limit)
    finally:
        os.close(descriptor)


def tail(path: Path, limit: int) -> str:
    """Return the last `limit` bytes of a file as text; nothing when it cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - limit))
            return file.read(limit).decode("utf-8", "replace")
    except OSError:
        return ""


def write(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace a file in one step: readers see the old or the new bytes, also after a crash."""
    draft = _draft(path, data, mode)
    draft.replace(path)
    flush_folder(path.parent)


def create(path: Path, data: bytes, mode: int = 0o600) -> bool:
    """Create a file with this content unless it exists; say whether this call created it."""
    draft = _draft(path, data, mode)
    try:
        # link(2) is the exclusive creation that NFS gets right; O_EXCL is not reliable on its old versions.
        with suppress(FileExistsError):
            os.link(draft, path)
        # The reply to a link may be lost and its repeat answered "exists"; the link count tells the truth.
        return draft.stat().st_nlink == 2
    finally:
        draft.unlink()
        flush_folder(path.parent)


def write_json(path: Path, value: Mapping[str, object], mode: int = 0o600) -> None:
    """Replace a JSON file in one step."""
    write(path, encode(value), mode)


def encode(value: Mapping[str, object]) -> bytes:
    """Return a JSON document as people can read it: one line, sorted keys."""
    return json.dumps(value, sort_keys=True).encode() + b"\n"


def flush_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def own_folder(path: Path) -> Path:
    """Make a folder for us alone, or make sure that the one that is there is ours and no link."""
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise NotDone(
            REFUSED, f"{path} is not a folder that only this user can write; remove it or correct its owner"
        )
    return path


@contextmanager
def locked(path: Path, *, shared: bool = False, seconds: float = 10.0) -> Iterator[None]:
    """Hold a file's lock; one that stays taken for `seconds` is a transient failure."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        _wait_for_lock(descriptor, path, fcntl.LOCK_SH if shared else fcntl.LOCK_EX, moments.ticks() + seconds)
        yield
    finally:
        os.close(descriptor)


def _wait_for_lock(descriptor: int, path: Path, kind: int, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if moments.ticks() > deadline:
                raise NotDone(TRANSIENT, f"{path} stays locked by another call; try again") from None
            moments.pause(0.02)
        else:
            return


def _draft(path: Path, data: bytes, mode: int) -> Path:
    # The pid alone would collide between machines that share the folder.
    draft = path.with_name(f".{path.name}.{os.uname().nodename}.{os.getpid()}")
    with suppress(FileNotFoundError):
        draft.unlink()
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.write(data)
            file.flush()
            os.fsync(descriptor)
    except OSError:
        draft.unlink()
        raise
    return draft
