import errno
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model.ledger import META_KEY, Change, Ledger, Meta, Table
from reconciler.model.outcome import FailureKind
from reconciler.record import journal
from reconciler.record.anchor import ANCHOR_PATH
from reconciler.record.journal import Fault, LedgerFault
from reconciler.record.ledger import CURRENT, LedgerStore
from reconciler.remote.disk import DiskFiles
from reconciler.remote.files import Files, FilesError
from tests.fakes.files import Crash, FakeFiles
from tests.record.clock import HandClock
from tests.record.records import changes

JOURNAL = "ledger/journal-1.jsonl"


def _store(state: Files, shared: Files, *, compact_after: int = 4 << 20, site: str | None = "s1") -> LedgerStore:
    return LedgerStore(state, shared, HandClock(), site=site, compact_after=compact_after)


def _opened(store: LedgerStore) -> Ledger:
    ledger = store.open()
    assert isinstance(ledger, Ledger), ledger
    return ledger


def _fault(state: Files, shared: Files) -> Fault:
    looked, found = _store(state, shared).look(), _store(state, shared).open()
    assert isinstance(found, LedgerFault), found
    assert looked == found
    assert found.message
    assert found.next_step
    return found.fault


def _number(key: str, value: int | None) -> list[Change]:
    return [Change(Table.NUMBERS, key, value)]


def _copy(source: FakeFiles) -> FakeFiles:
    """Return a disk that holds what `source` holds, as a backup does."""
    copy = FakeFiles()
    for folder in source.list(""):
        for name in source.list(folder):
            data = source.read(f"{folder}/{name}")
            assert data is not None
            copy.write(f"{folder}/{name}", data)
    return copy


def _used(state: Files, shared: Files, *, commits: int = 3) -> LedgerStore:
    store = _store(state, shared)
    _opened(store)
    for i in range(commits):
        store.commit(_number("job/rl/ppo", i))
    store.anchor()
    return store


def test_the_first_start_gives_the_site_an_identity_that_stays() -> None:
    state, shared = FakeFiles(), FakeFiles()
    first = _opened(_store(state, shared, site=None))
    assert len(first.meta.site) == 16
    assert _opened(_store(state, shared, site=None)) == first


def test_two_sites_have_different_identities() -> None:
    assert (
        _opened(_store(FakeFiles(), FakeFiles(), site=None)).meta.site
        != _opened(_store(FakeFiles(), FakeFiles(), site=None)).meta.site
    )


@given(
    st.lists(changes([t for t in Table if t is not Table.META]), max_size=6), st.sampled_from([1, 1000, 1 << 20])
)
def test_what_was_committed_is_there_after_a_restart(commits: list[list[Change]], compact_after: int) -> None:
    state, shared = FakeFiles(), FakeFiles()
    store = _store(state, shared, compact_after=compact_after)
    expected = _opened(store)
    for each in commits:
        expected = expected.apply(each)
        assert store.commit(each) == expected
    assert _opened(_store(state, shared)) == expected


def test_a_commit_without_changes_writes_nothing() -> None:
    state, shared = FakeFiles(), FakeFiles()
    store = _used(state, shared)
    before, steps = state.read(JOURNAL), state.steps
    store.commit([])
    assert state.read(JOURNAL) == before
    assert state.steps == steps + 1  # the read just made


def test_the_anchor_is_written_once_per_change_and_never_while_idle() -> None:
    state, shared = FakeFiles(), FakeFiles()
    store = _used(state, shared)
    assert shared.read(ANCHOR_PATH) == b'{"sequence":3,"site":"s1","term":0}\n'
    stamp = shared.stamp(ANCHOR_PATH)
    store.anchor()
    assert shared.stamp(ANCHOR_PATH) == stamp
    again = _store(state, shared)
    _opened(again)
    assert shared.stamp(ANCHOR_PATH) == stamp


Act = Callable[[FakeFiles, FakeFiles], object]


@pytest.mark.parametrize(
    ("act", "fault"),
    [
        pytest.param(lambda state, _: (state.remove(CURRENT), state.remove(JOURNAL)), Fault.MISSING, id="all gone"),
        pytest.param(lambda state, _: state.remove(CURRENT), Fault.MISSING, id="current gone"),
        pytest.param(lambda state, _: state.remove(JOURNAL), Fault.CORRUPT, id="journal gone"),
        pytest.param(lambda state, _: state.write(CURRENT, b"\0" * 17), Fault.CORRUPT, id="current rubbish"),
        pytest.param(
            lambda state, _: state.write(CURRENT, b'{"generation":7}\n'), Fault.CORRUPT, id="current wrong"
        ),
        pytest.param(lambda state, _: state.write(CURRENT, b"x" * 100), Fault.UNREADABLE, id="current huge"),
        pytest.param(lambda state, _: state.write(JOURNAL, b""), Fault.CORRUPT, id="journal empty"),
        pytest.param(lambda state, _: state.truncate(JOURNAL, 600), Fault.OLDER_THAN_WORLD, id="journal cut"),
        pytest.param(lambda _, shared: shared.remove(ANCHOR_PATH), Fault.NO_ANCHOR, id="anchor gone"),
        pytest.param(lambda _, shared: shared.write(ANCHOR_PATH, b"{}"), Fault.CORRUPT, id="anchor rubbish"),
        pytest.param(
            lambda _, shared: shared.write(ANCHOR_PATH, b'{"site":"s2","sequence":3,"term":0}'),
            Fault.OTHER_SITE,
            id="anchor of another site",
        ),
        pytest.param(
            lambda _, shared: shared.write(ANCHOR_PATH, b'{"site":"s1","sequence":3,"term":8}'),
            Fault.OLDER_THAN_WORLD,
            id="anchor of a later term",
        ),
        pytest.param(lambda state, _: state.fail(errno.EIO, times=9), Fault.UNREADABLE, id="disk broken"),
        pytest.param(lambda _, shared: shared.fail(errno.ESTALE, times=9), Fault.UNREADABLE, id="share broken"),
    ],
)
def test_a_ledger_that_cannot_be_trusted_is_not_used(act: Act, fault: Fault) -> None:
    state, shared = FakeFiles(), FakeFiles()
    _used(state, shared)
    act(state, shared)
    assert _fault(state, shared) is fault


def test_a_ledger_restored_from_yesterday_is_not_used() -> None:
    state, shared = FakeFiles(), FakeFiles()
    store = _used(state, shared)
    backup = _copy(state)
    store.commit(_number("job/rl/ppo", 9))
    store.anchor()
    assert _fault(backup, shared) is Fault.OLDER_THAN_WORLD


def test_journals_that_nothing_names_are_never_taken_for_a_first_start() -> None:
    state, shared = FakeFiles(), FakeFiles()
    _used(state, shared)
    state.remove(CURRENT)
    shared.remove(ANCHOR_PATH)
    assert _fault(state, shared) is Fault.CORRUPT


def test_a_configured_site_must_be_the_one_of_the_ledger() -> None:
    state, shared = FakeFiles(), FakeFiles()
    _used(state, shared)
    found = _store(state, shared, site="other").open()
    assert isinstance(found, LedgerFault)
    assert found.fault is Fault.OTHER_SITE


def test_looking_changes_nothing() -> None:
    state, shared = FakeFiles(), FakeFiles()
    assert _store(state, shared).look() == Ledger(Meta(site="s1"))
    assert (state.list("ledger"), shared.list(".rayops")) == ((), ())
    store = _used(state, shared)
    state.append(JOURNAL, b"torn")
    before = state.read(JOURNAL)
    assert _store(state, shared).look() == store.commit([])
    assert state.read(JOURNAL) == before


def test_a_torn_last_line_is_dropped_and_reported() -> None:
    state, shared = FakeFiles(), FakeFiles()
    expected = _used(state, shared).commit([])
    whole = state.read(JOURNAL)
    state.append(JOURNAL, b'{"sum":"0123')
    store = _store(state, shared)
    assert _opened(store) == expected
    assert store.dropped == 12
    assert state.read(JOURNAL) == whole


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
@pytest.mark.parametrize("step", ["open", "write", "flush"])
def test_a_commit_that_cannot_be_written_changes_nothing(number: int, step: str) -> None:
    state, shared = FakeFiles(seed=3), FakeFiles()
    store = _used(state, shared)
    before, value = state.read(JOURNAL), store.commit([])
    state.fail(number, step=step, path=JOURNAL)
    with pytest.raises(FilesError):
        store.commit(_number("b", 1))
    assert store.commit([]) == value
    assert state.read(JOURNAL) == before
    assert store.commit(_number("b", 1)).numbers["b"] == 1
    assert _opened(_store(state, shared)).numbers["b"] == 1


def test_nothing_is_committed_until_a_failed_write_is_repaired() -> None:
    state, shared = FakeFiles(seed=3), FakeFiles()
    store = _used(state, shared)
    before = state.read(JOURNAL)
    state.fail(errno.EIO, path=JOURNAL, times=3)
    state.fail(errno.EROFS, times=2)
    for _ in range(3):
        with pytest.raises(FilesError):
            store.commit(_number("b", 1))
    state.mend()
    value = store.commit(_number("c", 2))
    assert "b" not in value.numbers
    after = state.read(JOURNAL)
    assert after is not None
    assert before is not None
    assert after.startswith(before)
    assert _opened(_store(state, shared)) == value


@pytest.mark.parametrize(
    "act", [lambda s: s.remove(JOURNAL), lambda s: s.append(JOURNAL, b"another\n")], ids=["removed", "longer"]
)
def test_a_journal_that_somebody_else_touched_is_not_continued(act: Callable[[FakeFiles], object]) -> None:
    state, shared = FakeFiles(), FakeFiles()
    store = _used(state, shared)
    act(state)
    found = state.read(JOURNAL)
    for _ in range(2):
        with pytest.raises(FilesError) as error:
            store.commit(_number("b", 1))
        assert error.value.kind is FailureKind.REFUSED
    assert state.read(JOURNAL) == found


def test_compaction_keeps_the_ledger_and_one_backup() -> None:
    state, shared = FakeFiles(), FakeFiles()
    store = _store(state, shared, compact_after=1)
    _opened(store)
    sizes = []
    for i in range(200):
        value = store.commit(_number("job/rl/ppo", i))
        sizes.append(sum(len(state.read(f"ledger/{name}") or b"") for name in state.list("ledger")))
        assert len(state.list("ledger")) <= 3
    assert max(sizes) < 3000
    assert value.numbers == {"job/rl/ppo": 199}
    assert _opened(_store(state, shared)) == value


@pytest.mark.parametrize("path", ["ledger/journal-2.jsonl", CURRENT])
@pytest.mark.parametrize("step", ["open", "write", "flush", "name", "flush folder"])
def test_a_compaction_that_fails_loses_nothing_also_when_the_machine_dies_next(path: str, step: str) -> None:
    for seed in range(10):
        for commits in range(1, 8):
            state, shared = FakeFiles(seed), FakeFiles(seed)
            store = _store(state, shared, compact_after=1)
            _opened(store)
            state.fail(errno.ENOSPC, path=path, step=step)
            for i in range(commits):
                value = store.commit(_number("job/rl/ppo", i))
            state.crash()
            state.mend()
            assert _opened(_store(state, shared)) == value


def test_after_an_upgrade_an_older_program_says_that_the_ledger_is_newer(monkeypatch: pytest.MonkeyPatch) -> None:
    state, shared = FakeFiles(), FakeFiles()
    newest = journal.VERSION
    monkeypatch.setattr(journal, "VERSION", newest - 1)
    before = _used(state, shared).open()
    monkeypatch.setattr(journal, "VERSION", newest)
    upgraded = _store(state, shared)
    assert upgraded.open() == before
    upgraded.commit(_number("job", 9))
    assert _opened(_store(state, shared)).numbers["job"] == 9
    monkeypatch.setattr(journal, "VERSION", newest - 1)
    assert _fault(state, shared) is Fault.NEWER_VERSION


def test_a_rebuilt_ledger_replaces_a_lost_one_and_keeps_its_files() -> None:
    state, shared = FakeFiles(), FakeFiles()
    _used(state, shared)
    state.write(JOURNAL, b"rubbish")
    store = _store(state, shared)
    assert isinstance(store.open(), LedgerFault)
    rebuilt = Ledger(Meta(site="s1", term=4), sequence=50, numbers={"job/rl/ppo": 9})
    store.adopt(rebuilt)
    assert state.read(JOURNAL) == b"rubbish"
    value = store.commit(_number("job/rl/ppo", 10))
    store.anchor()
    assert _opened(_store(state, shared)) == value
    assert value.sequence == 51


def _script() -> list[list[Change]]:
    commits = [_number(f"job/rl/j{i % 3}", i) for i in range(8)]
    commits[4] = [Change(Table.META, META_KEY, Meta(site="s1", term=2)), *commits[4]]
    commits[6] = _number("job/rl/j1", None)
    return commits


class _World:
    """A daemon that commits a script, anchors after every second commit, and may die at any step of any disk."""

    def __init__(self, seed: int, compact_after: int) -> None:
        self.state, self.shared = FakeFiles(seed), FakeFiles(seed + 1)
        self.compact_after = compact_after
        self.accepted: list[Ledger] = []
        self.begun: list[Ledger] = []

    def live(self, commits: Sequence[list[Change]]) -> None:
        store = _store(self.state, self.shared, compact_after=self.compact_after)
        value = _opened(store)
        self.accepted = [value]
        self.begun = []
        for number, each in enumerate(commits):
            self.begun = [value.apply(each)]
            value = store.commit(each)
            self.accepted, self.begun = [value], []
            if number % 2:
                store.anchor()

    def reopen(self) -> Ledger:
        return _opened(_store(self.state, self.shared, compact_after=self.compact_after))


def _die(world: _World, disk: FakeFiles, step: int, run: Callable[[], object]) -> bool:
    """Run until the given step of a disk; say whether it died there."""
    disk.die_at = disk.steps + step
    try:
        run()
    except Crash:
        return True
    finally:
        for each in (world.state, world.shared):
            each.crash()
    return False


@pytest.mark.parametrize("where", ["state", "shared"])
@pytest.mark.parametrize("compact_after", [1, 1 << 20])
def test_a_crash_at_any_step_recovers_exactly_what_was_committed(where: str, compact_after: int) -> None:
    for seed in range(6):
        step, died = 1, True
        while died:
            world = _World(seed, compact_after)
            died = _die(world, getattr(world, where), step, lambda w=world: w.live(_script()))  # type: ignore[misc]  # bound now
            found = world.reopen()
            # A line that was whole when its writer died is an intent like any other: looking settles it.
            assert found in [*world.accepted, *world.begun] or (not world.accepted and found.sequence == 0)
            step += 1
        assert step > 20


@given(seed=st.integers(0, 10_000), first=st.integers(1, 120), second=st.integers(1, 30), compact=st.booleans())
@settings(max_examples=200)
def test_a_crash_during_recovery_loses_nothing_either(seed: int, first: int, second: int, *, compact: bool) -> None:
    world = _World(seed, 1 if compact else 1 << 20)
    _die(world, world.state, first, lambda: world.live(_script()))
    _die(world, world.state, second, world.reopen)
    found = world.reopen()
    assert found in [*world.accepted, *world.begun] or (not world.accepted and found.sequence == 0)
    later = _store(world.state, world.shared)
    _opened(later)
    assert later.commit(_number("after", 1)).sequence == found.sequence + 1


def test_a_cut_at_every_byte_of_the_journal_is_noticed_or_costs_only_the_uncommitted_line() -> None:
    state, shared = FakeFiles(), FakeFiles()
    store = _used(state, shared)
    value = store.commit(_number("job/rl/ppo", 3))  # not anchored yet
    data = state.read(JOURNAL)
    assert data is not None
    for end in range(len(data)):
        cut = _copy(state)
        cut.write(JOURNAL, data[:end])
        found = _store(cut, shared).open()
        if isinstance(found, Ledger):
            assert found.sequence == value.sequence - 1


def test_a_real_disk_keeps_the_ledger_the_same_way(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "shared").mkdir()
    state, shared = DiskFiles(tmp_path / "state"), DiskFiles(tmp_path / "shared")
    store = _store(state, shared, compact_after=1)
    _opened(store)
    for i in range(30):
        value = store.commit(_number("job/rl/ppo", i))
    store.anchor()
    with (tmp_path / "state" / "ledger" / max(state.list("ledger"))).open("ab") as journal:
        journal.write(b"torn")
    assert _opened(_store(state, shared)) == value
