"""Disks that fail: full, without room for names, read-only, or not mounted at all."""

import errno
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TypeAlias

from tests.crashes.mortal import mount

Fault: TypeAlias = Callable[[Path], AbstractContextManager[None]]


@contextmanager
def full(folder: Path) -> Iterator[None]:
    """Leave not one byte, as a neighbour does who keeps writing."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            with _until(errno.ENOSPC):
                while file.write(b"x" * size):
                    pass
    try:
        yield
    finally:
        filler.unlink()


@contextmanager
def no_names(folder: Path) -> Iterator[None]:
    """Leave room for bytes, but none for another file."""
    fillers = folder / "fillers"
    fillers.mkdir()
    with _until(errno.ENOSPC):
        for number in range(100_000):
            (fillers / str(number)).touch()
    try:
        yield
    finally:
        for each in fillers.iterdir():
            each.unlink()
        fillers.rmdir()


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Let nobody open a file to write; those that are open keep the whole from being remounted."""
    mount("--bind", folder, folder)
    mount("-o", "remount,bind,ro", folder)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@contextmanager
def unmounted(folder: Path) -> Iterator[None]:
    """Show the empty folder below the mount, to everybody who comes by its path."""
    mount("-t", "tmpfs", "-o", f"size=1m,mode=0{folder.stat().st_mode & 0o777:o}", "rayops-test", folder)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@contextmanager
def _until(number: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno != number:
            raise
