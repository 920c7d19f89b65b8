import errno
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.status import Event
from reconciler.record import history
from reconciler.record.history import MAX_LINE, History
from reconciler.record.text import Redaction
from reconciler.remote.disk import DiskFiles
from reconciler.remote.files import Files
from tests.fakes.files import Crash, FakeFiles
from tests.record.clock import START, HandClock

TODAY = "history/2026-03-01.jsonl"


def _event(minute: int = 0, about: str = "job/rl/ppo", **changes: object) -> Event:
    said = {"type": "State", "reason": "New", "message": f"m{minute}", "revision": "c1", "numbers": {"gpus": 4}}
    return Event(START + timedelta(minutes=minute), about, **{**said, **changes})  # type: ignore[arg-type]  # as given


def _history(files: Files, *, keep: int = 90) -> History:
    return History(files, HandClock(), keep=timedelta(days=keep))


def _messages(files: Files, about: str | None = None, **bounds: datetime) -> list[str]:
    return [event.message for event in _history(files).backwards(about, **bounds)]


def test_events_come_back_the_newest_first() -> None:
    files = FakeFiles()
    events = [_event(i) for i in range(5)]
    assert _history(files).append(events[:2]) is None
    assert _history(files).append(events[2:]) is None
    assert list(_history(files).backwards()) == events[::-1]


def test_a_pass_without_events_touches_nothing() -> None:
    files = FakeFiles()
    assert _history(files).append([]) is None
    assert files.steps == 0


def test_a_pass_is_one_append() -> None:
    files = FakeFiles()
    story = _history(files)
    story.append([_event(0)])
    before = files.steps
    story.append([_event(i) for i in range(1, 500)])
    assert files.steps - before == 3  # open, write, flush


def test_an_event_is_in_the_file_of_its_own_day() -> None:
    files = FakeFiles()
    _history(files).append([_event(0), _event(12 * 60 - 1), _event(12 * 60)])
    assert files.list("history") == ("2026-03-01.jsonl", "2026-03-02.jsonl")
    assert _messages(files, since=datetime(2026, 3, 2, tzinfo=UTC)) == ["m720"]
    assert _messages(files, until=datetime(2026, 3, 1, 23, 59, tzinfo=UTC)) == ["m719", "m0"]


def test_one_object_is_found_among_others_whose_names_contain_its_own() -> None:
    files = FakeFiles()
    names = ["job/rl/ppo", "job/rl/ppo-2", "job/rl/pp", "cluster/main"]
    _history(files).append(
        [_event(i, name, message=f"of {name}", reason="job/rl/ppo") for i, name in enumerate(names)]
    )
    assert _messages(files, "job/rl/ppo") == ["of job/rl/ppo"]


def test_bounds_are_part_of_what_is_asked_for() -> None:
    files = FakeFiles()
    _history(files).append([_event(i) for i in range(6)])
    since, until = START + timedelta(minutes=2), START + timedelta(minutes=4)
    assert _messages(files, since=since, until=until) == ["m4", "m3", "m2"]


def test_as_of_tells_the_state_of_each_object_at_a_moment() -> None:
    files = FakeFiles()
    _history(files).append(
        [
            _event(0, reason="Queued"),
            _event(1, "cluster/main", reason="Ready"),
            _event(2, reason="Running"),
            _event(3, type="Hold", reason="HeadFull"),
            _event(9, reason="Succeeded"),
        ]
    )
    found = _history(files).as_of(START + timedelta(minutes=5))
    assert {name: event.reason for name, event in found.items()} == {
        "job/rl/ppo": "Running",
        "cluster/main": "Ready",
    }
    assert _history(files).as_of(START - timedelta(minutes=5)) == {}


def test_no_text_makes_a_second_line_or_keeps_a_secret() -> None:
    files = FakeFiles()
    story = History(files, HandClock(), Redaction("tok-SECRET-1"))
    forged = 'x\n{"at":"2026-03-01T12:00:00Z","object":"job/rl/ppo","type":"State"}\x1b[2J\u2028'
    story.append(
        [_event(0, message=forged + " tok-SECRET-1", reason="tok-SECRET-1", numbers={"t": "tok-SECRET-1\n"})]
    )
    data = files.read(TODAY)
    assert data is not None
    assert data.count(b"\n") == 1
    assert b"SECRET" not in data
    assert b"\x1b" not in data
    assert b"\\u001b" not in data
    assert "\u2028" not in data.decode()


def test_a_line_has_a_bound() -> None:
    files = FakeFiles()
    _history(files).append([_event(0, message="é" * 99_999, numbers={str(i): "x" * 1000 for i in range(99)})])
    assert len(files.read(TODAY) or b"") <= MAX_LINE
    assert len(list(_history(files).backwards())) == 1


def test_old_days_go_and_strange_names_stay() -> None:
    files = FakeFiles()
    strange = ("2025-02-31.jsonl", "notes.txt")
    for name in ("2026-01-01.jsonl", "2026-02-19.jsonl", "2026-02-18.jsonl", *strange):
        files.write(f"history/{name}", b"\n")
    _history(files, keep=10).append([_event()])
    assert files.list("history") == ("2025-02-31.jsonl", "2026-02-19.jsonl", "2026-03-01.jsonl", "notes.txt")


def test_a_day_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MAX_DAY", 1000)
    files = FakeFiles()
    story = _history(files)
    problems = [story.append([_event(i)]) for i in range(20)]
    assert problems[0] is None
    assert "full" in (problems[-1] or "")
    assert len(files.read(TODAY) or b"") <= 1000


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO])
@pytest.mark.parametrize("step", ["open", "write", "flush"])
def test_a_full_disk_costs_its_own_events_only(number: int, step: str) -> None:
    for seed in range(8):
        files = FakeFiles(seed)
        story = _history(files)
        story.append([_event(0)])
        files.fail(number, step=step, path=TODAY)
        assert story.append([_event(1)])
        assert story.append([_event(2)]) is None
        assert [m for m in _messages(files) if m != "m1"] == ["m2", "m0"]


@given(st.lists(st.integers(0, 12), max_size=8), st.integers(0, 1000))
def test_a_crash_tears_at_most_the_events_of_its_own_pass(crashes: list[int], seed: int) -> None:
    files = FakeFiles(seed)
    kept = []
    for number, step in enumerate(crashes):
        if step:
            files.die_at = files.steps + step
        try:
            assert _history(files).append([_event(number)]) is None
            kept.append(f"m{number}")
        except Crash:
            files.crash()
        files.die_at = None
    found = _messages(files)
    assert [message for message in found if message in kept] == kept[::-1]
    assert set(found) <= {f"m{i}" for i in range(len(crashes))}


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[]",
        b"7",
        b'{"at":7}',
        b'{"at":"2026-03-01T12:00:00Z"}',
        b'{"at":"2026-03-01T12:00:00","object":"a","type":"b","reason":"","message":"","revision":"","numbers":{}}',
        b'{"at":"2026-03-01T12:00:00Z","object":1,"type":"b","reason":"","message":"","revision":"","numbers":{}}',
        b'{"at":"2026-03-01T12:00:00Z","object":"a","type":"b","reason":"","message":"","revision":"","numbers":[]}',
        b"\xff\xfe",
        b"\0" * 300_000,
    ],
    ids=range(11),
)
def test_lines_that_are_not_ours_are_passed_over(line: bytes) -> None:
    files = FakeFiles()
    story = _history(files)
    story.append([_event(0)])
    files.append(TODAY, line + b"\n")
    _history(files).append([_event(1)])
    assert _messages(files) == ["m1", "m0"]


@given(st.lists(st.integers(0, 3000), max_size=12), st.integers(20, 2000))
def test_reading_backwards_gives_every_line_whatever_the_blocks(lengths: list[int], block: int) -> None:
    files = FakeFiles()
    texts = [f"{i}:" + "x" * min(length, 1900) for i, length in enumerate(lengths)]
    _history(files).append([_event(0, message=text) for text in texts])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(history, "_BLOCK", max(block, 1100))
        assert _messages(files) == texts[::-1]


def test_a_line_is_json_that_other_tools_read() -> None:
    files = FakeFiles()
    _history(files).append([_event(1)])
    assert orjson.loads(files.read(TODAY) or b"") == {
        "at": "2026-03-01T12:01:00.000Z",
        "object": "job/rl/ppo",
        "type": "State",
        "reason": "New",
        "message": "m1",
        "revision": "c1",
        "numbers": {"gpus": 4},
    }


def test_a_real_disk_keeps_history_the_same_way(tmp_path: Path) -> None:
    files = DiskFiles(tmp_path)
    story = _history(files)
    story.append([_event(0)])
    with (tmp_path / TODAY).open("ab") as torn:
        torn.write(b'{"at":')
    _history(files).append([_event(1)])
    assert _messages(files) == ["m1", "m0"]
