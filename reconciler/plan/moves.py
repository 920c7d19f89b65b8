"""Renames: an object that left and one that came with the very same spec are one object that moved."""

from collections import defaultdict
from collections.abc import Iterator

from reconciler.model.ids import ObjectId
from reconciler.model.ledger import Change, Known, Ledger, Table
from reconciler.model.plan import Because, Note, Reason
from reconciler.model.views import departed, known_key, object_id
from reconciler.model.world import World

# Names of clusters and pools are part of what runs (labels, paths, ports' owners): those are replaced, not moved.
MOVABLE = frozenset({"Job", "Team", "User"})


def never_in_force(world: World) -> frozenset[ObjectId]:
    """Return what lingers without a trace in the ledger: its file came and went while nothing could be written.

    Nothing of it was begun, so nothing of it is to be kept; a restart would not even know of it. Begun now, under a
    name that no file gives any more, it might run a second time under the name that it has by now.
    """
    return frozenset(who for who in world.desired.lingering if not _has_trace(world.ledger, who))


def _has_trace(ledger: Ledger, identity: ObjectId) -> bool:
    # Not only in the table of what was in force: a ledger that was rebuilt has what runs, and knows less.
    if known_key(identity) in ledger.known or ledger.job(identity) is not None:
        return True
    match identity.kind:
        case "Cluster":
            return identity.name in ledger.clusters
        case "NodePool":
            return any(record.pool == identity.name for record in ledger.nodes.values())
        case _:
            return False


def moves(world: World) -> Iterator[Note]:
    """Return a note for every rename that leaves no doubt; a doubtful one is a removal and a new object."""
    gone: dict[tuple[str, str], list[ObjectId]] = defaultdict(list)
    for key in departed(world):
        identity, known = object_id(key), world.ledger.known[key]
        # One whose removal has begun is not the same any more; one that a broken file may describe has not left.
        if known.released or world.desired.hides(identity):
            continue
        if identity.kind in MOVABLE:
            gone[(identity.kind, known.digest)].append(identity)
    if not gone:
        return
    came: dict[tuple[str, str], list[ObjectId]] = defaultdict(list)
    for identity in sorted(world.desired.objects):
        if known_key(identity) not in world.ledger.known:
            came[(identity.kind, world.desired.objects[identity].digest)].append(identity)
    for what, old in sorted(gone.items()):
        new = came.get(what, [])
        if len(old) == 1 and len(new) == 1 and old[0].team == new[0].team:
            yield _move(world, old[0], new[0])


def perhaps_moved(world: World) -> dict[ObjectId, ObjectId]:
    """Return new objects that may be old ones under another name, with their old names.

    While a broken file may describe anything of a team, what left it is still in force; a renamed job would run a
    second time then, under its new name.
    """
    if not world.desired.unsettled:
        return {}
    objects, known = world.desired.objects, world.ledger.known
    stale = [(identity, loaded.digest) for identity, loaded in objects.items() if loaded.stale]
    left = [(identity, digest) for identity, digest in stale if known_key(identity) in known]
    left += [(object_id(key), known[key].digest) for key in departed(world)]
    lingering = {
        (identity.kind, identity.team, digest): identity
        for identity, digest in left
        if identity.kind in MOVABLE and world.desired.hides(identity)
    }
    return {
        identity: old
        for identity, loaded in objects.items()
        if known_key(identity) not in known
        and (old := lingering.get((identity.kind, identity.team, loaded.digest))) is not None
    }


def _move(world: World, old: ObjectId, new: ObjectId) -> Note:
    known: Known = world.ledger.known[known_key(old)]
    changes = [Change(Table.KNOWN, known_key(old), None), Change(Table.KNOWN, known_key(new), known)]
    if (record := world.ledger.job(old)) is not None:
        changes += [Change(Table.JOBS, str(old), None), Change(Table.JOBS, str(new), record)]
        # Attempts count on from where they are; the old name keeps its number, so that no id is used again.
        numbers = [world.ledger.numbers[key] for key in (str(old), str(new)) if key in world.ledger.numbers]
        changes += [Change(Table.NUMBERS, str(new), max(numbers))] if numbers else []
    if old.kind == "Job":
        changes += _checkpoints(world.ledger, old, new)
    because = Because(Reason.RENAMED, f"was {old}; its spec is the same, so nothing is stopped or started")
    return Note(new, because, tuple(changes))


def _checkpoints(ledger: Ledger, old: ObjectId, new: ObjectId) -> list[Change]:
    """Let a job's folder go along; who comes under the old name gets another one, and nothing of this job's.

    A number that is used up for it makes that folder's name one that never was; no job's name holds a dot.
    """
    if str(old) not in ledger.numbers and str(old) not in ledger.folders:
        return []
    left = ledger.numbers.get(str(old), 0) + 1
    return [
        Change(Table.FOLDERS, str(new), ledger.folder(old)),
        Change(Table.FOLDERS, str(old), f"{old.name}.{left}"),
        Change(Table.NUMBERS, str(old), left),
    ]
