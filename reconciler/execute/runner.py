"""Carry out actions, one attempt each, and hand back what became of them."""

import logging
import queue
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from typing import TypeAlias

from reconciler.kind import Do, Doors
from reconciler.model.effect import Effect, MachineEffect
from reconciler.model.finished import Finished
from reconciler.model.outcome import FailureKind, NotDone, Outcome
from reconciler.model.plan import Action
from reconciler.remote.files import FilesError

log = logging.getLogger(__name__)

# Hears of each moment in which a crash matters most, by its name; see app/failpoints.py.
Passing: TypeAlias = Callable[[str], None]


def go_on(_: str) -> None:
    """Pass a moment in which nobody wants a crash."""


class Runner:
    """Runs effects beside the loop, at most one per target. Without a pool, `start` returns when all are done.

    Waiting never blocks the loop: a slow effect stays in flight, and its target is left alone until it ends. What
    machines do has threads of its own, so that many of them that hang keep no job from being submitted.
    """

    def __init__(  # noqa: PLR0913 - each by its name, and by default nobody's concern
        self,
        doors: Doors,
        effects: Mapping[type[Effect], Do],
        pool: Executor | None,
        wake: Callable[[], None] = lambda: None,
        *,
        machines: Executor | None = None,
        passing: Passing = go_on,
        lost_to: Callable[[], int | None] = lambda: None,
    ) -> None:
        self._doors = doors
        self._effects = effects
        self._pool = pool
        self._machines = machines or pool
        self._wake = wake
        self._passing = passing
        self._lost_to = lost_to
        self._finished: queue.SimpleQueue[Finished] = queue.SimpleQueue()
        self._in_flight: dict[str, Action] = {}

    @property
    def in_flight(self) -> frozenset[str]:
        """The targets of effects that have begun and whose end was not yet handed back."""
        return frozenset(self._in_flight)

    def start(self, actions: Iterable[Action]) -> None:
        """Begin actions; their intents are on disk already."""
        for action in actions:
            assert action.pace not in self._in_flight, f"{action.pace} is already being worked on"
            self._in_flight[action.pace] = action
            pool = self._machines if isinstance(action.effect, MachineEffect) else self._pool
            if pool is None:
                self._run(action)
            else:
                pool.submit(self._run, action)

    def finished(self) -> list[Finished]:
        """Return what has ended since the last call."""
        ended = []
        while not self._finished.empty():
            each = self._finished.get()
            del self._in_flight[each.action.pace]
            ended.append(each)
        return ended

    def _run(self, action: Action) -> None:
        self._passing(f"before:{action.verb}")
        try:
            outcome = self._carry_out(action)
        except FilesError as error:
            # Files are written before anything is sent, so that nothing has happened yet.
            outcome = NotDone(error.kind, error.message)
        except Exception as error:
            log.exception("effect failed with a bug", extra={"target": str(action.target), "verb": action.verb})
            outcome = NotDone(FailureKind.BUG, f"{type(error).__name__} in {action.verb}; see the daemon's log")
        self._passing(f"after:{action.verb}")
        self._finished.put(Finished(action, outcome))
        self._wake()

    def _carry_out(self, action: Action) -> Outcome:
        """Do it, unless another daemon took over while it waited: Ray takes orders from anybody with the token."""
        if (term := self._lost_to()) is not None:
            return NotDone(FailureKind.REFUSED, f"another daemon leads this site now (term {term})")
        return self._effects[type(action.effect)](self._doors, action.effect)
