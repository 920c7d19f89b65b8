"""The only clock: wall time for people, boot ticks for durations."""

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Protocol

from reconciler.model.moment import Moment


class Clock(Protocol):
    """What a stage may ask about time; the simulator's clock is advanced by hand."""

    def now(self) -> Moment:
        """Return this moment, with wall time and boot ticks."""

    def wait(self, event: Event, timeout: timedelta) -> bool:
        """Wait until `event` is set or `timeout` has passed; say whether it is set."""


def _boot_id() -> str:
    # Linux: changes at every boot, so that ticks of two boots are never compared (proc(5), random/boot_id).
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


@dataclass(frozen=True)
class SystemClock:
    """The machine's clock. Ticks come from CLOCK_BOOTTIME: they count suspend and survive a restart of ours."""

    boot: str = field(default_factory=_boot_id)

    def now(self) -> Moment:
        """Return this moment, with wall time and boot ticks."""
        return Moment(wall=datetime.now(UTC), boot=self.boot, ticks=time.clock_gettime(time.CLOCK_BOOTTIME))

    def wait(self, event: Event, timeout: timedelta) -> bool:
        """Wait until `event` is set or `timeout` has passed; say whether it is set."""
        return event.wait(max(0.0, timeout.total_seconds()))
