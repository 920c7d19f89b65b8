"""A plan as plain JSON values, and how two plans of one world differ, in words."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from reconciler.model.ledger import Change
from reconciler.model.plan import Action, Because, Decision, Held, Hold, Note, Plan, effect_document
from tests.replay.worlds import plain

PlanDocument = Mapping[str, Any]
Words = Mapping[str, Any]

_NAMES = re.compile(r"'[^']*'|[\w./:+-]*\d[\w./:+-]*|\b(?:rl|nlp|main|lab)\b")
# Of one decision that changed in many places the first ones tell enough.
MOST = 4


def written(plan: Plan) -> PlanDocument:
    """Return everything that a plan says."""
    decisions: list[Decision] = [*plan.notes, *plan.actions, *plan.holds]
    document: PlanDocument = plain(
        {
            "revision": plan.revision,
            "decisions": [_decision(each) for each in decisions],
            "held": [_held(each) for each in plan.held],
            "wake": plan.wake,
        }
    )
    return document


def sorts(plan: PlanDocument) -> frozenset[str]:
    """Return the sorts of decisions in a plan: for which kind what is decided, why, and in what sentence."""
    found = {f"{each['target'].partition('/')[0]} {_told(each)}" for each in plan["decisions"]}
    found |= {f"held by {each['brake'].partition('-')[0]}" for each in plan["held"]}
    return frozenset(map(shape, found))


def shape(text: str) -> str:
    """Return a text without what makes it read differently in every world: names, numbers, times, digests."""
    return _NAMES.sub("#", text)


def differences(before: PlanDocument, now: PlanDocument) -> list[str]:
    """Return in words how a plan differs from the one that was made of the same world before; nothing if not."""
    if before == now:
        return []
    said = list(_decided(before["decisions"], now["decisions"]))
    said += _brakes(before["held"], now["held"])
    if before["wake"] != now["wake"]:
        said.append(f"wakes at {_time(now['wake'])}, before at {_time(before['wake'])}")
    if before["revision"] != now["revision"]:
        said.append("is for another revision")
    return said or ["decides the same in another order"]


def _verb(decision: Decision) -> str:
    match decision:
        case Action():
            return decision.verb
        case Note():
            return "note"
        case Hold():
            return "hold"


def _decision(decision: Decision) -> dict[str, Any]:
    words: dict[str, Any] = {"verb": _verb(decision), "target": str(decision.target)}
    words["because"] = _because(decision.because)
    match decision:
        case Action():
            effect = {name: value for name, value in effect_document(decision.effect).items() if name != "effect"}
            words |= {"part": decision.part, "with": effect, "ledger": _changes(decision.before)}
            words |= {"weight": decision.weight, "pace": decision.pace}
        case Note():
            words |= {"ledger": _changes(decision.changes), "weight": decision.weight}
        case Hold():
            words |= {"part": decision.part, "until": decision.until}
    return words


def _because(because: Because) -> dict[str, Any]:
    return {"reason": because.reason, "text": because.text, "numbers": dict(because.numbers)}


def _changes(changes: Iterable[Change]) -> dict[str, Any]:
    return {f"{change.table.value}/{change.key}": change.record for change in changes}


def _held(held: Held) -> dict[str, Any]:
    return {"brake": held.brake, "digest": held.digest, "message": held.message, "what": held.what}


def _decided(before: Iterable[Words], now: Iterable[Words]) -> Iterator[str]:
    old, new = _by_target(before), _by_target(now)
    for target in sorted(old.keys() | new.keys()):
        left = [each for each in old[target] if each not in new[target]]
        come = [each for each in new[target] if each not in old[target]]
        for one in list(left):
            other = next((each for each in come if _same_sort(one, each)), None)
            if other is not None:
                left.remove(one)
                come.remove(other)
                yield f"{_name(one)} says something else: {'; '.join(list(_fields(one, other))[:MOST])}"
        for one, other in zip(left, come, strict=False):
            yield f"{target}: before {_told(one)}, now {_told(other)}"
        for one in left[len(come) :]:
            yield f"{target}: no longer {_told(one)}"
        for other in come[len(left) :]:
            yield f"{target}: now also {_told(other)}"


def _by_target(decisions: Iterable[Words]) -> dict[str, list[Words]]:
    found = defaultdict(list)
    for each in decisions:
        found[each["target"]].append(each)
    return found


def _same_sort(one: Words, other: Words) -> bool:
    same = all(one.get(name) == other.get(name) for name in ("verb", "part"))
    return same and one["because"]["reason"] == other["because"]["reason"]


def _name(decision: Words) -> str:
    part = f", {decision['part']}" if decision.get("part") else ""
    return f"{decision['target']}: {decision['verb']}{part} ({decision['because']['reason']})"


def _told(decision: Words) -> str:
    part = f" for {decision['part']}" if decision.get("part") else ""
    return f"{decision['verb']}{part} because {decision['because']['reason']} ({decision['because']['text']})"


def _fields(one: Any, other: Any, where: str = "") -> Iterator[str]:
    """Name the places in which two values differ, with both values."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(one.keys() | other.keys()):
            yield from _fields(one.get(key), other.get(key), f"{where}.{key}" if where else key)
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for index, (left, right) in enumerate(zip(one, other, strict=True)):
            yield from _fields(left, right, f"{where}[{index}]")
    elif one != other:
        yield f"{where} was {one!r}, is {other!r}"


def _brakes(before: Iterable[Words], now: Iterable[Words]) -> Iterator[str]:
    old, new = ({each["brake"]: each for each in some} for some in (before, now))
    for brake in sorted(old.keys() | new.keys()):
        if brake not in new:
            yield f"the brake on {brake} no longer holds: {old[brake]['message']}"
        elif brake not in old:
            yield f"the brake on {brake} holds now: {new[brake]['message']}"
        elif old[brake] != new[brake]:
            yield f"the brake on {brake} says something else: {'; '.join(_fields(old[brake], new[brake]))}"


def _time(moment: Words | None) -> str:
    return "no time" if moment is None else str(moment["wall"])
