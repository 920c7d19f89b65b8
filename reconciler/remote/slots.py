"""Read what a machine's gate says about slots and claims. Its answers are hostile input."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from reconciler.model.json import JsonObject
from reconciler.model.machine import Machine
from reconciler.model.moment import Moment
from reconciler.model.outcome import Done, NotDone, Outcome, Unknown
from reconciler.model.sighting import Present, Sighting, Unreachable
from reconciler.model.world import ClaimState, SlotId, SlotSeen, SlotState

Ask: TypeAlias = Callable[[Machine, str, JsonObject], Outcome]
MESSAGE_LIMIT = 2000
LOG_LIMIT = 4096
COUNT_LIMIT = 1 << 40


def see_slot(ask: Ask, machine: Machine, slot: SlotId, now: Moment) -> Sighting[SlotSeen]:
    """Ask a machine about one slot of its own."""
    wanted = {"cluster": slot.cluster, "role": slot.role.value, "node": slot.node}
    match ask(machine, "probe", {"slots": [wanted]}):
        case Done(result=result):
            return _slot(result, wanted, now)
        case NotDone(message=message) | Unknown(message=message):
            return Unreachable(message, now)


def _slot(result: Mapping[str, Any], wanted: Mapping[str, str], now: Moment) -> Sighting[SlotSeen]:
    slots = result.get("slots")
    for each in slots if isinstance(slots, list) else []:
        if isinstance(each, dict) and {key: each.get(key) for key in wanted} == wanted:
            try:
                state = SlotState(str(each.get("state")))
            except ValueError:
                return Unreachable("its gate answers with a state that this version does not know", now)
            seen = SlotSeen(
                state,
                _count(each.get("epoch")),
                _count(each.get("generation")),
                str(each.get("message") or "")[:MESSAGE_LIMIT],
                str(each.get("log") or "")[-LOG_LIMIT:],
            )
            return Present(seen, now)
    return Unreachable("its gate did not answer for the slot that was asked for", now)


def _count(told: object) -> int | None:
    # Ours counts on from it: a machine that says more than can be would use up the numbers of its name for ever.
    believed = isinstance(told, int) and not isinstance(told, bool) and 0 <= told <= COUNT_LIMIT
    return told if believed and isinstance(told, int) else None


def see_claim(ask: Ask, machine: Machine, job_dir: str, submission_id: str, now: Moment) -> Sighting[ClaimState]:
    """Ask a machine whether the process that claimed an attempt lives there; ends nothing."""
    match ask(machine, "sweep", {"jobDir": job_dir, "submissionId": submission_id, "kill": False}):
        case Done(result=result):
            try:
                return Present(ClaimState(str(result.get("state"))), now)
            except ValueError:
                return Unreachable("its gate answers with a state that this version does not know", now)
        case NotDone(message=message) | Unknown(message=message):
            return Unreachable(message, now)
