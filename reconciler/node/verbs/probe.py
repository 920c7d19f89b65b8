"""Probe: what the machine is, and how its slots are. It changes nothing."""

from __future__ import annotations

from pathlib import Path

from reconciler.node import machine
from reconciler.node.documents import Fields
from reconciler.node.slots import Look, all_slots
from reconciler.node.verbs.names import read_slot, trusted


def probe(args: Fields, site: Path) -> dict[str, object]:
    """Return the machine's facts and the asked slots, or all recorded ones."""
    slots = all_slots(site)
    if "slots" in args:
        asked = args.items("slots")
        slots = [read_slot(fields, site) for fields in asked]
        for fields in asked:
            fields.end()
    args.end()
    look = Look()
    return {**machine.facts(), "slots": [look.at(trusted(slot)).document() for slot in slots]}
