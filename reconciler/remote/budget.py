"""The time that one call through a door may take, whatever it waits for."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from reconciler.clock import Clock


@dataclass(frozen=True, slots=True)
class Budget:
    """A moment on the boot clock after which a call is over; every wait inside the call asks what is left."""

    clock: Clock
    ends: float

    @classmethod
    def starting_now(cls, clock: Clock, timeout: timedelta) -> Self:
        """Return a budget of `timeout` that runs from this moment on."""
        return cls(clock, clock.now().ticks + max(0.0, timeout.total_seconds()))

    def left(self) -> float:
        """Return the seconds that are left, never less than zero."""
        return max(0.0, self.ends - self.clock.now().ticks)
