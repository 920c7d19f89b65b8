from datetime import timedelta
from threading import Event

import pytest

from reconciler.clock import SystemClock
from reconciler.source.lane import Hung, Lane

LONG, BRIEF = timedelta(seconds=30), timedelta(milliseconds=20)


def test_work_gives_its_result_or_its_failure() -> None:
    lane = Lane(SystemClock())
    assert lane.run(lambda: 7, LONG) == 7
    with pytest.raises(ZeroDivisionError):
        lane.run(lambda: 1 // 0, LONG)
    assert lane.run(lambda: 8, LONG) == 8
    lane.close()


def test_work_behind_hung_work_is_refused_at_once_and_never_done() -> None:
    lane, release, late = Lane(SystemClock()), Event(), []
    with pytest.raises(Hung):
        lane.run(lambda: release.wait(30), BRIEF)
    with pytest.raises(Hung):
        lane.run(lambda: late.append("too late"), LONG)
    release.set()
    while True:
        try:
            assert lane.run(lambda: 9, LONG) == 9
            break
        except Hung:
            continue
    assert late == []
    lane.close()
