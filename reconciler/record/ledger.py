"""The ledger on disk: what the daemon must never forget, written before it acts.

Layout of the state directory: `ledger/current` names the generation in force, `ledger/journal-<n>.jsonl` holds it
(record/journal.py), and the generation before stays beside it as a backup.
"""

import logging
import re
import secrets
from collections.abc import Sequence
from contextlib import suppress

import orjson

from reconciler.clock import Clock
from reconciler.model.ledger import Change, Ledger, Meta
from reconciler.model.outcome import FailureKind
from reconciler.record.anchor import Anchor, anchor_of, compare, read_anchor, write_anchor
from reconciler.record.journal import Fault, LedgerFault, Recalled, commit_line, read, snapshot
from reconciler.remote.files import Files, FilesError

log = logging.getLogger(__name__)

FOLDER = "ledger"
CURRENT = f"{FOLDER}/current"

# A ledger of 10,000 jobs with some attempts each is about 20 MB; beyond this something else is wrong.
_MAX_JOURNAL = 1 << 30

# Reading 4 MiB of commits at start takes about 0.1 s; below that a new generation is not worth its flushes.
_COMPACT_AFTER = 4 << 20

_JOURNAL = re.compile(r"journal-([1-9][0-9]{0,17})\.jsonl")


class LedgerStore:
    """The one owner of the ledger's files; it needs the leadership of the site.

    A commit is on the disk before `commit` returns, and only then in the value. When a write fails the value stays
    as it was, and nothing more is committed until the file is known to be as it was, too.
    """

    def __init__(
        self,
        files: Files,
        anchor: Files,
        clock: Clock,
        *,
        site: str | None = None,
        compact_after: int = _COMPACT_AFTER,
    ) -> None:
        self._files = files
        self._shared = anchor
        self._clock = clock
        self._site = site
        self._compact_after = compact_after
        self._ledger: Ledger | None = None
        self._anchored: Anchor | None = None
        self._generation = 0
        self._checksum = ""
        self._size = 0
        self._compact_at = 0
        # True while a write has begun and not ended well: what the disk holds is then between two states.
        self._doubt = False
        self.dropped = 0
        """Bytes of an uncommitted line that a crash had left and `open` removed."""

    def open(self) -> Ledger | LedgerFault:
        """Return the ledger as it was last committed, or why it must not be used.

        The first start of a site makes an empty ledger with a new site id.
        """
        try:
            return self._open()
        except FilesError as error:
            return _unreadable(error)

    def look(self) -> Ledger | LedgerFault:
        """Return what `open` would return, and change nothing; a site that never started has an empty ledger."""
        try:
            found = self._recall()
        except FilesError as error:
            return _unreadable(error)
        if isinstance(found, LedgerFault):
            return found
        return Ledger(Meta(site=self._site or "")) if found is None else found[1].ledger

    def commit(self, changes: Sequence[Change]) -> Ledger:
        """Write one journal line, then return the ledger with `changes` in it; raises FilesError if it cannot."""
        ledger = self._in_force()
        if not changes:
            return ledger
        self._settle()
        line, checksum = commit_line(changes, ledger.sequence + 1, self._clock.now().wall, self._checksum)
        ledger = ledger.apply(changes)
        self._append(line)
        self._ledger, self._checksum, self._size = ledger, checksum, self._size + len(line)
        if self._size > self._compact_at:
            self._compact(ledger)
        return ledger

    @property
    def anchored(self) -> bool:
        """Whether the shared directory knows how far the ledger has come."""
        return anchor_of(self._in_force()) == self._anchored

    def anchor(self) -> None:
        """Tell the shared directory how far the ledger has come; call it after the commits of a pass."""
        if not self.anchored:
            anchor = anchor_of(self._in_force())
            write_anchor(self._shared, anchor)
            self._anchored = anchor

    def adopt(self, ledger: Ledger) -> None:
        """Put a rebuilt ledger in the place of one that is lost; older files stay as backups."""
        newest = max(self._generations(), default=0)
        self._start_generation(newest + 1, ledger)
        self._anchored = None
        self.anchor()

    def _open(self) -> Ledger | LedgerFault:
        found = self._recall()
        if isinstance(found, LedgerFault):
            return found
        if found is None:
            ledger = Ledger(Meta(site=self._site or secrets.token_hex(8)))
            self._start_generation(1, ledger)
        else:
            self._generation, recalled = found
            ledger = recalled.ledger
            self._continue(recalled)
            if recalled.aged:
                # Nothing in our words may follow where an older program would take it for damage.
                self._start_generation(self._generation + 1, ledger)
        self.anchor()
        return ledger

    def _recall(self) -> tuple[int, Recalled] | LedgerFault | None:
        """Return the generation in force and what it says; None when this site has never had one."""
        anchor = read_anchor(self._shared)
        if isinstance(anchor, LedgerFault):
            return anchor
        named = self._files.read(CURRENT, limit=64)
        if named is None:
            return self._never_began(anchor)
        generation = _generation(named)
        if generation is None:
            return _damaged(f"{CURRENT} names no generation")
        recalled = self._read(generation)
        if isinstance(recalled, LedgerFault):
            return recalled
        fault = compare(recalled.ledger, anchor)
        if fault is None and self._site not in {None, recalled.ledger.meta.site}:
            fault = LedgerFault(
                Fault.OTHER_SITE,
                f"the state directory belongs to site {recalled.ledger.meta.site}, not to site {self._site}",
                "correct the configured directories",
            )
        self._anchored = anchor
        return fault or (generation, recalled)

    def _never_began(self, anchor: Anchor | None) -> LedgerFault | None:
        if anchor is not None:
            return LedgerFault(
                Fault.MISSING,
                f"site {anchor.site} has come to entry {anchor.sequence}, but the state directory holds no ledger",
                "put the state directory back, or run `rayops recover`",
            )
        # A crash in the very first start leaves generation 1 without commits, and nothing that names it.
        generations = self._generations()
        first = self._read(1) if generations == (1,) else None
        unused = isinstance(first, Recalled) and first.ledger.sequence == 0 and first.size == first.snapshot_size
        return None if unused or not generations else _damaged(f"{CURRENT} is gone")

    def _read(self, generation: int) -> Recalled | LedgerFault:
        path = _path(generation)
        data = self._files.read(path, limit=_MAX_JOURNAL)
        return _damaged(f"{path} is gone") if data is None else read(data, path)

    def _continue(self, recalled: Recalled) -> None:
        self.dropped = recalled.dropped
        self._ledger, self._checksum, self._size = recalled.ledger, recalled.checksum, recalled.size
        self._plan_compaction(recalled.snapshot_size)
        # What was just read may be in the memory of this machine only: its writer may have died before its flush.
        self._doubt = True
        self._settle()
        if recalled.dropped:
            log.warning("ledger line dropped", extra={"bytes": recalled.dropped, "path": _path(self._generation)})

    def _in_force(self) -> Ledger:
        assert self._ledger is not None, "the ledger is not open"
        return self._ledger

    def _settle(self) -> None:
        """Make sure that the disk holds the ledger in force and nothing else."""
        path = _path(self._generation)
        if self._doubt:
            self._files.truncate(path, self._size)
            self._files.write(CURRENT, _names(self._generation))
            self._doubt = False
            return
        stamp = self._files.stamp(path)
        if stamp is None or stamp.size != self._size:
            raise FilesError(
                FailureKind.REFUSED,
                f"{path} is not as this daemon left it; stop what else writes there, then restart the daemon",
            )

    def _append(self, line: bytes) -> None:
        self._doubt = True
        try:
            self._files.append(_path(self._generation), line)
        except FilesError:
            # Best now: later the disk may be full for the repair, too. If it fails, the next commit tries again.
            with suppress(FilesError):
                self._settle()
            raise
        self._doubt = False

    def _compact(self, ledger: Ledger) -> None:
        try:
            self._start_generation(self._generation + 1, ledger)
        except FilesError as error:
            # The commit itself is safe. A full disk is asked again only after as much has been written once more.
            log.warning("ledger not compacted", extra={"error": error.message})
            self._plan_compaction(self._size)

    def _start_generation(self, generation: int, ledger: Ledger) -> None:
        data, checksum = snapshot(ledger, self._clock.now().wall)
        self._files.write(_path(generation), data)
        # From here on either generation may be in force until the switch is known to be on the disk.
        self._doubt = True
        self._files.write(CURRENT, _names(generation))
        self._doubt = False
        self._generation, self._ledger, self._checksum, self._size = generation, ledger, checksum, len(data)
        self._plan_compaction(len(data))
        with suppress(FilesError):  # what stays is removed by the next compaction
            for old in self._generations():
                if old < generation - 1:
                    self._files.remove(_path(old))

    def _plan_compaction(self, snapshot_size: int) -> None:
        # As much again as the snapshot: each record is then rewritten about once per commit at most.
        self._compact_at = snapshot_size + max(self._compact_after, snapshot_size)

    def _generations(self) -> tuple[int, ...]:
        found = (_JOURNAL.fullmatch(name) for name in self._files.list(FOLDER))
        return tuple(sorted(int(match[1]) for match in found if match))


def _path(generation: int) -> str:
    return f"{FOLDER}/journal-{generation}.jsonl"


def _names(generation: int) -> bytes:
    return orjson.dumps({"generation": generation}) + b"\n"


def _generation(named: bytes) -> int | None:
    match = re.fullmatch(rb'\{"generation":([1-9][0-9]{0,17})\}\n', named)
    return int(match[1]) if match else None


def _damaged(what: str) -> LedgerFault:
    return LedgerFault(Fault.CORRUPT, what, "restore the state directory, or run `rayops recover`")


def _unreadable(error: FilesError) -> LedgerFault:
    return LedgerFault(Fault.UNREADABLE, error.message, "it is tried again with each pass")
