"""Text for people: what came from outside is made harmless, times and amounts are made short."""

import re
import unicodedata
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from reconciler.model.marks import MARKS

# Escape sequences move the cursor or hide a link; bidirectional and zero-width marks show another order or name.
_UNSAFE = f"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f{MARKS}"
_CONTROL = re.compile(f"[{_UNSAFE}]")
_WHITE = re.compile(r"[\t\r\n]+")
# A whole sequence of a terminal: CSI, OSC and its relatives up to their end, and two-character ones.
_SEQUENCE = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]|\x9b[0-?]*[@-~]"
)

_UNITS = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))


def clean(text: object) -> str:
    """Return `text` on one line, with everything that a terminal obeys written out."""
    line = _WHITE.sub(" ", str(text))
    return _CONTROL.sub(_written_out, line)


def plain(text: str) -> str:
    """Return program output without escape sequences; a carriage return begins a new line, as it would look."""
    text = _SEQUENCE.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROL.sub("", text)


def safe_json(text: str) -> str:
    """Return JSON text in which the characters that a terminal obeys are escaped; they occur in strings only."""
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def width(text: str) -> int:
    """Return how many columns of a terminal `text` takes."""
    if text.isascii():
        return len(text)
    return sum(_columns(character) for character in text)


def cut(text: str, columns: int) -> str:
    """Return `text` in at most `columns` columns, with … where something is missing."""
    if width(text) <= columns:
        return text
    kept, used = [], 1
    for character in text:
        used += _columns(character)
        if used > columns:
            break
        kept.append(character)
    return "".join(kept).rstrip() + "…"


def span(length: timedelta) -> str:
    """Return a length of time in its two largest units: `3d4h`, `12m`, `0s`."""
    rest = int(length.total_seconds())
    for (unit, size), (smaller, smaller_size) in pairwise(_UNITS):
        if rest >= size:
            second = rest % size // smaller_size
            # Seconds say nothing any more after ten minutes.
            precise = second and not (unit == "m" and rest >= 600)
            return f"{rest // size}{unit}" + (f"{second}{smaller}" if precise else "")
    return f"{max(0, rest)}s"


def moment(written: Any) -> datetime | None:
    """Return the time that an ISO text names, or None when it names none."""
    if not isinstance(written, str):
        return None
    try:
        found = datetime.fromisoformat(written)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def count(written: str) -> int:
    """Return the number of things that a text names; raises ValueError below zero."""
    if not written.isdecimal():
        raise ValueError(written)
    return int(written)


def clock_time(written: Any) -> str:
    """Return a time as people read it, in UTC, or `-`."""
    found = moment(written)
    return found.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ") if found else "-"


def age(written: Any, now: datetime) -> str:
    """Return how long ago a written time was, or `-`."""
    found = moment(written)
    return span(now - found) if found else "-"


def ordinal(number: int) -> str:
    """Return `1st`, `2nd`, `3rd`, `4th` and so on."""
    ending = "th" if number % 100 in {11, 12, 13} else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def _written_out(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 1 << 16 else f"\\U{code:08x}"


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
