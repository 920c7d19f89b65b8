"""One thread for file calls that may hang: a dead network file system blocks the lane, never the caller."""

from collections.abc import Callable
from datetime import timedelta
from queue import SimpleQueue
from threading import Event, Thread
from typing import TypeVar

from reconciler.clock import Clock

T = TypeVar("T")


class Hung(Exception):
    """The work has not come back in time, or earlier work still has not."""


class Lane:
    """Runs one piece of work at a time. Python cannot interrupt a call that hangs in the kernel, only leave it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._queue: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._last = Event()
        self._last.set()
        self._thread: Thread | None = None

    def run(self, work: Callable[[], T], limit: timedelta) -> T:
        """Return what `work` returns, or raise what it raises; `Hung` when it takes too long.

        Work that hangs goes on in its thread, so it must change nothing that others use.
        """
        if not self._last.is_set():
            raise Hung
        results: list[T] = []
        failures: list[Exception] = []
        done = Event()

        def carry_out() -> None:
            try:
                results.append(work())
            except Exception as failure:  # noqa: BLE001 - carried over to the caller's thread and raised there
                failures.append(failure)
            finally:
                done.set()

        self._last = done
        self._serve(carry_out)
        if not self._clock.wait(done, limit):
            raise Hung
        if failures:
            raise failures[0]
        return results[0]

    def close(self) -> None:
        """Let the thread end once its work is done."""
        self._queue.put(None)
        self._thread = None

    def _serve(self, work: Callable[[], None]) -> None:
        if self._thread is None:
            # A daemon thread: a hung call must not keep the process from ending.
            self._thread = Thread(target=self._go_on, name="source-lane", daemon=True)
            self._thread.start()
        self._queue.put(work)

    def _go_on(self) -> None:
        while (work := self._queue.get()) is not None:
            work()
