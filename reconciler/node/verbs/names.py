"""Slots as requests name them."""

from __future__ import annotations

from pathlib import Path

from reconciler.node import files
from reconciler.node.documents import Fields
from reconciler.node.failure import REFUSED, NotDone
from reconciler.node.orders import COUNT_LIMIT, HEAD, WORKER, read_cluster
from reconciler.node.slots import Seen, Slot


def read_slot(fields: Fields, site: Path) -> Slot:
    """Return the slot that cluster, role and node name; it need not exist."""
    return Slot(read_cluster(fields), fields.choice("role", HEAD, WORKER), fields.name("node"), site)


def trusted(slot: Slot) -> Slot:
    """Return the slot after a check that nobody else can have swapped its folders."""
    for folder in (slot.folder.parent, slot.folder):
        if folder.is_symlink() or folder.exists():
            files.own_folder(folder)
    return slot


def read_generation(fields: Fields) -> int:
    """Return the newest start that a request is about; 0 is one from before starts were counted."""
    return fields.integer("generation", 0, COUNT_LIMIT)


def refuse_newer(seen: Seen, generation: int) -> None:
    """Refuse what was sent before the slot's present generation was started."""
    if seen.generation > generation:
        raise NotDone(REFUSED, f"{seen.where} has generation {seen.generation}; this was for {generation}")
