"""Reads JSON that others wrote: bounded, strict, and silent about values, since they may be secret."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any

from reconciler.node.failure import INVALID, NotDone

# One MiB: the same limit as at the daemon's end of the gate.
DOCUMENT_LIMIT = 1 << 20
NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,120}", re.ASCII)
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}", re.ASCII)
# The deepest document of ours has four levels. Python's parser itself stops at about a thousand.
_DEPTH_LIMIT = 12
# A number of a million digits takes minutes to read where Python does not limit it.
_DIGITS_LIMIT = 30


def parse(document: bytes, what: str) -> Any:
    """Return the value of one JSON document; anything doubtful in it is refused as a whole."""
    if len(document) > DOCUMENT_LIMIT:
        raise NotDone(INVALID, f"{what} is longer than {DOCUMENT_LIMIT} bytes")
    try:
        value = json.loads(
            document.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_no_constant,
            parse_int=_bounded_int,
            parse_float=_finite,
        )
    except (ValueError, RecursionError):
        # The parser's own message would quote the document.
        raise NotDone(INVALID, f"{what} is not a JSON document of this protocol") from None
    if _deeper_than(value, _DEPTH_LIMIT):
        raise NotDone(INVALID, f"{what} is nested deeper than {_DEPTH_LIMIT} levels")
    return value


class Fields:
    """The fields of one JSON object, each taken once; `end` refuses those that nobody took."""

    def __init__(self, value: object, where: str) -> None:
        if not isinstance(value, dict):
            raise NotDone(INVALID, f"{where}: expected an object")
        self._left: dict[str, object] = dict(value)
        self._where = where

    def __contains__(self, name: str) -> bool:
        return self._left.get(name) is not None

    def take(self, name: str) -> object:
        """Return a field that must be there, whatever its type."""
        if name not in self._left:
            raise NotDone(INVALID, f"{self._where}.{name} is missing")
        return self._left.pop(name)

    def drop(self, name: str) -> None:
        """Pass over a field that may be null or missing."""
        self._left.pop(name, None)

    def fields(self, name: str) -> Fields:
        """Return an object."""
        return Fields(self.take(name), f"{self._where}.{name}")

    def items(self, name: str) -> Sequence[Fields]:
        """Return an array of objects."""
        return [Fields(value, f"{self._where}.{name}[]") for value in self._array(name)]

    def texts(self, name: str) -> list[str]:
        """Return an array of texts."""
        return [self._text(value, f"{name}[]", 1 << 17) for value in self._array(name)]

    def text(self, name: str, pattern: re.Pattern[str] | None = None, *, limit: int = 4096) -> str:
        """Return a text without NUL that matches the whole pattern."""
        value = self._text(self.take(name), name, limit)
        if pattern is not None and not pattern.fullmatch(value):
            raise self._wrong(name, "is not of the form that this field has")
        return value

    def name(self, name: str) -> str:
        """Return a name of ours: it is safe as a part of a path."""
        return self.text(name, NAME)

    def choice(self, name: str, *choices: str) -> str:
        """Return one of the given words."""
        value = self.text(name)
        if value not in choices:
            raise self._wrong(name, f"is none of {', '.join(choices)}")
        return value

    def flag(self, name: str) -> bool:
        """Return a boolean."""
        value = self.take(name)
        if not isinstance(value, bool):
            raise self._wrong(name, "is not true or false")
        return value

    def integer(self, name: str, low: int, high: int) -> int:
        """Return a whole number within bounds."""
        value = self.take(name)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self._wrong(name, f"is not a whole number from {low} to {high}")
        return value

    def path(self, name: str) -> str:
        """Return an absolute path without `..`."""
        value = self.text(name)
        if not value.startswith("/") or ".." in value.split("/"):
            raise self._wrong(name, "is not an absolute path without ..")
        return value

    def map(self, name: str, keys: re.Pattern[str], values: re.Pattern[str] | None = None) -> dict[str, str]:
        """Return a map of texts; a missing one is empty."""
        if name not in self._left:
            return {}
        value = self.take(name)
        if not isinstance(value, dict) or len(value) > 512:
            raise self._wrong(name, "is not a map of at most 512 texts")
        found = {}
        for key, item in value.items():
            found[key] = self._text(item, f"{name}.*", 1 << 17)
            if not keys.fullmatch(key) or (values is not None and not values.fullmatch(found[key])):
                raise self._wrong(name, "holds a key or a value that is not allowed there")
        return found

    def amounts(self, name: str, keys: re.Pattern[str]) -> dict[str, float]:
        """Return a map of positive numbers; a missing one is empty."""
        if name not in self._left:
            return {}
        value = self.take(name)
        if not isinstance(value, dict) or len(value) > 64:
            raise self._wrong(name, "is not a map of at most 64 numbers")
        for key, item in value.items():
            number = isinstance(item, (int, float)) and not isinstance(item, bool)
            if not number or not 0 < item <= 1e15 or not keys.fullmatch(key):
                raise self._wrong(name, "holds a key or a number that is not allowed there")
        return value

    def end(self) -> None:
        """Refuse fields that nobody took."""
        if self._left:
            raise NotDone(INVALID, f"{self._where} has {len(self._left)} fields that this protocol does not know")

    def _array(self, name: str) -> Sequence[object]:
        value = self.take(name)
        if not isinstance(value, list) or len(value) > 10_000:
            raise self._wrong(name, "is not an array of at most 10000 values")
        return value

    def _text(self, value: object, name: str, limit: int) -> str:
        if not isinstance(value, str) or len(value) > limit or "\0" in value:
            raise self._wrong(name, f"is not a text of at most {limit} characters without NUL")
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise self._wrong(name, "holds half a character") from None
        return value

    def _wrong(self, name: str, why: str) -> NotDone:
        return NotDone(INVALID, f"{self._where}.{name} {why}")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key is there twice")
    return value


def _no_constant(_: str) -> float:
    raise ValueError("NaN and Infinity are not JSON")


def _bounded_int(digits: str) -> int:
    if len(digits) > _DIGITS_LIMIT:
        raise ValueError("a number is too long")
    return int(digits)


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError("a number is too large")
    return value


def _deeper_than(value: object, limit: int) -> bool:
    level: list[object] = [value]
    for _ in range(limit):
        level = [child for each in level for child in _children(each)]
        if not level:
            return False
    return True


def _children(value: object) -> Sequence[object]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else ()
