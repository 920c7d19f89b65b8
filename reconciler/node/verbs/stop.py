"""Stop: tell the keeper, or end what a dead keeper left. Never by name: only recorded and marked processes."""

from __future__ import annotations

import signal
from pathlib import Path

from reconciler.node import files, moments, processes
from reconciler.node.documents import Fields, parse
from reconciler.node.failure import NotDone
from reconciler.node.orders import HEAD
from reconciler.node.processes import Process, boot_id
from reconciler.node.slots import ALIVE, STOPPED, STOPPING, Look, Record, Seen, Slot, ended, write_record
from reconciler.node.verbs.names import read_generation, read_slot, refuse_newer, trusted

# A keeper needs its grace and then moments; one that takes longer hangs, and is ended with the rest.
_OVERDUE_SECONDS = 20.0
# Without a keeper there is nobody to wait with; Ray ends itself in 0.1 s when asked.
_ORPHAN_GRACE_SECONDS = 2.0


def stop(args: Fields, site: Path) -> dict[str, object]:
    """Begin to end a slot and return at once; a slot in which nothing lives stays as it is.

    It ends the generation that it names and any older one, and refuses a newer one: that was started after it was
    sent.
    """
    slot, generation = read_slot(args, site), read_generation(args)
    grace = args.integer("graceSeconds", 0, 86_400)
    args.end()
    if not slot.folder.parent.is_dir():
        return Look().at(slot).document()
    with files.locked(slot.lock):
        seen = Look().at(trusted(slot))
        if seen.state not in ALIVE:
            return seen.document()
        refuse_newer(seen, generation)
        keeper = seen.record.keeper if seen.record else None
        if keeper is not None and keeper in seen.living and not _overdue(slot, keeper):
            return _tell(seen, keeper, grace)
        return _end(seen, generation)


def _tell(seen: Seen, keeper: Process, grace: int) -> dict[str, object]:
    if _asked(seen.slot, keeper) is None:
        asked = {
            "graceSeconds": grace,
            "ticks": int(moments.ticks()),
            "bootId": boot_id(),
            "keeper": keeper.document(),
        }
        files.write_json(seen.slot.stop, asked)
    processes.send(keeper, signal.SIGTERM)
    return {**seen.document(), "state": STOPPING, "message": "asked to stop"}


def _end(seen: Seen, generation: int) -> dict[str, object]:
    gone = processes.end(lambda: list(Look().at(seen.slot).living), _ORPHAN_GRACE_SECONDS)
    if gone:
        write_record(
            seen.slot, ended(seen.record or _unknown(seen, generation), STOPPED, "ended without its keeper")
        )
    return Look().at(seen.slot).document()


def _unknown(seen: Seen, generation: int) -> Record:
    """Return a record in place of a damaged one: whatever ran there, no start up to this one comes back."""
    epoch = max(1, generation) if seen.slot.role == HEAD else 1
    return Record(STOPPED, epoch, boot_id(), moments.now(), generation=generation)


def _overdue(slot: Slot, keeper: Process) -> bool:
    asked = _asked(slot, keeper)
    return asked is not None and moments.ticks() > asked[0] + asked[1] + _OVERDUE_SECONDS


def _asked(slot: Slot, keeper: Process) -> tuple[int, int] | None:
    """Return when this very keeper was asked to stop, and with which grace."""
    try:
        document = files.read(slot.stop, 1 << 12)
        if document is None:
            return None
        fields = Fields(parse(document, "stop.json"), "stop")
        owner = fields.fields("keeper")
        same = fields.text("bootId") == boot_id() and owner.take("pid") == keeper.pid
        same = same and owner.take("startTicks") == keeper.start_ticks
        return (fields.integer("ticks", 0, 1 << 53), fields.integer("graceSeconds", 0, 86_400)) if same else None
    except NotDone:
        return None
