"""The one moment at which all cases happen, and moments before it."""

from datetime import UTC, datetime

from reconciler.model.duration import read_duration
from reconciler.model.moment import Moment

NOW = Moment(datetime(2026, 3, 1, 12, 0, tzinfo=UTC), "boot-1", 1_000_000.0)


def ago(text: str) -> Moment:
    """Return the moment that lies so long before `NOW`: `90s`, `1h30m`."""
    span = read_duration(text)
    return Moment(NOW.wall - span, NOW.boot, NOW.ticks - span.total_seconds())


def maybe_ago(text: str | None) -> Moment | None:
    """Return the same, or None for nothing."""
    return ago(text) if text is not None else None


def moment(text: str) -> Moment:
    """Return the moment that `5m ago` or `in 5m` names."""
    span = read_duration(text.removeprefix("in ").removesuffix(" ago"))
    return NOW + (span if text.startswith("in ") else -span)
