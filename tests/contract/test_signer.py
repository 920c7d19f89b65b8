"""What every signer promises, with OpenSSH and without."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from reconciler.remote import signer as openssh
from tests.fakes import signer as fake

PAYLOAD = b'{"cluster":"main","epoch":7,"host":"10.0.0.1"}'


@dataclass
class Party:
    sign: Callable[[bytes], str]
    allowed: Callable[[], str]
    stranger: Callable[[bytes], str]
    verify: Callable[[bytes, str, str], bool]


@pytest.fixture(params=["fake", "openssh"])
def party(request: pytest.FixtureRequest, tmp_path: Path) -> Party:
    if request.param == "fake":
        own, other = fake.FakeSigner("own"), fake.FakeSigner("other")
        return Party(own.sign, own.allowed_signers, other.sign, fake.verify)
    if not shutil.which("ssh-keygen"):
        pytest.skip("ssh-keygen is not installed")
    real, stranger = openssh.SshKeygenSigner(tmp_path / "own"), openssh.SshKeygenSigner(tmp_path / "other")
    return Party(real.sign, real.allowed_signers, stranger.sign, openssh.verify)


def test_a_signature_of_ours_is_good(party: Party) -> None:
    signature = party.sign(PAYLOAD)
    assert signature.startswith("-----BEGIN SSH SIGNATURE-----\n")
    assert party.verify(PAYLOAD, signature, party.allowed())


def test_signing_twice_gives_the_same_bytes(party: Party) -> None:
    assert party.sign(PAYLOAD) == party.sign(PAYLOAD)


@pytest.mark.parametrize("payload", [b"", PAYLOAD + b" ", PAYLOAD.replace(b"7", b"8")])
def test_a_changed_payload_is_not_good(party: Party, payload: bytes) -> None:
    assert not party.verify(payload, party.sign(PAYLOAD), party.allowed())


def test_a_signature_of_a_stranger_is_not_good(party: Party) -> None:
    assert not party.verify(PAYLOAD, party.stranger(PAYLOAD), party.allowed())


@pytest.mark.parametrize("signature", ["", "rubbish", "-----BEGIN SSH SIGNATURE-----\nAAAA\n", "é\0"])
def test_rubbish_is_not_good(party: Party, signature: str) -> None:
    assert not party.verify(PAYLOAD, signature, party.allowed())


def test_without_allowed_signers_nothing_is_good(party: Party) -> None:
    assert not party.verify(PAYLOAD, party.sign(PAYLOAD), "")
