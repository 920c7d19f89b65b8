"""Tokens are made once, read anew, and never shown."""

import json
from pathlib import Path

import pytest

from reconciler.model.outcome import FailureKind
from reconciler.remote.disk import DiskFiles
from reconciler.remote.files import FilesError
from reconciler.remote.tokens import Secret, Tokens
from tests.fakes.files import FakeFiles


def test_each_cluster_has_one_token_of_its_own() -> None:
    files = FakeFiles()
    tokens = Tokens(files)
    assert tokens.of("main").reveal() == Tokens(files).of("main").reveal() == Tokens(files).reveal("main")
    assert len(bytes.fromhex(tokens.reveal("main"))) == 32
    assert tokens.reveal("main") != tokens.of("other").reveal()


def test_a_token_that_is_missing_is_not_made_by_who_asks_a_living_head() -> None:
    files = FakeFiles()
    with pytest.raises(FilesError) as caught:
        Tokens(files).reveal("main")
    assert caught.value.kind is FailureKind.REFUSED
    assert "put it back" in caught.value.message
    assert files.read("tokens/main") is None


def test_a_changed_token_counts_at_once() -> None:
    files = FakeFiles()
    tokens = Tokens(files)
    tokens.of("main")
    files.write("tokens/main", b"a" * 64 + b"\n")
    assert tokens.reveal("main") == "a" * 64


def test_who_comes_second_takes_the_first_ones_token() -> None:
    files = FakeFiles()

    def make() -> str:
        files.write("tokens/main", b"f" * 64)
        return "5" * 64

    assert Tokens(files, make).of("main").reveal() == "f" * 64


def test_a_token_is_readable_by_us_alone(tmp_path: Path) -> None:
    Tokens(DiskFiles(tmp_path, folder_mode=0o700)).of("main")
    assert (tmp_path / "tokens" / "main").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "tokens").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 40 + b"\n" + b"y" * 40, b"\xff" * 64, b"x" * 5000])
def test_a_file_that_holds_no_token_is_refused_and_not_quoted(content: bytes) -> None:
    files = FakeFiles()
    files.write("tokens/main", content)
    with pytest.raises(FilesError) as caught:
        Tokens(files).reveal("main")
    assert caught.value.kind is FailureKind.REFUSED
    assert "xxxx" not in caught.value.message


@pytest.mark.parametrize("name", ["", "../x", "a/b", "Main", "main\n", "x" * 100])
def test_only_a_cluster_name_names_a_token(name: str) -> None:
    with pytest.raises(FilesError) as caught:
        Tokens(FakeFiles()).of(name)
    assert caught.value.kind is FailureKind.INVALID


def test_a_secret_does_not_show_itself() -> None:
    secret = Secret("canary")
    for text in (str(secret), repr(secret), f"{secret}", f"{secret!r}", repr([secret]), str({"t": secret})):
        assert "canary" not in text
    with pytest.raises(TypeError):
        json.dumps(secret)
    assert secret.reveal() == "canary"
