"""A gate without machines: a world that answers, and mishaps on the way to it and back."""

from collections.abc import Callable
from datetime import timedelta
from enum import StrEnum
from typing import TypeAlias

import orjson

from reconciler.model.json import JsonObject
from reconciler.model.machine import Machine
from reconciler.model.outcome import FailureKind, NotDone, Outcome, Unknown
from reconciler.remote.answer import Conversation

World: TypeAlias = Callable[[Machine, JsonObject], JsonObject | bytes | None]
"""What stands behind the gate: its answer document, raw bytes instead of one, or None when it never answers."""


class Mishap(StrEnum):
    """What can go wrong between us and a machine."""

    # Known at once (test_what_never_reached_the_machine_is_not_done).
    UNREACHABLE = "unreachable"
    # It accepts connections, and the banner never comes (test_what_never_reached_the_machine_is_not_done).
    SILENT = "silent"
    AUTH_DENIED = "auth denied"  # test_what_never_reached_the_machine_is_not_done
    HOST_KEY_CHANGED = "host key changed"  # test_what_never_reached_the_machine_is_not_done
    # Sent, never arrived: to us the same as a lost reply (test_what_ran_without_telling_how_it_ended_is_unknown).
    LOST_REQUEST = "lost request"
    # Arrived and done, no answer came back (test_what_ran_without_telling_how_it_ended_is_unknown).
    LOST_REPLY = "lost reply"
    # Arrived and done, half of the answer came back (test_anything_but_one_whole_answer_is_unknown).
    CUT_REPLY = "cut reply"
    # Done and answered, how it ended did not come back (test_what_ran_without_telling_how_it_ended_is_unknown).
    LOST_STATUS = "lost status"
    # Arrived twice (test_nobody_keeps_a_request_from_being_sent_twice).
    DUPLICATE = "duplicate"


NOT_SENT = {
    Mishap.UNREACHABLE: (FailureKind.TRANSIENT, "no route to host"),
    Mishap.SILENT: (FailureKind.TRANSIENT, "it accepts connections and says nothing"),
    Mishap.AUTH_DENIED: (FailureKind.REFUSED, "it does not accept the daemon's key"),
    Mishap.HOST_KEY_CHANGED: (FailureKind.REFUSED, "its host key has changed"),
}


class FakeGate:
    """Implements `Gate`; mishaps are told per machine and used up in order, the last one may stay for ever."""

    def __init__(self, world: World, pass_time: Callable[[timedelta], None] = lambda _: None) -> None:
        self._world = world
        self._pass_time = pass_time
        self._mishaps: dict[Machine, list[tuple[Mishap, int | None]]] = {}
        self.arrived: list[tuple[Machine, JsonObject]] = []
        self.closed = False

    def script(self, machine: Machine, mishap: Mishap, times: int | None = None) -> None:
        """Let the next `times` calls to a machine go wrong; without a number, all of them until `mend`."""
        self._mishaps.setdefault(machine, []).append((mishap, times))

    def mend(self, machine: Machine) -> None:
        """Let calls to a machine go right again."""
        self._mishaps.pop(machine, None)

    def call(self, machine: Machine, request: JsonObject, timeout: timedelta) -> Outcome:
        """Carry the request to the world, unless something happens to it."""
        talk = Conversation.of(machine, request)
        if isinstance(talk, NotDone):
            return talk
        mishap = self._next(machine)
        if mishap in {Mishap.SILENT, Mishap.LOST_REQUEST}:
            self._pass_time(timeout)
        if mishap in NOT_SENT:
            kind, why = NOT_SENT[mishap]
            return NotDone(kind, f"{machine}: {why}")
        if mishap is Mishap.LOST_REQUEST:
            return Unknown(f"{machine}: no answer within the time limit")
        if mishap is Mishap.DUPLICATE:
            self._deliver(machine, talk)
        answer = self._deliver(machine, talk)
        if answer is None or mishap is Mishap.LOST_REPLY:
            self._pass_time(timeout)
            return Unknown(f"{machine}: no answer within the time limit")
        status = -1 if mishap is Mishap.LOST_STATUS else 0
        return talk.outcome(answer[: len(answer) // 2] if mishap is Mishap.CUT_REPLY else answer, status, b"")

    def close(self) -> None:
        """Remember that it was closed."""
        self.closed = True

    def _next(self, machine: Machine) -> Mishap | None:
        waiting = self._mishaps.get(machine)
        if not waiting:
            return None
        mishap, times = waiting[0]
        if times is not None:
            waiting[0] = (mishap, times - 1)
            if times <= 1:
                waiting.pop(0)
        return mishap

    def _deliver(self, machine: Machine, talk: Conversation) -> bytes | None:
        request = orjson.loads(talk.document)
        self.arrived.append((machine, request))
        answer = self._world(machine, request)
        return answer if answer is None or isinstance(answer, bytes) else orjson.dumps(answer)
