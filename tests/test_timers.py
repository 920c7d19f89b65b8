"""Promise: whatever happens to the machine's clock, what is periodic goes on."""

from datetime import datetime, timedelta, tzinfo
from threading import Event, Semaphore

import pytest
from apscheduler.schedulers import base

from reconciler.clock import SystemClock
from reconciler.daemon import Timers
from reconciler.model.moment import Moment

SECONDS = 20.0
PERIOD = timedelta(milliseconds=50)


class WrongClock:
    """A machine whose wall clock is wrong by so much; its ticks go on as they should."""

    def __init__(self) -> None:
        self.wrong = timedelta()
        self._real = SystemClock()

    def now(self) -> Moment:
        real = self._real.now()
        return Moment(real.wall + self.wrong, real.boot, real.ticks)

    def wait(self, event: Event, timeout: timedelta) -> bool:
        return self._real.wait(event, timeout)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> WrongClock:
    made = WrongClock()

    class Wall(datetime):
        """What the library of the timers asks."""

        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "Wall":
            there = made.now().wall.astimezone(tz)
            return cls.combine(there.date(), there.timetz())

    monkeypatch.setattr(base, "datetime", Wall)
    return made


@pytest.mark.parametrize("step", [timedelta(hours=-3), timedelta(seconds=-30), timedelta(hours=3)], ids=str)
def test_a_wall_clock_that_is_set_right_delays_no_timer(clock: WrongClock, step: timedelta) -> None:
    beats = Semaphore(0)
    with Timers(clock) as timers:
        timers.every(PERIOD, beats.release)
        assert beats.acquire(timeout=SECONDS)
        clock.wrong = step
        timers.keep_time()
        while beats.acquire(blocking=False):
            pass
        for _ in range(3):
            assert beats.acquire(timeout=SECONDS)


def test_timers_that_are_in_time_are_left_alone(clock: WrongClock) -> None:
    beats = Semaphore(0)
    with Timers(clock) as timers:
        timers.every(timedelta(hours=1), beats.release)
        for _ in range(100):
            timers.keep_time()
        assert not beats.acquire(timeout=0.1)
