"""A moment, and the time between two of them."""

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Moment:
    """A point in time: `wall` (UTC) for people, `ticks` (seconds since boot `boot`) for durations."""

    wall: datetime
    boot: str
    ticks: float

    def since(self, earlier: "Moment") -> timedelta:
        """Return the time from `earlier` to this moment, never below zero.

        Within one boot the ticks decide, so that a wrong or corrected wall clock shortens no deadline; across
        boots only wall time is left.
        """
        if self.boot == earlier.boot:
            return timedelta(seconds=max(0.0, self.ticks - earlier.ticks))
        return max(timedelta(), self.wall - earlier.wall)

    def __add__(self, span: timedelta) -> "Moment":
        return Moment(self.wall + span, self.boot, self.ticks + span.total_seconds())

    def is_before(self, later: "Moment") -> bool:
        """Say whether this moment comes before `later`, by ticks where both have the same boot."""
        if self.boot == later.boot:
            return self.ticks < later.ticks
        return self.wall < later.wall


def earlier(one: Moment | None, other: Moment | None) -> Moment | None:
    """Return the one that comes first; None stands for never."""
    if one is None or other is None:
        return one or other
    return one if one.is_before(other) else other


def later(one: Moment, other: Moment) -> Moment:
    """Return the one that comes last."""
    return other if one.is_before(other) else one
