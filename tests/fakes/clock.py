"""A clock that is moved by hand."""

from datetime import UTC, datetime, timedelta
from threading import Event

from reconciler.model.moment import Moment

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


class FakeClock:
    """Implements `Clock`: wall time and ticks move together by `advance`, and apart by `set_wall` and `reboot`."""

    def __init__(self) -> None:
        self._now = Moment(START, "daemon-boot-1", 1000.0)
        self._boots = 1
        self._set = timedelta()

    def now(self) -> Moment:
        """Return this moment, with wall time and boot ticks."""
        return self._now

    def wait(self, event: Event, timeout: timedelta) -> bool:
        """Let the whole time pass at once; say whether `event` is set."""
        self.advance(timeout)
        return event.is_set()

    def advance(self, span: timedelta) -> None:
        """Let time pass."""
        self._now += span

    def set_wall(self, span: timedelta) -> None:
        """Let somebody set the wall clock by `span`, forward or back; durations do not change."""
        self._set += abs(span)
        self._now = Moment(self._now.wall + span, self._now.boot, self._now.ticks)

    @property
    def doubt(self) -> timedelta:
        """By how much a span may be misjudged: from one boot to another only the wall clock tells it."""
        return self._set if self._boots > 1 else timedelta()

    def reboot(self) -> None:
        """Start the machine again: ticks begin anew under another boot id."""
        self._boots += 1
        self._now = Moment(self._now.wall, f"daemon-boot-{self._boots}", 1.0)
