"""Change an input a little: bytes, words, lines, or one place of a JSON document."""

import json
import re
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

# Longer inputs are slower and say no more: limits on size have tests of their own.
LONGEST = 8192
# What programs trip over, in any text format.
ODD_WORDS = (
    b"", b"\0", b"\n", b"\r\n", b"\t", b" ", b"-", b"0", b"-1", b"1e999", b"NaN", b"true", b"null", b"~", b'"',
    b"'", b"\\", b"\\ud800", b"\\u0000", b"\xff", b"\xef\xbb\xbf", b"\xc2\x85", b"\xe2\x80\xa8", b"\xed\xa0\x80",
    b"18446744073709551616", b"9007199254740993", b"../", b"{", b"}", b"[", b"]", b":", b",", b"&a", b"*a", b"!!x",
    b"<<", b"|", b">", b"#", b"%", b"---", b"...", b"? ", b"\x1b[2J", b"\xe2\x80\xae", b"99999d",
)  # fmt: skip
ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 0.5, 1e308, 2**31, 2**53, 2**53 + 1, 2**64 - 1, 2**64, -(2**63), "", " ", "\n",
    "\x00", "\u202e", "\ud800", "..", "/", "a" * 300, "é", [], {}, [[]], {"": None},
)  # fmt: skip
_WORD: re.Pattern[bytes] = re.compile(rb"[A-Za-z_][A-Za-z0-9_.-]*|[0-9]+|[^\sA-Za-z0-9]")

_DIGITS: re.Pattern[bytes] = re.compile(rb"[0-9]+")

Change = Callable[["Mutator", bytes], bytes]


class Mutator:
    """Makes inputs from inputs; the same chance and the same inputs give the same."""

    def __init__(self, chance: Random, seeds: Sequence[bytes], words: Sequence[bytes] = ()) -> None:
        self._chance = chance
        # The words of good inputs lead further than any random byte.
        self._words = sorted({*words, *ODD_WORDS, *(w for seed in seeds for w in _WORD.findall(seed[:LONGEST]))})

    def change(self, data: bytes, others: Sequence[bytes]) -> bytes:
        """Return a changed input, after one to some changes; `others` may lend a part."""
        for _ in range(1 << self._chance.randrange(4)):
            if self._chance.random() < 0.1:
                data = self._crossed(data, self._chance.choice(others))
            else:
                data = self._chance.choice(CHANGES)(self, data)
        return data[:LONGEST]

    def _crossed(self, data: bytes, other: bytes) -> bytes:
        start, end = self._span(data)
        from_, to = self._span(other)
        return data[:start] + other[from_:to] + data[end:]

    def _span(self, data: bytes) -> tuple[int, int]:
        start = self._chance.randrange(len(data) + 1)
        return start, min(len(data), start + (1 << self._chance.randrange(8)) - 1)

    def _bit(self, data: bytes) -> bytes:
        if not data:
            return data
        at = self._chance.randrange(len(data))
        return data[:at] + bytes([data[at] ^ (1 << self._chance.randrange(8))]) + data[at + 1 :]

    def _byte(self, data: bytes) -> bytes:
        at = self._chance.randrange(len(data) + 1)
        return data[:at] + bytes([self._chance.randrange(256)]) + data[at + 1 :]

    def _insert(self, data: bytes) -> bytes:
        at = self._chance.randrange(len(data) + 1)
        word: bytes = self._chance.choice(self._words)
        return data[:at] + word + data[at:]

    def _swap_word(self, data: bytes) -> bytes:
        found = list(_WORD.finditer(data))
        if not found:
            return self._insert(data)
        start, end = self._chance.choice(found).span()
        word: bytes = self._chance.choice(self._words)
        return data[:start] + word + data[end:]

    def _number(self, data: bytes) -> bytes:
        """Let a number be another one, as long as it is or of any length."""
        found = list(_DIGITS.finditer(data))
        if not found:
            return self._insert(data)
        start, end = self._chance.choice(found).span()
        length = self._chance.choice((1, end - start, self._chance.randrange(1, 20)))
        digit: bytes = self._chance.choice((b"9", b"1", b"0", b"%d" % self._chance.randrange(10)))
        return data[:start] + digit * length + data[end:]

    def _drop(self, data: bytes) -> bytes:
        start, end = self._span(data)
        return data[:start] + data[end:]

    def _double(self, data: bytes) -> bytes:
        start, end = self._span(data)
        return data[:end] + data[start:end] * (1 << self._chance.randrange(5)) + data[end:]

    def _cut(self, data: bytes) -> bytes:
        return data[: self._chance.randrange(len(data) + 1)]

    def _lines(self, data: bytes) -> bytes:
        """Drop, double or swap whole lines."""
        lines = data.splitlines(keepends=True)
        if not lines:
            return data
        one, other = self._chance.randrange(len(lines)), self._chance.randrange(len(lines))
        match self._chance.randrange(3):
            case 0:
                del lines[one]
            case 1:
                lines.insert(other, lines[one])
            case _:
                lines[one], lines[other] = lines[other], lines[one]
        return b"".join(lines)

    def _json(self, data: bytes) -> bytes:
        """Change one value or key of a JSON document, or of one that ends a line; else change a word."""
        lines = data.split(b"\n") if not data.startswith((b"{\n", b"[\n")) else [data]
        at = self._chance.randrange(len(lines))
        head, brace, rest = lines[at].partition(b"{")
        try:
            document = json.loads(brace + rest)
            if places := _places(document):
                self._change_at(*self._chance.choice(places), places)
            else:
                document = self._chance.choice(ODD_VALUES)
            lines[at] = head + json.dumps(document).encode()
        except (ValueError, RecursionError):
            return self._swap_word(data)
        return b"\n".join(lines)

    def _change_at(self, inside: Any, key: Any, places: Sequence[tuple[Any, Any]]) -> None:
        other, its = self._chance.choice(places)
        match self._chance.randrange(5):
            case 0:
                del inside[key]
            case 1:
                # By way of text: a value must not come to hold itself.
                inside[key] = json.loads(json.dumps(other[its]))
            case 2 if isinstance(inside, dict):
                inside[str(self._chance.choice(ODD_VALUES))] = inside.pop(key)
            case 3 if isinstance(inside, list):
                inside.extend(inside[:8])
            case _:
                inside[key] = self._chance.choice(ODD_VALUES)


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Return every place of a document, as the object or array that holds it and the key there."""
    found, level = [], [value]
    while level:
        inside = level.pop()
        keys = list(inside) if isinstance(inside, dict) else range(len(inside)) if isinstance(inside, list) else ()
        for key in keys:
            found.append((inside, key))
            level.append(inside[key])
    return found


CHANGES: tuple[Change, ...] = (
    Mutator._bit,
    Mutator._byte,
    Mutator._insert,
    Mutator._swap_word,
    Mutator._swap_word,
    Mutator._number,
    Mutator._drop,
    Mutator._double,
    Mutator._cut,
    Mutator._lines,
    Mutator._json,
    Mutator._json,
    Mutator._json,
)
