"""The sessions that programs of attempts began on this machine: how their processes are found that bear no mark.

A process that sets its title, or cleans its environment, loses its mark, but not its session. The notes lie in the
folder of the site and not in the job directory: only this user writes there, and whoever can forge a note could as
well end the same processes himself.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from reconciler.node import files, processes
from reconciler.node.attempt import MARK
from reconciler.node.documents import Fields, parse
from reconciler.node.failure import NotDone
from reconciler.node.processes import Process, Row
from reconciler.node.raystart import SLOT_MARK

_FOLDER = ".sessions"  # no cluster has a dot in front of its name


def note(submission: str) -> None:
    """Write down that this process, the leader of its session, becomes an attempt's program."""
    site = _site()
    if site is not None:
        document = {"bootId": processes.boot_id(), **processes.myself().document()}
        files.write_json(files.own_folder(site / _FOLDER) / submission, document)


def forget(submission: str, site: Path | None = None) -> None:
    """Drop the note of an attempt of which nothing lives any more."""
    site = site or _site()
    if site is not None:
        with suppress(OSError):
            (site / _FOLDER / submission).unlink()


def unmarked(submission: str, site: Path, rows: Mapping[int, Row]) -> list[Process]:
    """Return the living processes in the session of an attempt that bear no mark; others are judged by theirs."""
    document = files.read(site / _FOLDER / submission, 1 << 12)
    if document is None:
        return []
    fields = Fields(parse(document, "the note of a session"), "note")
    if fields.text("bootId") != processes.boot_id():
        return []
    leader = Process(fields.integer("pid", 1, 1 << 31), fields.integer("startTicks", 0, 1 << 62))
    members = {each.pid: rows[each.pid] for each in processes.session(leader, rows)}
    marked = [*processes.marks(MARK, members).values(), *processes.marks(SLOT_MARK, members).values()]
    return sorted({each.process for each in members.values()}.difference(*marked))


def all_unmarked(site: Path, rows: Mapping[int, Row]) -> set[Process]:
    """Return the same of all attempts on this machine, as far as their notes can be read."""
    found: set[Process] = set()
    with suppress(OSError):
        for each in (site / _FOLDER).iterdir():
            with suppress(NotDone):
                found.update(unmarked(each.name, site, rows))
    return found


def _site() -> Path | None:
    """Return the folder of the site whose slot this process runs in; a runner started by hand is in none."""
    slot = os.environ.get(SLOT_MARK)
    return Path(slot).parent.parent if slot else None
