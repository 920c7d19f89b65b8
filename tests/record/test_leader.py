"""Who leads a site is said by files that others may delete: a leader notices, and never two of them act."""

import errno
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from reconciler.model.layout import SILENT_AFTER
from reconciler.record.leader import FOLDER, Leadership, living_leader
from reconciler.record.status import StatusWriter
from reconciler.remote.disk import DiskFiles
from tests.fakes.clock import FakeClock
from tests.fakes.files import FakeFiles

LATER = SILENT_AFTER + timedelta(seconds=1)


def leadership(root: Path, name: str) -> Leadership:
    return Leadership(DiskFiles(root), FakeClock(), name)


@dataclass
class Share:
    """What two daemons see of each other: a shared directory and a status directory."""

    shared: FakeFiles = field(default_factory=FakeFiles)
    status: FakeFiles = field(default_factory=FakeFiles)
    clock: FakeClock = field(default_factory=FakeClock)

    def led_by(self, name: str) -> Leadership:
        leader = Leadership(self.shared, self.clock, name)
        leader.take(0)
        return leader

    def beat(self, number: int = 1) -> None:
        assert StatusWriter(self.status, self.clock).beat(number, 7, "c1") is None

    def living(self) -> str:
        return living_leader(self.shared, self.status, self.clock, "us:1")


@pytest.fixture
def share() -> Share:
    return Share()


def test_every_leader_has_a_higher_term_and_ends_the_one_before(tmp_path: Path) -> None:
    first, second = leadership(tmp_path, "one"), leadership(tmp_path, "two")
    assert (first.take(0), first.lost_to()) == (1, None)
    assert (second.take(0), second.lost_to()) == (2, None)
    assert first.lost_to() == 2


def test_a_term_that_was_deleted_is_written_again(tmp_path: Path) -> None:
    leader = leadership(tmp_path, "one")
    leader.take(4)
    (tmp_path / FOLDER / "5").unlink()
    assert leader.lost_to() is None
    assert leadership(tmp_path, "two").take(0) == 6


def test_a_term_that_somebody_else_took_after_it_was_deleted_is_his(tmp_path: Path) -> None:
    first, second = leadership(tmp_path, "one"), leadership(tmp_path, "two")
    first.take(4)
    (tmp_path / FOLDER / "5").unlink()
    assert second.take(4) == 5
    assert (first.lost_to(), second.lost_to()) == (5, None)


def test_threads_that_find_the_term_deleted_do_not_take_each_other_for_another_leader(tmp_path: Path) -> None:
    leader = leadership(tmp_path, "one")
    leader.take(0)
    term, rounds = tmp_path / FOLDER / "1", 200
    together = threading.Barrier(4, timeout=20)

    def ask() -> list[int | None]:
        answers = []
        for _ in range(rounds):
            together.wait()
            answers.append(leader.lost_to())
            together.wait()
        return answers

    with ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(ask) for _ in range(3)]
        for _ in range(rounds):
            term.unlink()
            together.wait()
            together.wait()
    assert {answer for each in asked for answer in each.result()} == {None}


def test_a_term_that_is_lost_stays_lost_whatever_is_deleted(tmp_path: Path) -> None:
    first, second = leadership(tmp_path, "one"), leadership(tmp_path, "two")
    first.take(0)
    second.take(0)
    assert first.lost_to() == 2
    (tmp_path / FOLDER / "2").unlink()
    assert (first.lost_to(), first.holds()) == (2, False)


def test_nobody_leads_a_site_that_nobody_ever_led(share: Share) -> None:
    share.beat()
    assert share.living() == ""


def test_a_leader_lives_from_its_beginning_and_as_long_as_it_speaks(share: Share) -> None:
    share.led_by("one:1")
    assert share.living() == "one:1"
    share.clock.advance(LATER)
    assert share.living() == ""
    share.beat()
    assert share.living() == "one:1"
    share.clock.advance(LATER)
    assert share.living() == ""


def test_a_leader_that_left_is_not_waited_for_and_can_still_finish_its_sentence(share: Share) -> None:
    leader = share.led_by("one:1")
    share.beat()
    leader.leave()
    assert (share.living(), leader.lost_to()) == ("", None)
    assert share.led_by("two:1").take(0) == 3
    assert share.living() == "two:1"


def test_a_leader_that_was_overtaken_does_not_say_that_nobody_leads(share: Share) -> None:
    former = share.led_by("one:1")
    share.led_by("two:1")
    former.leave()
    assert share.living() == "two:1"


def test_a_daemon_that_may_not_act_is_no_leader_whatever_it_says(share: Share) -> None:
    share.led_by("one:1")
    share.clock.advance(LATER)
    share.beat(0)
    assert share.living() == ""


def test_nobody_waits_for_himself(share: Share) -> None:
    share.led_by("us:1")
    share.beat()
    assert share.living() == ""


def test_where_the_leader_cannot_be_read_whoever_speaks_to_readers_may_lead(share: Share) -> None:
    share.led_by("one:1")
    share.beat()
    share.shared.fail(errno.ESTALE, times=100)
    assert share.living() == "another daemon"
    share.clock.advance(LATER)
    assert share.living() == ""


@pytest.mark.parametrize("note", [b"", b"[]", b"\xff", b'{"leader": 1, "since": 5}'])
def test_a_note_that_says_nothing_leaves_the_heartbeat(share: Share, note: bytes) -> None:
    share.shared.write(f"{FOLDER}/1", note)
    assert share.living() == ""
    share.beat()
    assert share.living() in {"another daemon", "1"}
