import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from threading import Event

import pytest

from reconciler.clock import SystemClock
from reconciler.model.moment import Moment
from reconciler.model.snapshot import Snapshot, SourceFault, SourceProblem
from reconciler.source import directory as directory_module
from reconciler.source import scan
from reconciler.source.directory import FULL_LOOK_EVERY, MARKER, PATIENCE, PUBLISHED, DirectorySource
from reconciler.source.limits import Limits
from reconciler.source.location import SourceConfigError
from tests.fakes.files import FakeFiles


@dataclass
class LaterClock:
    """The system's clock, an hour ahead: every file is old, so that the stamps alone decide."""

    real: SystemClock = field(default_factory=SystemClock)

    def now(self) -> Moment:
        return self.real.now() + timedelta(hours=1)

    def wait(self, event: Event, timeout: timedelta) -> bool:
        return self.real.wait(event, timeout)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "desired"
    made.mkdir()
    return made


@pytest.fixture
def source(folder: Path) -> Iterator[DirectorySource]:
    made = DirectorySource(folder, SystemClock(), limits=Limits(files=50, file_bytes=4096))
    yield made
    made.close()


@pytest.fixture
def shared(folder: Path) -> Iterator[DirectorySource]:
    """As on a network file system, long after the last write."""
    made = DirectorySource(folder, LaterClock(), trust_folders=True)
    yield made
    made.close()


def snapshot(answer: Snapshot | SourceProblem) -> Snapshot:
    assert isinstance(answer, Snapshot), answer
    return answer


def fault(answer: Snapshot | SourceProblem) -> SourceFault:
    assert isinstance(answer, SourceProblem), answer
    return answer.fault


def put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_bytes(content)
    fresh.replace(path)


def test_two_changes_within_one_tick_of_the_file_system_are_both_seen(
    folder: Path, source: DirectorySource
) -> None:
    path = folder / "a.yaml"
    for number in range(50):
        path.write_bytes(b"%02d" % number)
        seen = snapshot(source.latest(None))
        assert source.read([seen.files["a.yaml"]]) == {seen.files["a.yaml"]: b"%02d" % number}


def test_a_change_that_restores_the_time_is_seen(folder: Path, shared: DirectorySource) -> None:
    put(folder / "a.yaml", b"1")
    first = snapshot(shared.latest(None))
    before = (folder / "a.yaml").stat()
    put(folder / "a.yaml", b"2")
    os.utime(folder / "a.yaml", ns=(before.st_atime_ns, before.st_mtime_ns))
    os.utime(folder, ns=(before.st_atime_ns, folder.stat().st_mtime_ns))
    assert snapshot(shared.latest(None)).files != first.files


def test_an_edit_in_place_on_a_share_is_seen_by_the_next_full_look(folder: Path, shared: DirectorySource) -> None:
    put(folder / "a.yaml", b"1")
    first = snapshot(shared.latest(None))
    (folder / "a.yaml").write_bytes(b"2")
    looks = 1
    while shared.latest(first.revision) is first:
        looks += 1
        assert looks <= FULL_LOOK_EVERY
    assert looks > 1, "until then the folders alone are looked at"


def test_a_replaced_file_on_a_share_is_seen_at_once(folder: Path, shared: DirectorySource) -> None:
    put(folder / "deep" / "a.yaml", b"1")
    first = snapshot(shared.latest(None))
    assert shared.latest(first.revision) is first
    put(folder / "deep" / "a.yaml", b"2")
    assert snapshot(shared.latest(first.revision)).files != first.files


def test_what_is_not_published_yet_is_not_seen(folder: Path, source: DirectorySource) -> None:
    put(folder / "a.yaml", b"1")
    put(folder / MARKER, b"1")
    first = snapshot(source.latest(None))
    put(folder / "a.yaml", b"2")
    put(folder / "b.yaml", b"2")
    assert source.latest(first.revision) is first
    put(folder / MARKER, b"2")
    assert snapshot(source.latest(first.revision)).files.keys() == {"a.yaml", "b.yaml"}


def test_what_is_half_published_is_not_taken_after_a_restart_either(folder: Path) -> None:
    kept = FakeFiles()

    def restarted() -> DirectorySource:
        return DirectorySource(folder, SystemClock(), kept=kept)

    (folder / "a.yaml").write_text("1")
    (folder / "b.yaml").write_text("2")
    (folder / MARKER).write_text("1\n")
    whole = snapshot(restarted().latest(None))
    assert snapshot(restarted().latest(whole.revision)).files == whole.files
    (folder / "b.yaml").unlink()
    source = restarted()
    said = source.latest(whole.revision)
    assert isinstance(said, SourceProblem)
    assert said.fault is SourceFault.UNREACHABLE
    assert f"write {MARKER} anew" in said.message
    (folder / MARKER).write_text("2\n")
    assert set(snapshot(source.latest(whole.revision)).files) == {"a.yaml"}
    assert set(snapshot(restarted().latest(whole.revision)).files) == {"a.yaml"}


def test_without_a_word_that_can_be_kept_or_read_the_folder_is_taken_as_it_is(folder: Path) -> None:
    kept = FakeFiles()
    kept.fail(errno.ENOSPC, times=100)
    (folder / "a.yaml").write_text("1")
    (folder / MARKER).write_text("1\n")
    assert set(snapshot(DirectorySource(folder, SystemClock(), kept=kept).latest(None)).files) == {"a.yaml"}
    kept.mend()
    for rubbish in (b"{", b"[]", b'{"marker": 1}'):
        kept.write(PUBLISHED, rubbish)
        assert set(snapshot(DirectorySource(folder, SystemClock(), kept=kept).latest(None)).files) == {"a.yaml"}


def test_content_that_changed_since_the_look_is_left_out(folder: Path, source: DirectorySource) -> None:
    put(folder / "a.yaml", b"1")
    put(folder / "b.yaml", b"2")
    seen = snapshot(source.latest(None))
    ids = [seen.files["a.yaml"], seen.files["b.yaml"]]
    assert len(source.read(ids)) == 2
    put(folder / "a.yaml", b"3")
    assert source.read(ids) == {ids[1]: b"2"}


def test_an_empty_or_missing_folder_is_never_the_end_of_everything(folder: Path, source: DirectorySource) -> None:
    put(folder / "a.yaml", b"1")
    first = snapshot(source.latest(None))
    away = folder.with_name("away")
    folder.rename(away)
    assert fault(source.latest(first.revision)) is SourceFault.UNREACHABLE
    folder.mkdir()  # a mount point without its share
    assert fault(source.latest(first.revision)) is SourceFault.EMPTY
    folder.rmdir()
    away.rename(folder)
    assert source.latest(first.revision) is first


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_one_folder_that_cannot_be_read_makes_the_look_incomplete(folder: Path, source: DirectorySource) -> None:
    put(folder / "a.yaml", b"1")
    put(folder / "b" / "b.yaml", b"1")
    first = snapshot(source.latest(None))
    (folder / "b").chmod(0)
    answer = source.latest(first.revision)
    (folder / "b").chmod(0o755)
    assert fault(answer) is SourceFault.UNREACHABLE


def test_a_look_during_a_change_keeps_the_last_complete_one(
    folder: Path, source: DirectorySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(folder / "a.yaml", b"1")
    first = snapshot(source.latest(None))
    real, number = scan.read_whole, 0

    def writing_meanwhile(descriptor: int, name: str, limit: int) -> object:
        nonlocal number
        number += 1
        if name == "a.yaml":
            put(folder / f"late{number}.yaml", b"2")
        return real(descriptor, name, limit)

    with monkeypatch.context() as patch:
        patch.setattr(directory_module, "read_whole", writing_meanwhile)
        for _ in range(PATIENCE):
            assert source.latest(first.revision) is first
        assert fault(source.latest(first.revision)) is SourceFault.UNREACHABLE
    assert len(snapshot(source.latest(first.revision)).files) == 1 + PATIENCE + 1


def test_a_file_that_grows_while_it_is_read_is_not_taken(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "a.yaml").write_bytes(b"1")
    real = os.read

    def growing(descriptor: int, size: int) -> bytes:
        with (folder / "a.yaml").open("ab") as file:
            file.write(b"more")
        return real(descriptor, size)

    root = os.open(folder, os.O_RDONLY)
    monkeypatch.setattr(os, "read", growing)
    with pytest.raises(scan.Unstable):
        scan.read_whole(root, "a.yaml", 4096)
    os.close(root)


def test_what_is_no_plain_file_is_rejected_and_nothing_hangs(folder: Path, source: DirectorySource) -> None:
    put(folder / "a.yaml", b"1")
    os.mkfifo(folder / "fifo.yaml")
    (folder / "link.yaml").symlink_to("/etc/shadow")
    (folder / "teams").symlink_to("/etc")
    if os.geteuid() == 0:
        os.mknod(folder / "device.yaml", stat.S_IFCHR | 0o600, os.makedev(1, 5))
    seen = snapshot(source.latest(None))
    assert seen.files.keys() == {"a.yaml"}
    assert seen.rejected.keys() >= {"fifo.yaml", "link.yaml", "teams"}
    assert ("device.yaml" in seen.rejected) == (os.geteuid() == 0)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to own files as somebody else")
def test_a_hard_link_to_another_owners_file_is_rejected(folder: Path, source: DirectorySource) -> None:
    put(folder / "own.yaml", b"1")
    os.link(folder / "own.yaml", folder / "twin.yaml")
    secret = folder.parent / "secret"
    secret.write_bytes(b"s3cret")
    os.chown(secret, 1, 1)
    os.link(secret, folder / "stolen.yaml")
    seen = snapshot(source.latest(None))
    assert set(seen.files) == {"own.yaml", "twin.yaml"}
    assert set(seen.rejected) == {"stolen.yaml"}


def test_a_folder_swapped_for_a_link_is_not_followed(folder: Path, source: DirectorySource) -> None:
    put(folder / "teams" / "a.yaml", b"1")
    outside = folder.parent / "outside"
    put(outside / "a.yaml", b"s3cret")
    seen = snapshot(source.latest(None))
    source.read(list(seen.files.values()))
    (folder / "teams").rename(folder.parent / "old")
    (folder / "teams").symlink_to(outside)
    assert source.read(list(seen.files.values())) == {}
    root = os.open(folder, os.O_RDONLY)
    with pytest.raises(NotADirectoryError):
        scan.read_at(root, "teams/a.yaml", 4096)
    os.close(root)


@pytest.mark.parametrize("marker", ["link", "fifo", "huge"])
def test_a_marker_that_is_no_plain_file_is_a_problem(folder: Path, source: DirectorySource, marker: str) -> None:
    put(folder / "a.yaml", b"1")
    match marker:
        case "link":
            (folder / MARKER).symlink_to("/etc/shadow")
        case "fifo":
            os.mkfifo(folder / MARKER)
        case _:
            (folder / MARKER).write_bytes(b"x" * 5000)
    assert fault(source.latest(None)) is SourceFault.UNREACHABLE


def test_a_folder_without_end_is_too_large(folder: Path, source: DirectorySource) -> None:
    deep = folder
    for _ in range(70):
        deep = deep / "d"
    deep.mkdir(parents=True)
    assert fault(source.latest(None)) is SourceFault.TOO_LARGE


def test_a_share_that_hangs_delays_nobody_for_long(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(folder / "a.yaml", b"1")
    brief = timedelta(milliseconds=50)
    source = DirectorySource(folder, SystemClock(), limits=Limits(fetch=brief, local=brief))
    first = snapshot(source.latest(None))
    dead = Event()
    monkeypatch.setattr(directory_module.DirectorySource, "_nothing_new", lambda *_: dead.wait())
    try:
        assert fault(source.latest(first.revision)) is SourceFault.UNREACHABLE
        assert fault(source.latest(first.revision)) is SourceFault.UNREACHABLE, "earlier work still hangs"
    finally:
        dead.set()
        source.close()


def test_the_folder_is_named_absolutely() -> None:
    with pytest.raises(SourceConfigError):
        DirectorySource(Path("desired"), SystemClock())
