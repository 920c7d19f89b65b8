"""Signatures on head files, by OpenSSH: workers join no head that this key did not name."""

import os
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from reconciler.model.layout import SIGNER
from reconciler.model.outcome import FailureKind
from reconciler.remote.files import FilesError
from reconciler.remote.known_hosts import NotTrusted, require_private

# A signature for one purpose is worth nothing for another (ssh-keygen(1), -n).
NAMESPACE = "rayops-head"
# Signing takes 5 ms; a machine that swaps may need long, a dead disk for ever.
TIMEOUT_SECONDS = 20.0
# Nothing of our environment: an agent could offer another key.
_ENV = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C"}


class SshKeygenSigner:
    """Signs with an ed25519 key of its own, made on first use and readable by us alone."""

    def __init__(self, key_path: Path) -> None:
        self._key = key_path
        # What the key file was, and the signers that came of it: ssh-keygen takes longer than a submission.
        self._public: tuple[tuple[int, ...], str] | None = None

    def sign(self, payload: bytes) -> str:
        """Return the armoured signature of a payload."""
        self._require_key()
        return self._keygen("-Y", "sign", "-n", NAMESPACE, "-f", str(self._key), stdin=payload)

    def allowed_signers(self) -> str:
        """Return the file by which others verify: our public key, for head files only."""
        self._require_key()
        mark = _mark(self._key)
        if self._public is None or self._public[0] != mark:
            public = self._keygen("-y", "-P", "", "-f", str(self._key)).split()
            self._public = (mark, f'{SIGNER} namespaces="{NAMESPACE}" {public[0]} {public[1]}\n')
        return self._public[1]

    def _require_key(self) -> None:
        if not self._key.exists():
            self._make()
        try:
            require_private(self._key)
        except NotTrusted as error:
            raise FilesError(FailureKind.REFUSED, str(error)) from error

    def _make(self) -> None:
        try:
            with TemporaryDirectory(prefix=".tmp-", dir=self._key.parent) as folder:
                fresh = Path(folder) / "key"
                self._keygen("-q", "-t", "ed25519", "-N", "", "-C", SIGNER, "-f", str(fresh))
                with fresh.open("rb") as written:
                    os.fsync(written.fileno())
                # Two daemons may start at once; link() lets exactly one key win, and it is never overwritten.
                self._key.hardlink_to(fresh)
            _flush(self._key.parent)
        except FileExistsError:
            pass
        except OSError as error:
            message = f"{self._key}: the signing key cannot be made: {error.strerror}"
            raise FilesError(FailureKind.REFUSED, message) from error

    def _keygen(self, *argv: str, stdin: bytes = b"") -> str:
        return _keygen(f"{self._key}: ssh-keygen cannot use this key", *argv, stdin=stdin)


def verify(payload: bytes, signature: str, allowed_signers: str) -> bool:
    """Say whether one of the allowed signers signed exactly these bytes as a head file."""
    with TemporaryDirectory(prefix="rayops-") as folder:
        signers, armoured = Path(folder) / "allowed_signers", Path(folder) / "signature"
        signers.write_text(allowed_signers, encoding="utf-8")
        armoured.write_text(signature, encoding="utf-8", errors="replace")
        options = ("-n", NAMESPACE, "-I", SIGNER, "-f", str(signers), "-s", str(armoured))
        try:
            _keygen("the signature is not valid", "-q", "-Y", "verify", *options, stdin=payload)
        except FilesError as error:
            if error.kind is FailureKind.INVALID:
                return False
            raise
    return True


def _keygen(refusal: str, *argv: str, stdin: bytes) -> str:
    """Run ssh-keygen; its own words are not repeated, for they may quote what it was given."""
    try:
        done = subprocess.run(
            ["ssh-keygen", *argv],
            input=stdin,
            capture_output=True,
            check=False,
            timeout=TIMEOUT_SECONDS,
            env=_ENV,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise FilesError(FailureKind.REFUSED, "ssh-keygen is not installed; install the OpenSSH client") from error
    except subprocess.TimeoutExpired as error:
        raise FilesError(FailureKind.TRANSIENT, "ssh-keygen did not answer in time; it is tried again") from error
    if done.returncode != 0:
        raise FilesError(FailureKind.INVALID, refusal)
    return done.stdout.decode("ascii", "replace")


def _mark(key: Path) -> tuple[int, ...]:
    """Return what is another one when the file was replaced or written."""
    try:
        seen = key.stat()
    except OSError as error:
        raise FilesError(FailureKind.REFUSED, f"{key}: the key cannot be looked at: {error.strerror}") from error
    return (seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns)


def _flush(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
