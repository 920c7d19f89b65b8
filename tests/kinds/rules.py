"""The tables of rules, and which of their rules answer."""

import importlib
import pkgutil
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from reconciler import kinds


def tables() -> list[ModuleType]:
    """Return every module of a kind that decides by a table of rules."""
    names = [each.name for each in pkgutil.walk_packages(kinds.__path__, "reconciler.kinds.")]
    return [module for module in map(importlib.import_module, names) if hasattr(module, "RULES")]


def all_rules() -> set[str]:
    """Return the names of all rules, with the module of each."""
    return {_name(module, rule) for module in tables() for rule in module.RULES}


def watch(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Return a set that fills with the rules that answer, until the patch is undone."""
    seen: set[str] = set()
    for module in tables():
        watched = tuple(_watched(rule, _name(module, rule), seen) for rule in module.RULES)
        monkeypatch.setattr(module, "RULES", watched)
    return seen


def _name(module: ModuleType, rule: Callable[..., Any]) -> str:
    return f"{module.__name__.removeprefix('reconciler.kinds.')}.{rule.__name__}"


def _watched(rule: Callable[..., Any], name: str, seen: set[str]) -> Callable[..., Any]:
    def watched(case: Any) -> Any:
        answer = rule(case)
        if answer is not None:
            seen.add(name)
        return answer

    return watched
