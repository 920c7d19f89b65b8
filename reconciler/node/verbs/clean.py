"""Clean: remove the folders of a slot in which nothing lives."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from reconciler.node import files, raystart
from reconciler.node.documents import Fields
from reconciler.node.failure import REFUSED, NotDone
from reconciler.node.slots import ALIVE, Look
from reconciler.node.verbs.names import read_generation, read_slot, refuse_newer, trusted


def clean(args: Fields, site: Path) -> dict[str, object]:
    """Remove a slot's folder and Ray's files; refused while a process of it lives, or after a newer generation."""
    slot, generation = read_slot(args, site), read_generation(args)
    args.end()
    if slot.folder.parent.is_dir():
        with files.locked(slot.lock):
            seen = Look().at(trusted(slot))
            if seen.state in ALIVE:
                raise NotDone(REFUSED, f"{seen.where} is {seen.state}; stop it first")
            refuse_newer(seen, generation)
            temporary = raystart.temporary_folder(slot.folder, os.getuid())
            if temporary.parent.exists():
                files.own_folder(temporary.parent)
                shutil.rmtree(temporary, ignore_errors=True)
            if slot.folder.exists():
                shutil.rmtree(slot.folder)
    return Look().at(slot).document()
