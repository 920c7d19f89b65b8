"""The node program's own clock; what runs on machines stands alone."""

from __future__ import annotations

import time


def now() -> str:
    """Return this moment for people: UTC, ISO 8601."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def ticks() -> float:
    """Return seconds since boot: they never jump, and they count the time a machine was suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def pause(seconds: float) -> None:
    """Let other processes of the machine go on for a moment."""
    time.sleep(seconds)
