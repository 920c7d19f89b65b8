"""The signing key: made once, ours alone, never quoted."""

import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from reconciler.model.outcome import FailureKind
from reconciler.remote.files import FilesError
from reconciler.remote.signer import SshKeygenSigner, verify

PAYLOAD = b"payload"


def test_the_key_is_made_once_and_readable_by_us_alone(tmp_path: Path) -> None:
    first = SshKeygenSigner(tmp_path / "key").sign(PAYLOAD)
    assert SshKeygenSigner(tmp_path / "key").sign(PAYLOAD) == first
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_two_daemons_that_start_at_once_share_one_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(6) as pool:
        signatures = set(pool.map(lambda _: SshKeygenSigner(tmp_path / "key").sign(PAYLOAD), range(6)))
    assert len(signatures) == 1


def test_signers_are_those_of_the_key_as_it_is_now(tmp_path: Path) -> None:
    signer = SshKeygenSigner(tmp_path / "key")
    first = signer.allowed_signers()
    assert signer.allowed_signers() == first
    SshKeygenSigner(tmp_path / "other").sign(PAYLOAD)
    (tmp_path / "other").rename(tmp_path / "key")
    assert signer.allowed_signers() != first
    assert verify(PAYLOAD, signer.sign(PAYLOAD), signer.allowed_signers())


def test_the_public_key_is_asked_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    signer = SshKeygenSigner(tmp_path / "key")
    first = signer.allowed_signers()
    monkeypatch.setattr("reconciler.remote.signer._keygen", None)
    assert signer.allowed_signers() == first


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    signer = SshKeygenSigner(tmp_path / "key")
    signer.sign(PAYLOAD)
    (tmp_path / "key").chmod(0o644)
    with pytest.raises(FilesError, match="others have access") as caught:
        signer.sign(PAYLOAD)
    assert caught.value.kind is FailureKind.REFUSED


def test_a_damaged_key_is_named_but_not_quoted(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\ncanary\n-----END OPENSSH PRIVATE KEY-----\n")
    key.chmod(0o600)
    signer = SshKeygenSigner(key)
    acts: list[Callable[[], str]] = [lambda: signer.sign(PAYLOAD), signer.allowed_signers]
    for act in acts:
        with pytest.raises(FilesError) as caught:
            act()
        assert str(key) in caught.value.message
        assert "canary" not in caught.value.message


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FilesError, match="cannot be made"):
        SshKeygenSigner(tmp_path / "no" / "key").sign(PAYLOAD)


def test_a_signature_for_another_purpose_is_not_good(tmp_path: Path) -> None:
    signer = SshKeygenSigner(tmp_path / "key")
    allowed = signer.allowed_signers()
    argv = ["ssh-keygen", "-q", "-Y", "sign", "-n", "git", "-f", str(tmp_path / "key")]
    other = subprocess.run(argv, input=PAYLOAD, check=True, capture_output=True).stdout.decode()
    assert not verify(PAYLOAD, other, allowed)
    assert not verify(PAYLOAD, other, allowed.replace(' namespaces="rayops-head"', ""))
