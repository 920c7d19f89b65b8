"""A source in a thread of its own: what its caller gets while the remote takes its time."""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from threading import Event

import pytest

from reconciler.clock import SystemClock
from reconciler.model.snapshot import Snapshot, SourceFault, SourceProblem
from reconciler.source.apart import Apart
from reconciler.source.git import GitSource
from reconciler.source.git_setup import GitSettings
from tests.fakes.source import FakeSource, blob_id
from tests.gitremote import processes_with
from tests.source.test_git import dripping

SHORT = timedelta(seconds=0.1)
LONG = timedelta(seconds=20)


class Slow(FakeSource):
    """A source whose remote takes its time; `hang` makes it take for ever."""

    def __init__(self) -> None:
        super().__init__()
        self.answers = Event()
        self.answers.set()

    def latest(self, applied: str | None, accepted: frozenset[str] = frozenset()) -> Snapshot | SourceProblem:
        assert self.answers.wait(LONG.total_seconds())
        return super().latest(applied, accepted)


class Asked:
    """A slow source, what asks it, and whether that was woken."""

    def __init__(self, patience: timedelta = SHORT) -> None:
        self.slow, self.woken = Slow(), Event()
        self.apart = Apart(self.slow, SystemClock(), patience, self.woken.set, Event())


@pytest.fixture
def asked() -> Iterator[Asked]:
    made = Asked()
    yield made
    made.slow.answers.set()
    made.apart.close()
    assert made.slow.closed


def test_a_prompt_answer_wakes_nobody() -> None:
    asked = Asked(LONG)
    revision = asked.slow.commit({"a.yaml": b"1"})
    for _ in range(20):
        found = asked.apart.latest(None)
        assert isinstance(found, Snapshot)
        assert found.revision == revision
    assert not asked.woken.is_set()
    assert asked.slow.looks == 20


def test_a_source_that_is_busy_gives_no_contents(asked: Asked) -> None:
    asked.slow.commit({"a.yaml": b"1"})
    assert isinstance(asked.apart.latest(None), Snapshot)
    assert asked.apart.read([blob_id(b"1")]) == {blob_id(b"1"): b"1"}
    asked.slow.answers.clear()
    assert isinstance(asked.apart.latest(None), SourceProblem)
    assert asked.apart.read([blob_id(b"1")]) == {}


def test_a_remote_that_hangs_is_told_and_its_answer_taken_when_it_comes(asked: Asked) -> None:
    first = asked.slow.commit({"a.yaml": b"1"})
    asked.slow.answers.clear()
    for _ in range(3):
        said = asked.apart.latest(None)
        assert isinstance(said, SourceProblem)
        assert said.fault is SourceFault.UNREACHABLE
        assert "no answer yet" in said.message
    asked.slow.answers.set()
    assert asked.woken.wait(LONG.total_seconds())
    found = asked.apart.latest(None)
    assert isinstance(found, Snapshot)
    assert found.revision == first
    assert asked.slow.looks == 1, "one question at a time, and its answer is used"


def test_the_last_answer_stands_until_the_next_one_is_late(asked: Asked) -> None:
    first = asked.slow.commit({"a.yaml": b"1"})
    good = asked.apart.latest(None)
    asked.slow.answers.clear()
    assert isinstance(asked.apart.latest(first), SourceProblem), "it was waited for, in vain"
    asked.slow.answers.set()
    assert asked.woken.wait(LONG.total_seconds())
    assert asked.apart.latest(first) is good
    # A fault stands too: while it is asked about, it is not told as something new.
    asked.slow.delete_branch()
    gone = asked.apart.latest(first)
    asked.slow.answers.clear()
    assert isinstance(gone, SourceProblem)
    assert [asked.apart.latest(first) for _ in range(3)] == [gone] * 3


def test_after_a_late_answer_nobody_waits_until_one_was_prompt() -> None:
    asked, clock = Asked(timedelta(seconds=1)), SystemClock()
    first = asked.slow.commit({"a.yaml": b"1"})
    asked.slow.answers.clear()
    asked.apart.latest(None)
    asked.slow.answers.set()
    assert asked.woken.wait(LONG.total_seconds())
    good = asked.apart.latest(None)
    for waited in (False, True):
        asked.slow.answers.clear()
        asked.woken.clear()
        began = clock.now()
        answer = asked.apart.latest(first)
        assert (clock.now().since(began) >= timedelta(seconds=1)) is waited
        assert waited or answer is good, "the old answer is not old yet"
        asked.slow.answers.set()
        assert asked.woken.wait(LONG.total_seconds())
        assert asked.apart.latest(first) is good
    asked.apart.close()


def test_what_was_in_force_is_there_before_the_remote_answers(asked: Asked) -> None:
    first = asked.slow.commit({"a.yaml": b"1"})
    asked.slow.answers.clear()
    found = asked.apart.at(first)
    assert isinstance(found, Snapshot)
    assert len(asked.apart.read(list(found.files.values()))) == 1
    asked.apart.latest(first)
    assert isinstance(asked.apart.at(first), SourceProblem), "it is busy with the remote"


def test_a_bug_in_the_source_is_raised_where_it_was_asked(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(applied: str | None, accepted: frozenset[str] = frozenset()) -> Snapshot:
        raise ZeroDivisionError

    monkeypatch.setattr(asked.slow, "latest", broken)
    with pytest.raises(ZeroDivisionError):
        asked.apart.latest(None)


def test_closing_waits_for_no_remote_and_leaves_no_process(tmp_path: Path) -> None:
    with ExitStack() as stack:
        port = stack.enter_context(dripping())
        called_off, clock = Event(), SystemClock()
        settings = GitSettings(url=f"http://127.0.0.1:{port}/x.git", state=tmp_path / "state", allow_http=True)
        git = GitSource(settings, clock, called_off)
        apart = Apart(git, clock, timedelta(seconds=1), lambda: None, called_off)
        assert isinstance(apart.latest(None), SourceProblem)
        began = clock.now()
        apart.close()
        assert clock.now().since(began) < timedelta(seconds=3)
        assert processes_with(str(tmp_path / "state")) == []
