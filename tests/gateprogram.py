"""The gate that misbehaves on request (tests/fakes/gate_program.py), packed as the node program is."""

import hashlib
import sys
import tempfile
import zipfile
from functools import cache
from pathlib import Path

from reconciler.remote.command import GateCommand

_SOURCE = Path(__file__).parent / "fakes" / "gate_program.py"


def gate_command(python: str = sys.executable) -> GateCommand:
    """Return how it is started."""
    path = Path(_folder().name) / "gate.pyz"
    if not path.exists():
        packed(_SOURCE.read_text(), path)
    return GateCommand(str(path), sha256_of(path), python)


def packed(source: str, path: Path) -> Path:
    """Write a node program whose main module is this text."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("__main__.py", source)
    return path


def sha256_of(path: Path) -> str:
    """Return the digest of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


@cache
def _folder() -> "tempfile.TemporaryDirectory[str]":
    return tempfile.TemporaryDirectory(prefix="rayops-gate-")
