"""A clock that stands until it is moved."""

from datetime import UTC, datetime, timedelta
from threading import Event

from reconciler.model.moment import Moment

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


class HandClock:
    """Implements `Clock` for the record stage: time moves by `advance` only."""

    def __init__(self) -> None:
        self._now = Moment(START, "boot-1", 1000.0)

    def now(self) -> Moment:
        return self._now

    def wait(self, event: Event, timeout: timedelta) -> bool:
        self.advance(timeout)
        return event.is_set()

    def advance(self, span: timedelta) -> None:
        self._now += span
