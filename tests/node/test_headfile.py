"""The head file against everybody but the daemon that signs it."""

import json
import os
from pathlib import Path

import pytest

from reconciler.node.failure import NotDone
from reconciler.node.headfile import HeadFile, read_head
from tests.node.signed import HeadKey


@pytest.fixture
def key(tmp_path: Path) -> HeadKey:
    key = HeadKey(tmp_path)
    key.publish()
    return key


def read(key: HeadKey, at_least: int = 1) -> HeadFile | None:
    return read_head(key.head_file, key.allowed_signers.read_text(), "rayops", "main", at_least)


def test_a_signed_head_file_is_believed(key: HeadKey) -> None:
    assert read(key) == HeadFile("c0ffee", "main", 3, "session_1", "10.0.0.1", 6379)


def test_no_head_file_is_no_head(key: HeadKey) -> None:
    key.head_file.unlink()
    assert read(key) is None


def test_an_epoch_that_was_passed_is_refused(key: HeadKey) -> None:
    with pytest.raises(NotDone, match="epoch 3, 4 was seen already"):
        read(key, at_least=4)


def test_the_file_of_another_cluster_is_refused(key: HeadKey) -> None:
    key.publish(cluster="other")
    with pytest.raises(NotDone, match="another cluster"):
        read(key)


def test_another_key_is_refused(key: HeadKey) -> None:
    other = HeadKey(key.folder, "other")
    key.head_file.write_bytes(other.document())
    with pytest.raises(NotDone, match="signature"):
        read(key)


def test_a_signature_for_another_purpose_is_refused(key: HeadKey) -> None:
    text = json.loads(key.head_file.read_text())["payload"]
    key.head_file.write_text(json.dumps({"payload": text, "signature": key.sign(text, "git")}))
    with pytest.raises(NotDone, match="signature"):
        read(key)


def test_every_changed_byte_of_the_payload_is_noticed(key: HeadKey) -> None:
    document = json.loads(key.head_file.read_text())
    for place in range(0, len(document["payload"]), 17):
        text = document["payload"]
        text = text[:place] + chr(ord(text[place]) ^ 1) + text[place + 1 :]
        key.head_file.write_text(json.dumps({**document, "payload": text}))
        with pytest.raises(NotDone, match="signature"):
            read(key)


@pytest.mark.parametrize("length", [0, 1, 40, 300])
def test_a_torn_file_is_refused(key: HeadKey, length: int) -> None:
    key.head_file.write_bytes(key.head_file.read_bytes()[:length])
    with pytest.raises(NotDone):
        read(key)


def link(path: Path) -> None:
    path.rename(path.with_suffix(".real"))
    path.symlink_to(path.with_suffix(".real"))


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def long(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b" " * (1 << 17))


def everybodys(path: Path) -> None:
    path.chmod(0o666)


@pytest.mark.parametrize("spoil", [link, pipe, folder, long, everybodys])
def test_what_is_no_plain_file_of_the_daemon_is_refused(key: HeadKey, spoil: object) -> None:
    assert callable(spoil)
    spoil(key.head_file)
    with pytest.raises(NotDone) as caught:
        read(key)
    assert caught.value.kind == "refused"


def test_without_ssh_keygen_nothing_is_believed(key: HeadKey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(NotDone, match="cannot be verified"):
        read(key)


def test_an_ssh_keygen_that_does_not_say_good_proves_nothing(key: HeadKey, monkeypatch: pytest.MonkeyPatch) -> None:
    (key.folder / "ssh-keygen").symlink_to("/bin/true")
    monkeypatch.setenv("PATH", str(key.folder))
    with pytest.raises(NotDone, match="signature"):
        read(key)
