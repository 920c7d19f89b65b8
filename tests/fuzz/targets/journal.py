"""The daemon's own memory, damaged: the ledger's journal and the cache of what was good last."""

import json
import re
from collections.abc import Iterable, Mapping
from functools import cache

from reconciler.desired.cache import FILE, Cache, Kept
from reconciler.desired.load import Loader
from reconciler.model.ledger import Change, Ledger, Meta, Table
from reconciler.model.snapshot import Snapshot
from reconciler.record import journal
from reconciler.record.journal import Fault, LedgerFault, Recalled
from tests.fakes.clock import START
from tests.fakes.files import FakeFiles
from tests.fuzz.engine import Broken
from tests.fuzz.target import ROOT, Target
from tests.kinds.shorthand import cases_in, world_of

PATH = "ledger/journal-1.jsonl"
COMMITS = 6


@cache
def genuine() -> tuple[bytes, Mapping[int, Ledger]]:
    """Return a journal, and by its length at the end of each line the ledger that it means there."""
    records = _records()
    ledger = Ledger(Meta("site-1", 3, "r1"), sequence=7).apply(records[:4])
    data, checksum = journal.snapshot(ledger, START)
    meanings = {len(data): ledger}
    for number in range(COMMITS):
        # Each takes something back, so that a lost or doubled line would show.
        changes = [records[4 + number], Change(Table.NUMBERS, "job/rl/ppo", number)]
        line, checksum = journal.commit_line(changes, ledger.sequence + 1, START, checksum)
        ledger = ledger.apply(changes)
        data += line
        meanings[len(data)] = ledger
    return data, meanings


def _records() -> list[Change]:
    """Return records of every table, as case files have them."""
    found: dict[tuple[Table, str], Change] = {}
    for folder in sorted((ROOT / "tests" / "kinds").glob("*/cases")):
        for _, case in cases_in(folder):
            changes = world_of(case).ledger.dump()
            found.update({(each.table, each.key): each for each in changes if each.table is not Table.META})
    few = {table: [each for (where, _), each in found.items() if where is table][:3] for table in Table}
    return [each for records in few.values() for each in records]


def check_journal(data: bytes) -> None:
    """Read a journal that may be damaged."""
    found = journal.read(data, PATH)
    good, meanings = genuine()
    if isinstance(found, LedgerFault):
        if data == good:
            raise Broken(f"a good one is refused: {found}")
        return
    if found.size not in meanings or data[: found.size] != good[: found.size]:
        raise Broken("another ledger: a changed journal is read")
    if found.ledger != meanings[found.size]:
        raise Broken("another ledger: a journal is read for one that it does not say")
    torn = data[found.size :]
    if torn.endswith(b"\n") and _is_json(torn):
        raise Broken("a whole line dropped: one that was changed is taken for torn")
    if found.dropped != len(torn) or torn.count(b"\n") > 1 or b"\n" in torn[:-1]:
        raise Broken("too much dropped: more than the torn last line is passed over")


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


# More than 64 bits: the writer has no such numbers, so that no checksum of ours is over one.
_NO_NUMBER_OF_OURS = re.compile(rb"[0-9]{20}")


def check_entries(data: bytes) -> None:
    """Read lines that have good checksums, whatever they say: of another version, or of a hand with a program."""
    sealed, checksum = b"", journal._SUM_START
    for payload in data.split(b"\n"):
        checksum = journal._checksum(checksum, payload)
        sealed += journal._PREFIX + checksum.encode() + journal._MIDDLE + payload + b"}\n"
    found = journal.read(sealed, PATH)
    if isinstance(found, LedgerFault):
        if found.fault not in {Fault.CORRUPT, Fault.NEWER_VERSION} or len(str(found)) > 400:
            raise Broken(f"no word for it: {found}")
        return
    if _NO_NUMBER_OF_OURS.search(data):
        return
    written, _ = journal.snapshot(found.ledger, START)
    again = journal.read(written, PATH)
    if not isinstance(again, Recalled) or again.ledger != found.ledger:
        raise Broken(f"not again: a ledger that was read is written in a way that is not: {again}")


def entries() -> Iterable[bytes]:
    """Give the genuine journal without its checksums."""
    data, _ = genuine()
    yield b"\n".join(line[journal._ENTRY_AT : -1] for line in data.splitlines())


def check_cache(data: bytes) -> None:
    """Load a cache that may be damaged."""
    files = FakeFiles()
    files.write(FILE, data)
    found = Cache(files).load()
    meanings = _cached()[1]
    whole = data[: data.rfind(b"\n") + 1]
    if found not in [Kept({}, None), meanings.get(whole)]:
        raise Broken("another state: a changed cache is read")


@cache
def _cached() -> tuple[bytes, Mapping[bytes, Kept]]:
    """Return a cache as loads of three revisions leave it, and what each whole-lined beginning of it means."""
    files = FakeFiles()
    loader = Loader(files)
    tree = ROOT / "state-repo-template"
    contents = {str(path.relative_to(tree)): path.read_bytes() for path in sorted(tree.rglob("*.yaml"))}
    job = "teams/rl/jobs/hello.yaml"
    edited = {**contents, job: contents[job].replace(b"priority: low", b"priority: high") + b"# edited\n"}
    for number, tree_now in enumerate((contents, edited, {p: c for p, c in edited.items() if p != job})):
        by_id = {f"{number if path == job else 0}:{path}": content for path, content in tree_now.items()}
        paths = {each.partition(":")[2]: each for each in by_id}
        loader.load(Snapshot(f"r{number}", paths), lambda ids, known=by_id: {i: known[i] for i in ids})  # type: ignore[misc]
        loader.keep()
    data = files.read(FILE)
    assert data is not None, "the loader keeps what was good"
    lines = data.splitlines(keepends=True)
    prefixes = [b"".join(lines[: n + 1]) for n in range(len(lines))]
    return data, {prefix: _loaded(prefix) for prefix in prefixes}


def _loaded(data: bytes) -> Kept:
    files = FakeFiles()
    files.write(FILE, data)
    return Cache(files).load()


TARGETS = (
    Target(
        "journal",
        "a damaged journal is refused, or read as it was before the torn last line",
        check_journal,
        lambda: (genuine()[0],),
    ),
    Target(
        "entries",
        "a journal with good checksums is read into a ledger that can be written again, or refused",
        check_entries,
        entries,
    ),
    Target(
        "cache",
        "a damaged cache is read as nothing, or as it was before its last lines",
        check_cache,
        lambda: (_cached()[0],),
    ),
)
