"""Promise: readers are told everything in order, and whoever tells waits for no disk."""

import errno
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime

import orjson
import pytest

from reconciler.model.status import Event, Health, ObjectStatus, Sync
from reconciler.record.document import Overview
from reconciler.record.history import History
from reconciler.record.scribe import MOST_EVENTS, Scribe
from reconciler.record.status import StatusWriter
from tests.fakes.files import FakeFiles
from tests.record.clock import START, HandClock

VIEW = Overview(revision="c1")
SECONDS = 20.0


class HangingFiles(FakeFiles):
    """Files on a share that answers only while it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.answering = threading.Event()
        self.answering.set()
        self.asked = threading.Event()

    def write_many(self, files: Mapping[str, bytes]) -> None:
        self.asked.set()
        assert self.answering.wait(SECONDS)
        super().write_many(files)


class Place:
    """A status directory with its scribe."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self.files, clock = HangingFiles(), HandClock()
        self.scribe = Scribe(StatusWriter(self.files, clock), History(self.files, clock), pool)
        self._hands = pool

    def written(self) -> Future[None]:
        """Give what is done once all is written that the scribe was told so far."""
        return self._hands.submit(lambda: None)

    def told(self) -> dict[str, str]:
        """Return the state that each job's document names."""
        names = self.files.list("job/rl")
        return {name: orjson.loads(self.files.read(f"job/rl/{name}") or b"")["state"] for name in names}

    def history(self) -> list[str]:
        data = self.files.read("history/2026-03-01.jsonl", limit=1 << 28) or b""
        return [orjson.loads(line)["message"] for line in data.splitlines()]


@pytest.fixture
def place() -> Iterator[Place]:
    with ThreadPoolExecutor(1) as pool:
        made = Place(pool)
        yield made
        made.files.answering.set()


def job(name: str, state: str = "Running") -> ObjectStatus:
    return ObjectStatus("Job", "rl", name, "c1", "d1", state, Sync.SYNCED, Health.READY, "AsDesired", "")


def event(text: str, at: datetime = START) -> Event:
    return Event(at, "job/rl/a", "State", "New", text)


def test_who_tells_does_not_wait_for_a_directory_that_hangs(place: Place) -> None:
    place.files.answering.clear()
    place.scribe.tell([job("a")], [], VIEW, whole=True)
    assert place.files.asked.wait(SECONDS)
    for number in range(100):
        place.scribe.tell([job("a", f"state-{number}")], [], VIEW, whole=False)
        place.scribe.events([event(f"e{number}")])
    written = place.written()
    assert not written.done(), "nothing of this can have been written"
    place.files.answering.set()
    written.result(SECONDS)
    assert place.told() == {"a.json": "state-99"}
    assert place.history() == [f"e{number}" for number in range(100)]


def test_what_comes_last_about_an_object_holds(place: Place) -> None:
    place.files.answering.clear()
    place.scribe.tell([job("a"), job("b")], [], VIEW, whole=True)
    assert place.files.asked.wait(SECONDS)
    place.scribe.tell([job("a", "Succeeded"), job("c")], ["job/rl/b.json"], VIEW, whole=False)
    place.scribe.tell([job("b", "Queued")], ["job/rl/c.json"], VIEW, whole=False)
    place.files.answering.set()
    place.written().result(SECONDS)
    assert place.told() == {"a.json": "Succeeded", "b.json": "Queued"}


def test_all_there_is_leaves_nothing_else_though_it_waits_for_a_well_disk(place: Place) -> None:
    place.scribe.tell([job("old"), job("kept")], [], VIEW, whole=True)
    place.written().result(SECONDS)
    place.files.fail(errno.ENOSPC, times=100)
    place.scribe.tell([job("kept", "Queued")], [], VIEW, whole=True)
    place.written().result(SECONDS)
    place.files.mend()
    place.scribe.tell([job("new")], [], VIEW, whole=False)
    place.written().result(SECONDS)
    assert place.told() == {"kept.json": "Queued", "new.json": "Running"}


def test_events_beyond_what_memory_holds_are_dropped_the_oldest_first(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    place.files.answering.clear()
    place.scribe.tell([job("a")], [], VIEW, whole=True)
    assert place.files.asked.wait(SECONDS)
    place.scribe.events([event(f"e{number}") for number in range(MOST_EVENTS)])
    place.scribe.events([event("last")])
    place.files.answering.set()
    place.written().result(SECONDS)
    assert place.history()[0] == "e1"
    assert place.history()[-1] == "last"
    assert "events dropped" in caplog.text


def test_who_was_overtaken_writes_nothing_of_what_it_had_still_to_tell(place: Place) -> None:
    leads = True
    place.scribe.only_while(lambda: leads)
    place.scribe.tell([job("a")], [], VIEW, whole=True)
    place.written().result(SECONDS)
    before = dict(place.files.everything())
    leads = False
    place.scribe.tell([job("a", "other")], [], VIEW, whole=True)
    place.scribe.events([event("late")])
    place.scribe.beat(7, 7, "c7")
    place.written().result(SECONDS)
    assert dict(place.files.everything()) == before


class BrokenFiles(FakeFiles):
    """Files with a bug of ours in them."""

    def write_many(self, files: Mapping[str, bytes]) -> None:
        raise ZeroDivisionError("a bug of ours")


def test_a_bug_in_writing_ends_the_one_who_tells() -> None:
    with ThreadPoolExecutor(1) as pool:
        files, clock = BrokenFiles(), HandClock()
        scribe = Scribe(StatusWriter(files, clock), History(files, clock), pool)
        scribe.tell([job("a")], [], VIEW, whole=True)
        pool.submit(lambda: None).result(SECONDS)
        with pytest.raises(ZeroDivisionError):
            scribe.beat(1, 1, "c1")


def test_a_trouble_is_complained_about_once(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    place.files.fail(errno.EIO, times=10**6)
    for number in range(5):
        place.scribe.tell([job("a", f"s{number}")], [], VIEW, whole=False)
        place.written().result(SECONDS)
    assert caplog.text.count("not written") == 1
