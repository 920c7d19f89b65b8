"""Lengths of time and amounts of memory as people write them: `1h30m`, `500GiB`."""

import re
from datetime import timedelta
from functools import lru_cache
from typing import Annotated, Any, TypeAlias

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, ValidationInfo, WithJsonSchema
from pydantic_core import PydanticCustomError

DURATION_PATTERN = r"^(?=[0-9])([0-9]{1,5}d)?([0-9]{1,6}h)?([0-9]{1,7}m)?([0-9]{1,8}s)?$"
# Below 1 EiB: gates take no more, and more than 16 EiB have no place in JSON.
MEMORY_PATTERN = r"^([1-9][0-9]{0,8}(KiB|MiB|GiB)|[1-9][0-9]{0,5}TiB)$"

_DURATION = re.compile(DURATION_PATTERN)
_MEMORY = re.compile(MEMORY_PATTERN)
_SECONDS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_BYTES = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


def parse_duration(written: Any) -> timedelta:
    """Return the length of time that a text like `90s` or `1h30m` means."""
    if isinstance(written, timedelta):
        return written
    span = _span_of(written) if isinstance(written, str) else None
    if span is None:
        raise PydanticCustomError("duration", "expected a length of time such as 90s, 15m, 2h or 1d12h")
    return span


# Thousands of jobs share a few spans.
@lru_cache(maxsize=1024)
def _span_of(written: str) -> timedelta | None:
    # `fullmatch`: with `match`, `$` would let a trailing line break pass.
    found = _DURATION.fullmatch(written)
    if found is None:
        return None
    return timedelta(seconds=sum(int(part[:-1]) * _SECONDS[part[-1]] for part in found.groups() if part))


def write_duration(span: timedelta) -> str:
    """Return the one short text of `span`: the largest units first, `0s` for nothing."""
    rest = round(span.total_seconds())
    parts = []
    for unit, size in _SECONDS.items():
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def parse_memory(written: Any, context: ValidationInfo) -> int:
    """Return the bytes that a text like `500GiB` means. Bytes are for Python code only: a file names its unit."""
    if context.mode == "python" and type(written) is int:
        return written
    found = _MEMORY.fullmatch(written) if isinstance(written, str) else None
    if found is None:
        raise PydanticCustomError("memory", "expected an amount of memory such as 512MiB or 500GiB")
    return int(written[:-3]) * _BYTES[written[-3:]]


def write_memory(amount: int) -> str:
    """Return `amount` bytes in the largest unit that keeps it whole."""
    for unit, size in reversed(_BYTES.items()):
        if amount % size == 0:
            return f"{amount // size}{unit}"
    return f"{-(-amount // 1024)}KiB"


Duration: TypeAlias = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(write_duration, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN, "examples": ["90s", "15m", "2h", "1d12h"]}),
]


def _above_zero(span: timedelta) -> timedelta:
    if not span:
        raise PydanticCustomError("duration", "expected a length of time above zero")
    return span


def _up_to_a_day(span: timedelta) -> timedelta:
    if span > timedelta(days=1):
        raise PydanticCustomError("duration", "expected a length of time of at most a day")
    return span


# A limit of zero would end every attempt before it starts.
Limit: TypeAlias = Annotated[Duration, AfterValidator(_above_zero)]
# A job that needs longer to save its work than a day does not end any more.
Grace: TypeAlias = Annotated[Duration, AfterValidator(_up_to_a_day)]

Memory: TypeAlias = Annotated[
    int,
    BeforeValidator(parse_memory),
    PlainSerializer(write_memory, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": MEMORY_PATTERN, "examples": ["512MiB", "500GiB"]}),
]
