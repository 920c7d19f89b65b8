"""Fail points: moments in which a daemon kills or stops itself, for those who try what a crash does.

`RAYOPS_FAIL_POINTS=kill@after:SubmitAttempt,stop@commit` names what to do where, each of it once. A point is a
moment of an effect, or one of a pass:

    before:<Effect>  its intent is in the ledger, and nothing was done
    after:<Effect>   it was done, and the loop does not know
    settle:<Effect>  the loop knows, and the ledger does not
    lead             the term was taken, and is not in the ledger
    commit           a pass has something to write into the ledger, and has not
    anchor           the ledger has it, and the shared directory does not know how far the ledger came
    status           the pass is over, and its status is not written
"""

import logging
import os
import signal
import threading

from reconciler.config import Misconfigured, nearest
from reconciler.execute.runner import Passing, go_on
from reconciler.kinds import ALL

log = logging.getLogger(__name__)

# Signals that no process can catch: what is held in memory is lost, or out of date when the process goes on.
ACTIONS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}
OF_EFFECTS = ("before", "after", "settle")
OF_PASSES = ("lead", "commit", "anchor", "status")


def points() -> tuple[str, ...]:
    """Return the names of all fail points."""
    effects = sorted(effect.__name__ for kind in ALL for effect in kind.effects)
    return (*(f"{moment}:{effect}" for effect in dict.fromkeys(effects) for moment in OF_EFFECTS), *OF_PASSES)


def fail_points(text: str) -> Passing:
    """Return what hears of each moment passed, and ends or stops this process where `text` says so.

    Raises Misconfigured when the text names something else.
    """
    if not text:
        return go_on
    armed = dict(_read(each.strip()) for each in text.split(","))
    log.warning("fail points are set: this daemon kills or stops itself", extra={"points": text})
    return _Armed(armed).passing


def _read(word: str) -> tuple[str, signal.Signals]:
    action, _, point = word.partition("@")
    if action not in ACTIONS:
        raise Misconfigured(f"RAYOPS_FAIL_POINTS: {word!r}: expected kill@POINT or stop@POINT")
    if point not in points():
        raise Misconfigured(f"RAYOPS_FAIL_POINTS: no such point {point!r} ({nearest(point, list(points()))})")
    return point, ACTIONS[action]


class _Armed:
    """Points that were not passed yet. Effects pass theirs in threads of their own."""

    def __init__(self, armed: dict[str, signal.Signals]) -> None:
        self._armed = armed
        self._lock = threading.Lock()

    def passing(self, point: str) -> None:
        with self._lock:
            number = self._armed.pop(point, None)
            if number is not None:
                log.warning("fail point reached", extra={"point": point, "signal": number.name})
                # Within the lock: of two effects that reach points at once, only one is the last.
                os.kill(os.getpid(), number)
