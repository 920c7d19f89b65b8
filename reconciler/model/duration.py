"""Lengths of time as people write them, for code that must start fast: `quantity.py` without pydantic."""

import re
from datetime import timedelta

_DURATION = re.compile(
    r"(?=[0-9])(?:([0-9]{1,5})d)?(?:([0-9]{1,6})h)?(?:([0-9]{1,7})m)?(?:([0-9]{1,8})s)?", re.ASCII
)


def read_duration(written: str) -> timedelta:
    """Return the length of time that a text like `90s` or `1h30m` means; raises ValueError otherwise."""
    found = _DURATION.fullmatch(written)
    if found is None:
        raise ValueError("expected a length of time such as 90s, 15m, 2h or 1d12h")
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
