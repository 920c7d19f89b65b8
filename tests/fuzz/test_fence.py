"""Behind the fence files below one folder can be changed, and nothing else in the world."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fuzz.fence import fenced

Act = Callable[[Path], object]

# Each is done in a folder `inside` of the fence and in one outside of it.
CHANGES: list[tuple[str, Act]] = [
    ("write", lambda folder: (folder / "new").write_text("x")),
    ("append", lambda folder: (folder / "file").open("a").close()),
    ("make a folder", lambda folder: (folder / "new").mkdir()),
    ("rename", lambda folder: (folder / "file").rename(folder / "new")),
    ("move in", lambda folder: (folder.parent / "mine").rename(folder / "new")),
    ("remove", lambda folder: (folder / "file").unlink()),
    ("remove a folder", lambda folder: (folder / "empty").rmdir()),
    ("remove a tree", lambda folder: shutil.rmtree(folder / "tree")),
    ("link", lambda folder: (folder / "new").hardlink_to(folder.parent / "mine")),
    ("point", lambda folder: (folder / "new").symlink_to("/etc/passwd")),
    ("open to others", lambda folder: (folder / "file").chmod(0o666)),
    ("cut", lambda folder: os.truncate(folder / "file", 0)),
]
NEVER: list[tuple[str, Callable[[], object]]] = [
    ("start a program", lambda: subprocess.run(["true"], check=False)),
    ("run a shell", lambda: os.system("true")),
    ("signal", lambda: os.kill(os.getpid(), 0)),
    ("resolve a name", lambda: socket.getaddrinfo("localhost", 80)),
    ("connect", lambda: socket.create_connection(("127.0.0.1", 9))),
]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for folder in (tmp_path / "inside", tmp_path / "outside"):
        (folder / "tree" / "deep").mkdir(parents=True)
        (folder / "tree" / "deep" / "file").touch()
        (folder / "empty").mkdir()
        (folder / "file").write_text("x")
    (tmp_path / "mine").write_text("x")
    return tmp_path


def look(home: Path) -> list[tuple[str, int, int]]:
    status = [(path, path.lstat()) for path in sorted(home.rglob("*"))]
    return [(str(path), each.st_mode, each.st_size) for path, each in status]


@pytest.mark.parametrize("change", [each[1] for each in CHANGES], ids=[each[0] for each in CHANGES])
def test_outside_nothing_is_changed(home: Path, change: Act) -> None:
    before = look(home)
    with fenced(home / "inside"), pytest.raises(PermissionError):
        change(home / "outside")
    assert look(home) == before
    change(home / "outside")
    assert look(home) != before or change is CHANGES[1][1]


# A link, or a move, would take what is outside along.
INSIDE = [each for each in CHANGES if each[0] not in {"move in", "link"}]


@pytest.mark.parametrize("change", [each[1] for each in INSIDE], ids=[each[0] for each in INSIDE])
def test_inside_everything_is(home: Path, change: Act) -> None:
    with fenced(home / "inside"):
        change(home / "inside")


def test_a_link_leads_nowhere(home: Path) -> None:
    (home / "inside" / "way").symlink_to(home / "outside")
    (home / "inside" / "name").symlink_to(home / "outside" / "new")
    for path in (home / "inside" / "way" / "new", home / "inside" / "name"):
        with fenced(home / "inside"), pytest.raises(PermissionError):
            path.touch()
    assert not (home / "outside" / "new").exists()


@pytest.mark.parametrize("act", [each[1] for each in NEVER], ids=[each[0] for each in NEVER])
def test_nothing_else_is_done(home: Path, act: Callable[[], object]) -> None:
    with fenced(home / "inside"), pytest.raises(PermissionError):
        act()


def test_without_it_all_is_as_before(home: Path) -> None:
    assert subprocess.run([sys.executable, "-c", ""], check=False).returncode == 0
