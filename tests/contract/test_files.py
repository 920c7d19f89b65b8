"""What every files door promises, on memory, on a disk and on tmpfs."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.model.outcome import FailureKind
from reconciler.remote.disk import DiskFiles
from reconciler.remote.files import Files, FilesError
from tests.fakes.files import FakeFiles

SHM = Path("/dev/shm")


@pytest.fixture(params=["fake", "disk", "tmpfs"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Files]:
    if request.param == "fake":
        yield FakeFiles()
    elif request.param == "disk":
        yield DiskFiles(tmp_path)
    else:
        if not SHM.is_dir():
            pytest.skip("/dev/shm is not there")
        with TemporaryDirectory(dir=SHM) as folder:
            yield DiskFiles(Path(folder))


def test_what_was_written_is_read(files: Files) -> None:
    files.write("a/b/c.json", b"one")
    files.write("a/b/c.json", b"two")
    assert files.read("a/b/c.json") == b"two"


@pytest.mark.parametrize("look", [Files.read, Files.stamp], ids=["read", "stamp"])
@pytest.mark.parametrize("path", ["nothing", "no/folder/here"])
def test_absence_is_an_answer(files: Files, look: Callable[[Files, str], object], path: str) -> None:
    assert getattr(files, look.__name__)(path) is None
    assert files.list("no/folder/here") == ()
    assert files.read_range(path, 5, 5) is None


def test_a_file_larger_than_the_limit_is_an_error(files: Files) -> None:
    files.write("big", b"x" * 11)
    assert files.read("big", limit=11) == b"x" * 11
    with pytest.raises(FilesError, match="larger than 10"):
        files.read("big", limit=10)


@pytest.mark.parametrize(
    ("offset", "limit", "expected"), [(0, 3, b"abc"), (2, 99, b"cdef"), (6, 1, b""), (9, 1, b""), (0, 0, b"")]
)
def test_a_range_is_cut_to_what_is_there(files: Files, offset: int, limit: int, expected: bytes) -> None:
    files.write("log", b"abcdef")
    assert files.read_range("log", offset, limit) == expected


def test_only_one_creates(files: Files) -> None:
    assert files.create("claims/x", b"first")
    assert not files.create("claims/x", b"second")
    assert files.read("claims/x") == b"first"


def test_of_many_creators_exactly_one_wins(files: Files) -> None:
    if isinstance(files, FakeFiles):
        pytest.skip("the fake is used by one thread")
    won: list[int] = []
    start = threading.Barrier(8)

    def create(number: int) -> None:
        start.wait()
        if files.create("claim", b"%d" % number):
            won.append(number)

    threads = [threading.Thread(target=create, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert files.read("claim") == b"%d" % won[0]
    assert files.list("") == ("claim",)


def test_appends_follow_each_other(files: Files) -> None:
    files.append("state/journal", b"one\n")
    files.append("state/journal", b"two\n")
    assert files.read("state/journal") == b"one\ntwo\n"


def test_truncate_cuts_and_never_grows(files: Files) -> None:
    files.append("journal", b"one\ntw")
    files.truncate("journal", 4)
    assert files.read("journal") == b"one\n"
    for path, size in [("journal", 5), ("nothing", 0)]:
        with pytest.raises(FilesError) as caught:
            files.truncate(path, size)
        assert caught.value.kind is FailureKind.BUG


def test_list_is_sorted_and_shows_files_and_folders(files: Files) -> None:
    for path in ("d/b", "d/a", "d/c/x", "d/C"):
        files.write(path, b"")
    assert files.list("d") == ("C", "a", "b", "c")
    assert files.list("") == ("d",)


def test_many_files_are_replaced(files: Files) -> None:
    wanted = {f"status/job/t{n % 3}/{n}.json": b"%d" % n for n in range(100)}
    files.write_many(dict.fromkeys(wanted, b"old"))
    files.write_many(wanted)
    files.write_many({})
    assert {path: files.read(path) for path in wanted} == wanted
    assert len(files.list("status/job/t0")) == 34


def test_a_new_content_has_a_new_stamp(files: Files) -> None:
    files.write("x", b"one")
    before = files.stamp("x")
    assert before is not None
    assert before.size == 3
    assert files.stamp("x") == before
    files.write("x", b"two")
    assert files.stamp("x") != before


def test_removing_twice_is_fine_and_a_full_folder_stays(files: Files) -> None:
    files.write("d/x", b"1")
    with pytest.raises(FilesError, match="not empty"):
        files.remove("d")
    for path in ("d/x", "d/x", "d", "d", "no/where"):
        files.remove(path)
    assert files.list("") == ()
    assert files.read("d/x") is None


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a/./b", "a\0b", ".tmp-1", "a/"])
def test_a_path_that_could_lead_outside_is_refused(files: Files, path: str) -> None:
    for act in (
        files.read,
        files.stamp,
        files.remove,
        lambda p: files.write(p, b""),
        lambda p: files.create(p, b""),
    ):
        with pytest.raises(FilesError) as caught:
            act(path)
        assert caught.value.kind is FailureKind.INVALID
        assert not path or path not in caught.value.message


def test_a_folder_is_no_file_and_a_file_no_folder(files: Files) -> None:
    files.write("d/x", b"1")
    for act in (
        lambda: files.read("d"),
        lambda: files.write("d", b""),
        lambda: files.append("d", b""),
        lambda: files.read("d/x/y"),
        lambda: files.write("d/x/y", b""),
        lambda: files.list("d/x"),
    ):
        with pytest.raises(FilesError) as caught:
            act()
        assert caught.value.kind is FailureKind.REFUSED
    assert not files.create("d", b"")


NAMES = st.sampled_from(["a", "b", "d/a", "d/b", "d/e/a"])
ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), NAMES, st.binary(max_size=8)),
        st.tuples(st.just("create"), NAMES, st.binary(max_size=8)),
        st.tuples(st.just("append"), NAMES, st.binary(max_size=8)),
        st.tuples(st.just("remove"), NAMES, st.just(b"")),
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(acts=ACTS)
def test_fake_and_disk_tell_the_same_story(acts: list[tuple[str, str, bytes]]) -> None:
    with TemporaryDirectory(dir=SHM if SHM.is_dir() else None) as folder:
        fake, disk = FakeFiles(), DiskFiles(Path(folder))
        for verb, path, data in acts:
            for each in (fake, disk):
                each.remove(path) if verb == "remove" else getattr(each, verb)(path, data)
        for path in ("a", "b", "d/a", "d/b", "d/e/a"):
            assert fake.read(path) == disk.read(path)
        for path in ("", "d", "d/e"):
            assert fake.list(path) == disk.list(path)
