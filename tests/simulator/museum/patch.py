"""What a planted bug is made of."""

from collections.abc import Callable
from typing import Any

Patch = tuple[Any, str, Any]
"""An owner, the name of one of its attributes, and what stands there instead."""

Bug = Callable[[], list[Patch]]
Rules = tuple[Callable[..., Any], ...]


def instead(rules: Rules, name: str, rule: Callable[..., Any]) -> Rules:
    """Return a table of rules with one of them replaced."""
    assert name in {each.__name__ for each in rules}, f"{name} is no rule any more"
    return tuple(rule if each.__name__ == name else each for each in rules)
