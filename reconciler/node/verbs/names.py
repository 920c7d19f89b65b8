"""Slots as requests name them."""

from __future__ import annotations

from pathlib import Path

from reconciler.node import files
from reconciler.node.documents import Fields
from reconciler.node.orders import HEAD, WORKER
from reconciler.node.slots import Slot


def read_slot(fields: Fields, site: Path) -> Slot:
    """Return the slot that cluster, role and node name; it need not exist."""
    return Slot(fields.name("cluster"), fields.choice("role", HEAD, WORKER), fields.name("node"), site)


def trusted(slot: Slot) -> Slot:
    """Return the slot after a check that nobody else can have swapped its folders."""
    for folder in (slot.folder.parent, slot.folder):
        if folder.is_symlink() or folder.exists():
            files.own_folder(folder)
    return slot
