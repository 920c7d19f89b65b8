"""Case files: a world in short words, and the decisions that follow. docs/adding-a-kind.md explains the words."""

import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from reconciler.model.ledger import Change
from reconciler.model.moment import Moment
from reconciler.model.plan import Action, Because, Decision, Hold, Note, Weight, effect_document
from reconciler.model.quantity import write_duration
from reconciler.model.world import World
from tests.kinds.desired_words import desired_of, with_stale
from tests.kinds.ledger_words import ledger_of
from tests.kinds.moments import NOW, maybe_ago
from tests.kinds.observed_words import observed_of

WORDS = {
    "case",
    "desired",
    "problems",
    "unsettled",
    "stale",
    "lingering",
    "ledger",
    "observed",
    "in-flight",
    "watched",
    "expect",
}


def cases_in(folder: Path) -> list[tuple[str, Mapping[str, Any]]]:
    """Return all cases of a folder with names that say where they are."""
    found = []
    for file in sorted(folder.glob("*.yaml")):
        for case in YAML(typ="safe").load(file):
            found.append((f"{file.stem}: {case['case']}", case))
    return found


def world_of(case: Mapping[str, Any]) -> World:
    """Return the world that a case describes."""
    assert case.keys() <= WORDS, f"unknown words {sorted(case.keys() - WORDS)}"
    desired = desired_of(case.get("desired") or {}, case.get("problems"), case.get("unsettled") or ())
    desired = with_stale(desired, case.get("stale") or (), case.get("lingering") or ())
    ledger = ledger_of(case.get("ledger") or {}, desired)
    observed = observed_of(case.get("observed") or {}, ledger)
    in_flight, watched = frozenset(case.get("in-flight") or ()), maybe_ago(case.get("watched"))
    return World(desired, observed, ledger, NOW, in_flight=in_flight, watched=watched)


def told(decision: Decision) -> dict[str, Any]:
    """Return a decision in the words of case files."""
    words: dict[str, Any]
    match decision:
        case Action():
            words = {"do": decision.verb, "to": str(decision.target)}
            words["with"] = _plain({k: v for k, v in effect_document(decision.effect).items() if k != "effect"})
            words |= _ledger(decision.before) | _weight(decision.weight)
        case Note():
            words = {"note": str(decision.target)} | _ledger(decision.changes) | _weight(decision.weight)
        case Hold():
            words = {"hold": str(decision.target)}
            words |= {"part": decision.part} if decision.part else {}
            words |= {"until": _plain(decision.until)} if decision.until is not None else {}
    return words | _because(decision.because)


def differences(expected: Mapping[str, Any], decision: Mapping[str, Any]) -> list[str]:
    """Return where a decision is not the expected one; of `with` and `ledger` a case may tell a part."""
    found = []
    for key in ("do", "to", "note", "hold", "because", "weight", "until", "part"):
        if expected.get(key) != decision.get(key):
            found.append(f"{key}: expected {expected.get(key)}, decided {decision.get(key)}")
    for key in ("with", "ledger"):
        if key in expected:
            found += _lacks(expected[key], decision.get(key), key)
    if "says" in expected and not re.search(expected["says"], decision["says"]):
        found.append(f"says: expected {expected['says']!r}, decided {decision['says']!r}")
    unknown = expected.keys() - {
        "do",
        "to",
        "note",
        "hold",
        "because",
        "weight",
        "until",
        "part",
        "with",
        "ledger",
        "says",
    }
    return found + [f"{key} is no word of an expectation" for key in sorted(unknown)]


def _lacks(expected: Any, decided: Any, where: str = "") -> list[str]:
    if isinstance(expected, Mapping) and isinstance(decided, Mapping):
        missing = [f"{where}.{key} was not decided" for key in expected.keys() - decided.keys()]
        common = expected.keys() & decided.keys()
        return missing + [
            each for key in sorted(common) for each in _lacks(expected[key], decided[key], f"{where}.{key}")
        ]
    if isinstance(expected, list) and isinstance(decided, list) and len(expected) == len(decided):
        pairs = enumerate(zip(expected, decided, strict=True))
        return [each for index, (one, other) in pairs for each in _lacks(one, other, f"{where}[{index}]")]
    return [] if expected == decided else [f"{where}: expected {expected}, decided {decided}"]


def _because(because: Because) -> dict[str, Any]:
    return {"because": because.reason.value, "says": because.text}


def _weight(weight: Weight) -> dict[str, Any]:
    return {} if weight is Weight.NONE else {"weight": weight.value}


def _ledger(changes: tuple[Change, ...]) -> dict[str, Any]:
    if not changes:
        return {}
    return {"ledger": {f"{change.table.value}/{change.key}": _plain(change.record) for change in changes}}


def _plain(value: Any) -> Any:
    if isinstance(value, Moment):
        return _moment(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value


def _moment(moment: Moment) -> str:
    if moment.ticks == NOW.ticks:
        return "now"
    if moment.is_before(NOW):
        return f"{write_duration(NOW.since(moment))} ago"
    return f"in {write_duration(moment.since(NOW))}"


def compared(case: Mapping[str, Any], decided: list[dict[str, Any]]) -> None:
    """Fail with all differences between what a case expects and what was decided, in this order."""
    expected = case["expect"] or []
    found = [
        f"decision {number}: {difference}"
        for number, (wanted, decision) in enumerate(zip(expected, decided, strict=False), start=1)
        for difference in differences(wanted, decision)
    ]
    found += [f"decided, but not expected: {decision}" for decision in decided[len(expected) :]]
    found += [f"expected, but not decided: {wanted}" for wanted in expected[len(decided) :]]
    assert not found, "\n".join(found)
