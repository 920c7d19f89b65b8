"""Who leads a site is said by files that others may delete: a leader notices, and never two of them act."""

from pathlib import Path

from reconciler.record.leader import FOLDER, Leadership
from reconciler.remote.disk import DiskFiles
from tests.fakes.clock import FakeClock


def leadership(root: Path, name: str) -> Leadership:
    return Leadership(DiskFiles(root), FakeClock(), name)


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
