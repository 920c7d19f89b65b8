"""The fake disk loses what a real one may lose, and nothing more."""

import errno
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.outcome import FailureKind
from reconciler.remote.files import FilesError
from tests.fakes.files import Crash, FakeFiles

OLD, NEW = b"old content", b"the new content"


def crashed(seed: int, step: int, act: Callable[[FakeFiles], object]) -> tuple[FakeFiles, bool]:
    """Run `act` on a file that holds OLD and die at the given step; say whether it was completed."""
    files = FakeFiles(seed)
    files.write("d/x", OLD)
    files.die_at = files.steps + step
    try:
        act(files)
        done = True
    except Crash:
        done = False
    files.crash()
    return files, done


@given(seed=st.integers(0, 2**32), step=st.integers(1, 6))
def test_a_crash_inside_write_leaves_the_old_or_the_new_file(seed: int, step: int) -> None:
    files, done = crashed(seed, step, lambda files: files.write("d/x", NEW))
    assert files.read("d/x") in ([NEW] if done else [OLD, NEW])
    assert files.list("d") == ("x",)


@given(seed=st.integers(0, 2**32), step=st.integers(1, 6))
def test_a_crash_inside_create_leaves_nothing_or_the_whole_file(seed: int, step: int) -> None:
    files, done = crashed(seed, step, lambda files: files.create("d/new", NEW))
    assert files.read("d/new") in ([NEW] if done else [None, NEW])


@given(seed=st.integers(0, 2**32), step=st.integers(1, 4))
def test_a_crash_inside_append_leaves_a_prefix(seed: int, step: int) -> None:
    files, done = crashed(seed, step, lambda files: files.append("d/x", NEW))
    content = files.read("d/x")
    assert content is not None
    assert content == OLD + NEW if done else (OLD + NEW).startswith(content) and content.startswith(OLD)


def test_content_is_flushed_before_it_gets_its_name_and_the_folder_after() -> None:
    story: list[str] = []

    class Told(FakeFiles):
        def _step(self, step: str, path: str, folder: Any) -> None:
            story.append(step)
            super()._step(step, path, folder)

    files = Told()
    for write in (files.write, files.create, files.append):
        write(f"{write.__name__}/x", b"1")
    whole = ["open", "write", "flush", "name", "flush folder"]
    assert story == [*whole, *whole, *(step for step in whole if step != "name")]


def test_torn_appends_do_happen() -> None:
    seen = set()
    for seed in range(200):
        files, _ = crashed(seed, 3, lambda files: files.append("d/x", NEW))
        seen.add(files.read("d/x"))
    assert len(seen) > 5


def test_what_returned_survives_every_crash() -> None:
    for seed in range(20):
        files = FakeFiles(seed)
        files.write("a", b"1")
        files.append("b", b"2")
        files.create("c", b"3")
        files.write("gone", b"4")
        files.remove("gone")
        files.crash()
        assert {name: files.read(name) for name in files.list("")} == {"a": b"1", "b": b"2", "c": b"3"}


@pytest.mark.parametrize("step", ["open", "write", "flush", "name"])
@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, FailureKind.TRANSIENT),
        (errno.EIO, FailureKind.TRANSIENT),
        (errno.ESTALE, FailureKind.TRANSIENT),
        (errno.EROFS, FailureKind.REFUSED),
    ],
)
def test_a_fault_before_the_name_keeps_the_old_file(step: str, number: int, kind: FailureKind) -> None:
    files = FakeFiles()
    files.write("x", OLD)
    files.fail(number, step=step)
    with pytest.raises(FilesError) as caught:
        files.write("x", NEW)
    assert caught.value.kind is kind
    assert files.read("x") == OLD
    files.write("x", NEW)
    assert files.read("x") == NEW


def test_an_unmounted_share_answers_nothing() -> None:
    files = FakeFiles()
    files.write("x", OLD)
    files.mounted = False
    for act in (files.read, files.stamp, files.list, lambda path: files.write(path, NEW)):
        with pytest.raises(FilesError):
            act("x")
    files.mend()
    assert files.read("x") == OLD


def test_a_write_of_another_client_can_stay_hidden_for_a_while() -> None:
    files = FakeFiles()
    files.write("jobs/a/claim.json", OLD)
    files.write_elsewhere("jobs/a/claim.json", NEW, hidden=True)
    files.write_elsewhere("jobs/a/result.json", NEW, hidden=True)
    assert files.read("jobs/a/claim.json") == OLD
    assert files.read("jobs/a/result.json") is None
    assert files.list("jobs/a") == ("claim.json",)
    files.reveal("jobs/a/result.json")
    assert files.read("jobs/a/result.json") == NEW
    assert files.read("jobs/a/claim.json") == OLD
    files.reveal()
    assert files.read("jobs/a/claim.json") == NEW
    assert files.list("jobs/a") == ("claim.json", "result.json")
