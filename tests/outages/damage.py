"""Damage to the repository that a remote serves."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.installation import Installation

Harm = Callable[[Installation, str], tuple[Path, bytes]]


def _flipped(site: Installation, blob: str) -> tuple[Path, bytes]:
    """Return the pack of everything, with one byte of this very object flipped."""
    site.git("repack", "-adq")
    (pack,) = (site.repo / ".git/objects/pack").glob("*.pack")
    rows = site.git("verify-pack", "--verbose", str(pack.with_suffix(".idx"))).splitlines()
    (row,) = [line.split() for line in rows if line.startswith(blob)]
    whole, place = pack.read_bytes(), int(row[4]) + int(row[3]) // 2
    return pack, whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :]


def _cut(site: Installation, blob: str) -> tuple[Path, bytes]:
    """Return the file of this object, with its second half missing."""
    path = site.repo / ".git/objects" / blob[:2] / blob[2:]
    return path, path.read_bytes()[: path.stat().st_size // 2]


HARMS: Mapping[str, Harm] = {"flipped": _flipped, "cut": _cut}


@contextmanager
def damaged(site: Installation, file: str, harm: str) -> Iterator[None]:
    """Spoil how a file of the newest commit is kept, until the end of the block."""
    path, spoilt = HARMS[harm](site, site.git("rev-parse", f"HEAD:{file}").strip())
    whole = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(spoilt)
    try:
        yield
    finally:
        path.write_bytes(whole)
