"""A signer without cryptography: the same payload has the same signature, and a changed one none."""

import hashlib

HEADER = "-----BEGIN SSH SIGNATURE-----"


class FakeSigner:
    """Implements `Signer`; `key` stands for the private key."""

    def __init__(self, key: str = "key") -> None:
        self._key = key

    def sign(self, payload: bytes) -> str:
        """Return the signature of a payload."""
        body = hashlib.sha256(self._key.encode() + b"\0" + payload).hexdigest()
        return f"{HEADER}\n{body}\n-----END SSH SIGNATURE-----\n"

    def allowed_signers(self) -> str:
        """Return what `verify` needs."""
        return f'rayops namespaces="rayops-head" fake {self._key}\n'


def verify(payload: bytes, signature: str, allowed_signers: str) -> bool:
    """Say whether the signature belongs to these bytes and one of these keys."""
    keys = [line.split()[-1] for line in allowed_signers.splitlines() if line.strip()]
    return any(FakeSigner(key).sign(payload) == signature for key in keys)
