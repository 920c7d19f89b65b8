"""Attacks and faults on the files door: links, pipes, full disks, vanished shares, leftovers."""

import ctypes
import errno
import os
import socket
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from reconciler.model.outcome import FailureKind
from reconciler.remote.disk import LEFTOVER_AGE_NS, DiskFiles
from reconciler.remote.files import FilesError
from reconciler.remote.tree import TEMP_PREFIX

# linux/fcntl.h and linux/fs.h; Python has no name for them.
AT_FDCWD, RENAME_EXCHANGE = -100, 2
SECRET = b"another user's secret"

ACTS: dict[str, Callable[[DiskFiles, str], object]] = {
    "read": lambda files, path: files.read(path),
    "stamp": lambda files, path: files.stamp(path),
    "append": lambda files, path: files.append(path, b"x"),
    "truncate": lambda files, path: files.truncate(path, 0),
}


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "file").write_bytes(SECRET)
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("act", ACTS)
def test_a_link_to_a_file_is_refused(root: Path, outside: Path, act: str) -> None:
    (root / "link").symlink_to(outside / "file")
    with pytest.raises(FilesError, match="link") as caught:
        ACTS[act](DiskFiles(root), "link")
    assert caught.value.kind is FailureKind.REFUSED
    assert (outside / "file").read_bytes() == SECRET


@pytest.mark.parametrize("act", [*ACTS, "write", "create", "remove", "list"])
def test_a_link_to_a_folder_is_refused(root: Path, outside: Path, act: str) -> None:
    (root / "status").symlink_to(outside)
    acts = ACTS | {
        "write": lambda files, path: files.write(path, b"x"),
        "create": lambda files, path: files.create(path, b"x"),
        "remove": lambda files, path: files.remove(path),
        "list": lambda files, _: files.list("status"),
    }
    with pytest.raises(FilesError, match="link"):
        acts[act](DiskFiles(root), "status/file")
    assert (outside / "file").read_bytes() == SECRET
    assert [path.name for path in outside.iterdir()] == ["file"]


def test_writing_over_a_link_replaces_the_link_not_its_target(root: Path, outside: Path) -> None:
    (root / "x").symlink_to(outside / "file")
    files = DiskFiles(root)
    assert not files.create("x", b"mine")
    files.write("x", b"mine")
    assert (outside / "file").read_bytes() == SECRET
    assert files.read("x") == b"mine"


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("plant", ["pipe", "socket", "folder", "device"])
def test_what_is_no_regular_file_is_refused_at_once(root: Path, act: str, plant: str) -> None:
    planted = root / "x"
    with socket.socket(socket.AF_UNIX) as listener:
        if plant == "pipe":
            os.mkfifo(planted)
        elif plant == "socket":
            listener.bind(str(planted))
        elif plant == "folder":
            planted.mkdir()
        else:
            with suppress(PermissionError):
                os.mknod(planted, 0o020666, os.makedev(1, 5))
            if not planted.exists():
                pytest.skip("making a device needs root")
        with pytest.raises(FilesError) as caught:
            ACTS[act](DiskFiles(root), "x")
    assert caught.value.kind is FailureKind.REFUSED


def test_swapping_a_folder_for_a_link_never_lets_us_out(root: Path, outside: Path) -> None:
    """Somebody who may rename in our folder swaps `status` for a link to his own folder, in a loop."""
    files = DiskFiles(root)
    (root / "status").mkdir()
    (root / "evil").symlink_to(outside)
    stop = threading.Event()
    exchange = ctypes.CDLL(None).renameat2
    paths = (os.fsencode(root / "status"), os.fsencode(root / "evil"))

    def swap() -> None:
        while not stop.is_set():
            assert exchange(AT_FDCWD, paths[0], AT_FDCWD, paths[1], RENAME_EXCHANGE) == 0

    attacker = threading.Thread(target=swap)
    attacker.start()
    refused = 0
    try:
        for number in range(2000):
            try:
                files.write("status/own", b"%d" % number)
                assert files.read("status/file") is None
                files.remove("status/file")
            except FilesError:
                refused += 1
    finally:
        stop.set()
        attacker.join()
    assert refused < 2000
    assert (outside / "file").read_bytes() == SECRET
    assert [path.name for path in outside.iterdir()] == ["file"]


@pytest.mark.parametrize("way", ["status", "a/status"])
def test_a_root_inside_a_folder_of_others_is_made_and_never_reached_by_a_link(
    root: Path, outside: Path, way: str
) -> None:
    first = way.partition("/")[0]
    (root / first).symlink_to(outside)
    with pytest.raises(FilesError, match="a link or a file stands where a folder belongs"):
        DiskFiles(root / way, inside=root)
    (root / first).unlink()
    files = DiskFiles(root / way, inside=root)
    files.write("x", b"1")
    assert (root / way / "x").read_bytes() == b"1"
    (root / first).rename(root / "kept")
    (root / first).symlink_to(root / "kept")
    with pytest.raises(FilesError, match="a link or a file stands where a folder belongs"):
        files.write("x", b"2")
    assert [path.name for path in outside.iterdir()] == ["file"]


def test_a_missing_root_is_an_error_not_absence(tmp_path: Path) -> None:
    with pytest.raises(FilesError, match="mount the share"):
        DiskFiles(tmp_path / "share")


def test_a_root_that_changes_underneath_is_an_error_not_absence(tmp_path: Path) -> None:
    (tmp_path / "share").mkdir()
    files = DiskFiles(tmp_path / "share")
    files.write("claim", b"x")
    (tmp_path / "share").rename(tmp_path / "gone")
    with pytest.raises(FilesError):
        files.read("claim")
    (tmp_path / "share").mkdir()
    for look in (files.read, files.stamp, files.list):
        with pytest.raises(FilesError, match="another folder"):
            look("claim")
    with pytest.raises(FilesError):
        files.create("claim", b"second run")


@contextmanager
def small_disk(folder: Path, options: str) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("mounting a tmpfs needs root")
    folder.mkdir(exist_ok=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=False)
    if mounted.returncode != 0:
        pytest.skip("this container may not mount")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=False, capture_output=True)


def test_an_unmounted_share_is_an_error_not_absence(tmp_path: Path) -> None:
    with small_disk(tmp_path / "share", "size=1m") as share:
        files = DiskFiles(share)
        files.write("jobs/claim", b"x")
        subprocess.run(["umount", share], check=True)
        with pytest.raises(FilesError, match="another folder"):
            files.read("jobs/claim")
        with pytest.raises(FilesError, match="another folder"):
            files.list("jobs")


def test_an_unmounted_share_below_the_root_is_an_error_not_absence(tmp_path: Path) -> None:
    (tmp_path / "share").mkdir()
    with small_disk(tmp_path / "share" / "jobs", "size=1m") as jobs:
        files = DiskFiles(tmp_path / "share")
        files.write("jobs/a/claim", b"x")
        subprocess.run(["umount", jobs], check=True)
        with pytest.raises(FilesError, match="another file system"):
            files.read("jobs/a/claim")


def test_a_full_disk_keeps_the_old_file(tmp_path: Path) -> None:
    with small_disk(tmp_path / "full", "size=64k") as disk:
        files = DiskFiles(disk)
        files.write("status", b"old")
        for act in (
            lambda: files.write("status", b"x" * 100_000),
            lambda: files.create("claim", b"x" * 100_000),
            lambda: files.write_many({"status": b"x" * 100_000}),
        ):
            with pytest.raises(FilesError, match="no space") as caught:
                act()
            assert caught.value.kind is FailureKind.TRANSIENT
        assert files.read("status") == b"old"
        assert [path.name for path in disk.iterdir()] == ["status"]
        files.write("status", b"new")
        assert files.read("status") == b"new"


def test_no_inodes_left_is_a_full_disk(tmp_path: Path) -> None:
    with small_disk(tmp_path / "full", "size=64k,nr_inodes=2") as disk:
        files = DiskFiles(disk)
        files.write("status", b"old")
        with pytest.raises(FilesError, match="no space"):
            files.write("status", b"new")
        assert files.read("status") == b"old"


def test_a_read_only_disk_is_refused_for_writing_and_fine_for_reading(tmp_path: Path) -> None:
    with small_disk(tmp_path / "ro", "size=64k") as disk:
        files = DiskFiles(disk)
        files.write("status", b"old")
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        acts: list[Callable[[], object]] = [lambda: files.write("status", b"new"), lambda: files.remove("status")]
        for act in acts:
            with pytest.raises(FilesError, match="read-only") as caught:
                act()
            assert caught.value.kind is FailureKind.REFUSED
        assert files.read("status") == b"old"


def test_what_a_crash_left_is_swept_once_it_is_old(root: Path) -> None:
    old, young = root / f"{TEMP_PREFIX}1-1", root / f"{TEMP_PREFIX}1-2"
    for path in (old, young):
        path.write_bytes(b"half")
    past = old.stat().st_mtime_ns - 2 * LEFTOVER_AGE_NS
    os.utime(old, ns=(past, past))
    files = DiskFiles(root)
    assert files.list("") == ()
    files.write("x", b"1")
    assert not old.exists()
    assert young.exists(), "a young one may belong to another process that is writing right now"


def test_a_folder_with_nothing_but_leftovers_can_be_removed(root: Path) -> None:
    files = DiskFiles(root)
    files.write("d/x", b"1")
    (root / "d" / f"{TEMP_PREFIX}9-9").write_bytes(b"half")
    files.remove("d/x")
    files.remove("d")
    assert not (root / "d").exists()


def test_a_stale_handle_is_looked_at_once_more(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = DiskFiles(root)
    files.write("x", b"1")
    answers = [OSError(errno.ESTALE, "stale"), None]
    real = os.pread

    def pread(fd: int, length: int, offset: int) -> bytes:
        if answers and (error := answers.pop(0)):
            raise error
        return real(fd, length, offset)

    monkeypatch.setattr(os, "pread", pread)
    assert files.read("x") == b"1"
    answers[:] = [OSError(errno.ESTALE, "stale"), OSError(errno.ESTALE, "stale")]
    with pytest.raises(FilesError, match="stale") as caught:
        files.read("x")
    assert caught.value.kind is FailureKind.TRANSIENT


def test_files_have_the_mode_that_was_asked_for(root: Path) -> None:
    files = DiskFiles(root, folder_mode=0o700)
    before = os.umask(0o077)
    try:
        files.write("open", b"", mode=0o644)
        files.create("d/secret", b"", mode=0o600)
    finally:
        os.umask(before)
    modes = {name: (root / name).stat().st_mode & 0o777 for name in ("open", "d/secret", "d")}
    assert modes == {"open": 0o644, "d/secret": 0o600, "d": 0o700}


def test_names_that_are_no_text_are_left_out(root: Path) -> None:
    with suppress(OSError):
        os.close(os.open(os.fsencode(root) + b"/\xff\xfe", os.O_CREAT | os.O_WRONLY))
    (root / "x").write_bytes(b"")
    assert DiskFiles(root).list("") == ("x",)


def test_no_descriptor_is_left_open(root: Path, outside: Path) -> None:
    files = DiskFiles(root)
    (root / "link").symlink_to(outside)
    os.mkfifo(root / "pipe")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for path in ("a/b/x", "link/file", "pipe", "a", "nothing"):
        for act in (
            files.read,
            files.stamp,
            files.list,
            lambda p: files.write(p, b"x"),
            lambda p: files.create(p, b"x"),
            lambda p: files.append(p, b"x"),
            lambda p: files.truncate(p, 0),
            files.remove,
        ):
            with suppress(FilesError):
                act(path)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_content_is_flushed_before_it_gets_its_name_and_the_folder_after(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order on which the crash model of the fake rests."""
    files = DiskFiles(root)
    story: list[str] = []

    def told(name: str) -> None:
        real = getattr(os, name)

        def call(*args: object, **options: object) -> object:
            is_folder = name == "fsync" and stat.S_ISDIR(os.fstat(int(str(args[0]))).st_mode)
            story.append("fsync folder" if is_folder else name)
            return real(*args, **options)

        monkeypatch.setattr(os, name, call)

    for name in ("fsync", "rename", "link", "write", "unlink"):
        told(name)
    files.write("x", b"1")
    assert story == ["write", "fsync", "rename", "fsync folder"]
    story.clear()
    files.create("y", b"1")
    assert story == ["write", "fsync", "link", "unlink", "fsync folder"]
    story.clear()
    files.append("z", b"1")
    assert story == ["write", "fsync", "fsync folder"]
    story.clear()
    files.append("z", b"2")
    assert story == ["write", "fsync"]
