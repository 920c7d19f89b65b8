import os
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.node import files
from reconciler.node.documents import Fields, parse
from reconciler.node.failure import NotDone


def test_a_written_file_is_whole_and_only_ours(tmp_path: Path) -> None:
    files.write(tmp_path / "a", b"one")
    files.write(tmp_path / "a", b"two")
    assert (tmp_path / "a").read_bytes() == b"two"
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["a"]


def test_a_file_is_created_once(tmp_path: Path) -> None:
    assert files.create(tmp_path / "a", b"first")
    assert not files.create(tmp_path / "a", b"second")
    assert (tmp_path / "a").read_bytes() == b"first"
    assert [each.name for each in tmp_path.iterdir()] == ["a"]


def test_creating_does_not_follow_a_link(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    assert not files.create(tmp_path / "a", b"x")
    assert not (tmp_path / "b").exists()


def test_reading_refuses_what_is_no_plain_file(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/hostname")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "long").write_bytes(b"x" * 11)
    for name in ("link", "pipe", "long"):
        with pytest.raises(NotDone):
            files.read(tmp_path / name, 10)
    assert files.read(tmp_path / "absent", 10) is None


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.write(tmp_path / "a", b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="space"):
        files.write(tmp_path / "a", b"new")
    assert [each.read_bytes() for each in tmp_path.iterdir()] == [b"old"]


@pytest.mark.parametrize("shared", [True, False])
def test_a_lock_keeps_others_out_for_a_bounded_time(tmp_path: Path, *, shared: bool) -> None:
    with (
        files.locked(tmp_path / "lock"),
        pytest.raises(NotDone) as caught,
        files.locked(tmp_path / "lock", shared=shared, seconds=0.05),
    ):
        pytest.fail("two holders")
    assert caught.value.kind == "transient"


def test_readers_share_a_lock(tmp_path: Path) -> None:
    with files.locked(tmp_path / "lock", shared=True), files.locked(tmp_path / "lock", shared=True, seconds=0.05):
        pass


def test_a_lock_is_free_again_after_its_holder(tmp_path: Path) -> None:
    order: list[str] = []
    entered = threading.Event()

    def hold() -> None:
        with files.locked(tmp_path / "lock"):
            entered.set()
            order.append("first")

    thread = threading.Thread(target=hold)
    thread.start()
    entered.wait()
    with files.locked(tmp_path / "lock"):
        order.append("second")
    thread.join()
    assert order == ["first", "second"]


@given(st.binary(max_size=200) | st.text(alphabet='[]{}":,0eE+-. ', max_size=60).map(str.encode))
def test_any_bytes_are_a_value_or_not_done_and_nothing_else(document: bytes) -> None:
    with suppress(NotDone):
        parse(document, "it")


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5) | st.booleans()))
def test_surplus_fields_are_refused_without_being_named(value: dict[str, object]) -> None:
    fields = Fields({**value, "known": 1}, "it")
    fields.integer("known", 1, 1)
    left = len(value.keys() - {"known"})
    if not left:
        fields.end()
        return
    with pytest.raises(NotDone, match=f"^it has {left} fields that this protocol does not know$"):
        fields.end()
