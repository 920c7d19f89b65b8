from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.execute.backoff import after_failure
from reconciler.model.ledger import Backoff
from reconciler.model.moment import Moment
from reconciler.model.outcome import FailureKind, NotDone
from reconciler.model.world import Tuning

NOW = Moment(datetime(2026, 3, 1, tzinfo=UTC), "boot-1", 500.0)
TUNING = Tuning(backoff_base=timedelta(seconds=4), backoff_cap=timedelta(minutes=2))
PASSING = [FailureKind.TRANSIENT, FailureKind.REFUSED]
LASTING = [FailureKind.INVALID, FailureKind.BUG]


def _fail(
    times: int, kind: FailureKind = FailureKind.TRANSIENT, *, target: str = "slot/a", tuning: Tuning = TUNING
) -> Backoff:
    backoff = None
    for _ in range(times):
        backoff = after_failure(backoff, NotDone(kind, "no route"), target, "d1", NOW, tuning)
    assert backoff is not None
    return backoff


def _wait(backoff: Backoff) -> float:
    assert backoff.until is not None
    return backoff.until.since(NOW).total_seconds()


@pytest.mark.parametrize(
    ("failures", "longest"), [(1, 4), (2, 8), (3, 16), (4, 32), (5, 64), (6, 120), (7, 120), (5000, 120)]
)
@pytest.mark.parametrize("kind", PASSING)
def test_waits_double_up_to_the_cap_and_are_spread_below_it(failures: int, longest: int, kind: FailureKind) -> None:
    backoff = _fail(failures, kind)
    assert backoff.failures == failures
    assert longest / 2 <= _wait(backoff) <= longest


@given(st.text(), st.integers(1, 200), st.timedeltas(timedelta(0), timedelta(days=400)))
def test_every_wait_is_bounded_and_the_same_again(target: str, failures: int, base: timedelta) -> None:
    tuning = Tuning(backoff_base=base, backoff_cap=timedelta(minutes=2))
    before = Backoff(failures - 1, FailureKind.TRANSIENT, "m", "d1", NOW, NOW)
    first, second = (
        after_failure(before, NotDone(FailureKind.TRANSIENT, "m"), target, "d1", NOW, tuning) for _ in range(2)
    )
    assert first == second
    assert 0 <= _wait(first) <= 120


def test_targets_that_fail_together_do_not_come_back_together() -> None:
    waits = sorted(_wait(_fail(6, target=f"slot/n{i}")) for i in range(500))
    assert len({round(w, 1) for w in waits}) > 250
    assert waits[0] < 70
    assert waits[-1] > 110


@pytest.mark.parametrize("kind", LASTING)
def test_what_only_an_edit_mends_has_no_moment(kind: FailureKind) -> None:
    assert _fail(1, kind).until is None


def test_an_edit_starts_afresh() -> None:
    again = after_failure(_fail(9), NotDone(FailureKind.TRANSIENT, "m"), "slot/a", "d2", NOW, TUNING)
    assert again.failures == 1
    assert _wait(again) <= 4


def test_a_message_is_kept_for_the_status() -> None:
    assert (_fail(2).message, _fail(2).last) == ("no route", NOW)
