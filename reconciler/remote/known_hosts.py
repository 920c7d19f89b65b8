"""The managed list of host keys, and whether files that decide on trust are ours alone."""

import base64
import binascii
import hashlib
import hmac
import os
import stat
from pathlib import Path
from threading import Lock
from typing import TypeAlias

HostKey: TypeAlias = tuple[str, bytes]
"""Key type and public key, as known_hosts has them."""


class NotTrusted(Exception):
    """A file that decides on trust is missing or could be changed by others; says what to do."""


class KnownHosts:
    """The keys of a known_hosts file (sshd(8)), read again when it changes. `@revoked` keys count nowhere.

    Certificate authorities and patterns are not supported: such lines match nothing, which refuses the host.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()
        self._stamp: tuple[int, ...] = ()
        self._plain: dict[str, list[HostKey]] = {}
        self._hashed: list[tuple[bytes, bytes, HostKey]] = []

    def keys(self, host: str, port: int) -> tuple[HostKey, ...]:
        """Return the keys that this host may show."""
        name = entry_name(host, port)
        with self._lock:
            self._refresh()
            hashed = [key for salt, digest, key in self._hashed if hmac.compare_digest(_hash(salt, name), digest)]
            return (*self._plain.get(name, ()), *hashed)

    def _refresh(self) -> None:
        try:
            seen = self._path.stat()
            stamp = (seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_mode, seen.st_uid)
            if stamp == self._stamp:
                return
            require_own(seen, self._path, forbidden=0o022)
            text = self._path.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            step = "write it with the host keys of all machines (ssh-keyscan shows them; compare before you trust)"
            raise NotTrusted(f"{self._path}: {error.strerror}; {step}") from error
        self._read(text)
        self._stamp = stamp

    def _read(self, text: str) -> None:
        plain: dict[str, list[HostKey]] = {}
        hashed, revoked = [], set()
        for line in text.splitlines():
            marker, names, key = _fields(line)
            if key is None:
                continue
            if marker == "@revoked":
                revoked.add(key)
            elif not marker:
                for name in names:
                    if name.startswith("|1|"):
                        hashed += [(salt, digest, key) for salt, digest in _salted(name)]
                    else:
                        plain.setdefault(name.lower(), []).append(key)
        self._plain = {name: [key for key in keys if key not in revoked] for name, keys in plain.items()}
        self._hashed = [entry for entry in hashed if entry[2] not in revoked]


def entry_name(host: str, port: int) -> str:
    """Return the name that known_hosts has for a host and port."""
    return host.lower() if port == 22 else f"[{host.lower()}]:{port}"


def fingerprint(key: bytes) -> str:
    """Return a public key's fingerprint as OpenSSH prints it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")


def require_private(path: Path) -> None:
    """Raise unless a key file is ours and nobody else's; OpenSSH's rule."""
    try:
        require_own(path.stat(), path, forbidden=0o077)
    except OSError as error:
        raise NotTrusted(
            f"{path}: {error.strerror}; make the daemon's key there (ssh-keygen -t ed25519)"
        ) from error


def require_own(seen: os.stat_result, path: Path, *, forbidden: int) -> None:
    """Raise unless a file is regular, belongs to us or root, and lacks the forbidden mode bits."""
    if not stat.S_ISREG(seen.st_mode):
        raise NotTrusted(f"{path}: it is not a regular file")
    if seen.st_uid not in {0, os.geteuid()}:
        raise NotTrusted(f"{path}: it belongs to another user (uid {seen.st_uid})")
    if seen.st_mode & forbidden:
        raise NotTrusted(f"{path}: others have access (mode {seen.st_mode & 0o777:o}); chmod go-rwx it")


def _fields(line: str) -> tuple[str, list[str], HostKey | None]:
    words = line.split()
    marker = words.pop(0) if words and words[0].startswith("@") else ""
    if len(words) < 3 or words[0].startswith("#"):
        return marker, [], None
    try:
        return marker, words[0].split(","), (words[1], base64.b64decode(words[2], validate=True))
    except binascii.Error:
        return marker, [], None


def _salted(name: str) -> list[tuple[bytes, bytes]]:
    try:
        salt, digest = name.removeprefix("|1|").split("|")
        return [(base64.b64decode(salt, validate=True), base64.b64decode(digest, validate=True))]
    except (ValueError, binascii.Error):
        return []


def _hash(salt: bytes, name: str) -> bytes:
    return hmac.new(salt, name.encode(), hashlib.sha1).digest()
