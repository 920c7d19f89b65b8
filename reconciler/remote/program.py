"""The node program as one file: built from our own sources, the same bytes everywhere."""

import hashlib
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import reconciler.node

# The earliest moment a zip can hold: no build time gets into the digest.
_EPOCH = (1980, 1, 1, 0, 0, 0)
_MAIN = b'''"""Starts the node program."""

import sys

from reconciler.node.__main__ import main

sys.exit(main(sys.argv[1:]))
'''
_PACKAGE = b'"""The part of RayOps that runs on machines."""\n'


@dataclass(frozen=True, slots=True)
class Program:
    """A built node program."""

    data: bytes

    @property
    def sha256(self) -> str:
        """The digest by which machines know it."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def digest12(self) -> str:
        """The part of the digest that names the file."""
        return self.sha256[:12]

    @property
    def name(self) -> str:
        """The file's name: another content never gets the same one."""
        return f"node-{self.digest12}.pyz"


def build() -> Program:
    """Return the node program; the same sources give the same bytes on every machine."""
    root = Path(reconciler.node.__file__).parent
    sources = {"__main__.py": _MAIN, "reconciler/__init__.py": _PACKAGE}
    for path in root.rglob("*.py"):
        sources[f"reconciler/node/{path.relative_to(root).as_posix()}"] = path.read_bytes()
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name in sorted(sources):
            # Stored, not deflated: compressors differ between machines.
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.create_system = 3
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, sources[name])
    return Program(target.getvalue())
