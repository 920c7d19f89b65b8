import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.ledger import META_KEY, Change, Ledger, Meta, Table
from reconciler.record import journal
from reconciler.record.journal import Fault, LedgerFault, Recalled
from tests.record.clock import START
from tests.record.records import changes, one_change

PATH = "ledger/journal-1.jsonl"


def _file(*commits: list[Change], ledger: Ledger | None = None) -> tuple[bytes, list[Ledger]]:
    """Return a journal, and the ledger after its snapshot and after each commit."""
    ledgers = [ledger or Ledger(Meta(site="s1"))]
    data, checksum = journal.snapshot(ledgers[0], START)
    for each in commits:
        line, checksum = journal.commit_line(each, ledgers[-1].sequence + 1, START, checksum)
        data += line
        ledgers.append(ledgers[-1].apply(each))
    return data, ledgers


def _number(key: str, value: int) -> list[Change]:
    return [Change(Table.NUMBERS, key, value)]


def _recalled(data: bytes) -> Recalled:
    recalled = journal.read(data, PATH)
    assert isinstance(recalled, Recalled), recalled
    return recalled


@given(st.lists(changes(), max_size=4))
def test_every_record_comes_back_as_it_was_committed(commits: list[list[Change]]) -> None:
    data, ledgers = _file(*commits)
    recalled = _recalled(data)
    assert recalled.ledger == ledgers[-1]
    assert (recalled.size, recalled.dropped) == (len(data), 0)


@given(st.lists(one_change(), max_size=8))
def test_a_snapshot_means_the_ledger_it_was_made_of(some: list[Change]) -> None:
    ledger = Ledger(Meta(site="s1"), sequence=41).apply(some)
    data, _ = journal.snapshot(ledger, START)
    recalled = _recalled(data)
    assert recalled.ledger == ledger
    assert recalled.snapshot_size == len(data)


def test_a_large_snapshot_spans_many_lines_and_comes_back() -> None:
    ledger = Ledger(Meta(site="s1")).apply([Change(Table.NUMBERS, f"job/rl/j{i}", i) for i in range(1000)])
    data, _ = journal.snapshot(ledger, START)
    assert data.count(b"\n") > 5
    assert _recalled(data).ledger == ledger


def test_a_cut_at_any_byte_of_the_last_commit_leaves_the_commits_before_it() -> None:
    data, ledgers = _file(_number("a", 1), _number("b", 2))
    begin = data[:-1].rindex(b"\n") + 1
    for end in range(begin, len(data)):
        recalled = _recalled(data[:end])
        assert recalled.ledger == ledgers[-2]
        assert (recalled.size, recalled.dropped) == (begin, end - begin)


def test_the_zeros_that_some_file_systems_leave_after_a_crash_count_as_a_torn_line() -> None:
    data, ledgers = _file(_number("a", 1), _number("b", 2))
    begin = data[:-1].rindex(b"\n") + 1
    for torn in (b"\0" * 80, b"\0" * 80 + b"\n", b"\0" * 20 + data[begin + 20 :]):
        assert _recalled(data[:begin] + torn).ledger == ledgers[-2]


def test_a_cut_inside_the_snapshot_is_damage_because_a_snapshot_is_never_half_written() -> None:
    data, _ = _file()
    for end in range(len(data)):
        found = journal.read(data[:end], PATH)
        assert isinstance(found, LedgerFault)
        assert found.fault is Fault.CORRUPT


@given(st.data())
def test_a_changed_byte_never_gives_another_ledger(draw: st.DataObject) -> None:
    data, ledgers = _file(_number("a", 1), _number("b", 2), _number("a", 3))
    place = draw.draw(st.integers(0, len(data) - 1))
    other = draw.draw(st.integers(0, 255).filter(lambda b: b != data[place]))
    found = journal.read(data[:place] + bytes([other]) + data[place + 1 :], PATH)
    last_line = data[:-1].rindex(b"\n")
    if place < last_line:
        assert isinstance(found, LedgerFault)
    else:
        assert isinstance(found, LedgerFault) or found.ledger == ledgers[-2]


@pytest.mark.parametrize("other", [b"\0", b" ", b"}"])
def test_a_changed_break_between_the_last_two_lines_drops_none_of_them(other: bytes) -> None:
    data, _ = _file(_number("a", 1), _number("b", 2), _number("a", 3))
    place = data[:-1].rindex(b"\n")
    assert isinstance(journal.read(data[:place] + other + data[place + 1 :], PATH), LedgerFault)


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda lines: [*lines[:2], lines[3], lines[2]], id="two lines change places"),
        pytest.param(lambda lines: [*lines[:2], lines[3]], id="a line is missing"),
        pytest.param(lambda lines: [*lines[:3], lines[2], lines[3]], id="a line is there twice"),
        pytest.param(lambda lines: lines[1:], id="the header is missing"),
        pytest.param(lambda lines: [b"{}\n", *lines[1:]], id="the header is another"),
        pytest.param(lambda lines: [], id="nothing is left"),
    ],
)
def test_lines_that_were_moved_are_damage(spoil: object) -> None:
    assert callable(spoil)
    data, _ = _file(_number("a", 1), _number("b", 2))
    found = journal.read(b"".join(spoil(data.splitlines(keepends=True))), PATH)
    assert isinstance(found, LedgerFault)
    assert found.fault is Fault.CORRUPT
    assert PATH in found.message


def test_a_sequence_with_a_gap_is_damage_even_when_its_checksum_is_right() -> None:
    data, checksum = journal.snapshot(Ledger(Meta(site="s1")), START)
    line, checksum = journal.commit_line(_number("a", 1), 2, START, checksum)
    tail, _ = journal.commit_line(_number("a", 1), 3, START, checksum)
    found = journal.read(data + line + tail, PATH)
    assert isinstance(found, LedgerFault)
    assert found.fault is Fault.CORRUPT


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param({"set": {"numbers": {"a": 1}}, "extra": 1}, id="unknown field"),
        pytest.param({"set": {"nonsense": {"a": 1}}}, id="unknown table"),
        pytest.param({"set": {"numbers": {"a": True}}}, id="true for a number"),
        pytest.param({"set": {"numbers": {"a": "1"}}}, id="text for a number"),
        pytest.param({"set": {"drains": {"a": {"since": "today"}}}}, id="not a moment"),
        pytest.param({"set": {"clusters": {"a": {"epoch": 1, "head": None, "tail": None}}}}, id="unknown part"),
    ],
)
def test_an_entry_that_this_version_does_not_know_is_refused(entry: dict[str, object]) -> None:
    data, checksum = journal.snapshot(Ledger(Meta(site="s1")), START)
    line, _ = journal._seal({"sequence": 1, "at": START, **entry}, checksum)
    assert isinstance(journal.read(data + line, PATH), LedgerFault)


def test_a_ledger_of_a_newer_version_is_named_so() -> None:
    header, _ = journal._seal({"version": journal.VERSION + 1, "anything": "else"}, journal._SUM_START)
    found = journal.read(header, PATH)
    assert isinstance(found, LedgerFault)
    assert found.fault is Fault.NEWER_VERSION


@pytest.mark.parametrize("version", [1e308, 1.5, True, "2", None, [2], -1, 0])
def test_a_version_that_is_none_is_damage(version: object) -> None:
    header, _ = journal._seal({"version": version, "sequence": 0, "at": START, "lines": 1}, journal._SUM_START)
    found = journal.read(header, PATH)
    assert isinstance(found, LedgerFault)
    assert found.fault is Fault.CORRUPT


def test_a_line_is_json_that_people_can_read() -> None:
    data, _ = _file(_number("job/rl/ppo", 3))
    last = orjson.loads(data.splitlines()[-1])
    assert last["entry"]["set"] == {"numbers": {"job/rl/ppo": 3}}


def test_the_site_record_must_open_the_snapshot() -> None:
    header, checksum = journal._seal(
        {"version": journal.VERSION, "sequence": 0, "at": START, "lines": 1}, journal._SUM_START
    )
    line, _ = journal.commit_line(_number("a", 1), 0, START, checksum)
    assert isinstance(journal.read(header + line, PATH), LedgerFault)
    good, _ = journal.commit_line([Change(Table.META, META_KEY, Meta("s1"))], 0, START, checksum)
    assert _recalled(header + good).ledger.meta.site == "s1"
