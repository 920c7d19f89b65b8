"""The shape of JSON values, and their one canonical form."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import orjson

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"
JsonObject: TypeAlias = Mapping[str, Any]


def as_text(value: object, limit: int) -> str:
    """Return a text that others wrote, cut to `limit` characters, and nothing for what is no text.

    Turning any other value into text would cost as much as its writer likes, or exhaust the stack.
    """
    return value[:limit] if isinstance(value, str) else ""


def as_number(value: object) -> int | None:
    """Return a whole number of 32 bits that others wrote, and None for what is none; `true` is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 31 else None


def canonical(value: object) -> bytes:
    """Return the one JSON text of `value`: sorted keys, no spaces, UTF-8."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def fitted(encoded: bytes) -> bytes:
    """Return the same bytes in no more memory than they need, for whoever keeps many: orjson's each hold 4 KiB."""
    return memoryview(encoded).tobytes()


def digest(value: object) -> str:
    """Return the SHA-256 of the canonical JSON of `value`, in hex."""
    return hashlib.sha256(canonical(value)).hexdigest()
