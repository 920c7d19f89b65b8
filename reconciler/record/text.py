"""Text on its way out: without secrets, without characters that a terminal or a log reader obeys, not too long."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from reconciler.model.marks import MARKS

MAX_MESSAGE = 2_000
# A pool lists its nodes; 2,000 GPUs may be as many machines.
MAX_ITEMS = 2_000
MAX_DEPTH = 8
MAX_NAME = 200

HIDDEN = "***"

# A value this short is part of ordinary words; hiding it would make every log unreadable.
_SHORTEST_SECRET = 6

# Controls move cursors and break lines; bidirectional and zero-width marks show another text than is there.
_UNSAFE = f"\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff{MARKS}"
_CONTROL = re.compile(f"[{_UNSAFE}]")
_CONTROL_OR_BREAK = re.compile(f"[{_UNSAFE}\t\n]")
_SPACE = re.compile(r"[\s\x85]+")

# Each repetition has a bound, so that hostile text costs no more than its length.
_USERINFO = re.compile(r"\b((?!ssh://[^/\s:@]{0,64}@)[A-Za-z][A-Za-z0-9+.-]{0,20}://)[^/\s]{1,512}@")
_BEARER = re.compile(
    r"(?i)\b(bearer\s{1,4}|authorization[\"']?\s{0,4}[:=]\s{0,4}[\"']?(?:(?:basic|bearer|token)\s{1,4})?)[A-Za-z0-9._~+/=-]{6,4096}"
)
_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z ]{0,32}PRIVATE KEY-----.{0,16384}?(?:-----END [A-Z ]{0,32}-----|\Z)", re.DOTALL
)


class Redaction:
    """Hides secrets in texts: values that were registered, and what always is one."""

    def __init__(self, *secrets: str) -> None:
        self._values: frozenset[str] = frozenset()
        self._known: re.Pattern[str] | None = None
        for secret in secrets:
            self.add(secret)

    def add(self, secret: str) -> None:
        """Hide `secret` from now on, also as it looks in a URL."""
        value = secret.strip()
        if len(value) < _SHORTEST_SECRET:
            return
        self._values |= {value, quote(value, safe="")}
        longest_first = sorted(self._values, key=lambda v: (-len(v), v))
        self._known = re.compile("|".join(map(re.escape, longest_first)))

    @property
    def values(self) -> frozenset[str]:
        """What is hidden because it was added: compared to learn whether anything was."""
        return self._values

    def hide(self, text: str) -> str:
        """Return `text` without secrets."""
        if self._known is not None:
            text = self._known.sub(HIDDEN, text)
        if "PRIVATE KEY" in text:
            text = _PRIVATE_KEY.sub(HIDDEN, text)
        if "://" in text:
            text = _USERINFO.sub(rf"\1{HIDDEN}@", text)
        # The pattern ignores case, and is slow; most texts tell by two searches that it has none.
        # Not beyond ASCII, where other letters count as the same.
        if text.isascii() and "bearer" not in (lower := text.lower()) and "authorization" not in lower:
            return text
        return _BEARER.sub(rf"\1{HIDDEN}", text)


def one_line(text: str, limit: int = MAX_MESSAGE) -> str:
    """Return `text` as one line of at most `limit` characters without control characters."""
    if _is_tame(text) and "  " not in text:
        return cut(text.strip(), limit)
    # Spaces first, since a line break is one; and again, since spaces may meet where a control character was.
    spaced = _CONTROL.sub("", _SPACE.sub(" ", text))
    return cut(_SPACE.sub(" ", spaced).strip(), limit)


def without_controls(text: str, limit: int = MAX_MESSAGE) -> str:
    """Return `text` of at most `limit` characters; of control characters only tabs and line breaks stay."""
    return cut(text if _is_tame(text) else _CONTROL.sub("", text), limit)


def _is_tame(text: str) -> bool:
    """Say whether nothing but plain characters are in a text: nearly all texts, and told without a pattern."""
    return text.isascii() and text.isprintable()


def escaped(text: str) -> str:
    """Return `text` with every control character and line break written out, as JSON writes it."""
    return _CONTROL_OR_BREAK.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def cut(text: str, limit: int) -> str:
    """Return `text`, or its beginning and an ellipsis when it is longer than `limit`."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def plain(value: object, redaction: Redaction, depth: int = 0) -> Any:
    """Return `value` as JSON values that may be shown: clean texts, UTC times, sorted keys, bounded lists.

    A list that was cut is followed by the number of what is missing: `<key>Omitted`.
    """
    if type(value) is str and depth <= MAX_DEPTH:  # nearly all there is
        return without_controls(redaction.hide(value))
    if isinstance(value, datetime):
        return written(value)
    # JSON readers, ours too, stop at 64 bits.
    if value is None or isinstance(value, bool | float) or (isinstance(value, int) and abs(value) < 1 << 63):
        return value
    if depth > MAX_DEPTH:
        return "…"
    if isinstance(value, dict | Mapping):
        return _mapping(value, redaction, depth)
    if isinstance(value, list | tuple):
        return [plain(item, redaction, depth + 1) for item in value[:MAX_ITEMS]]
    text = value.value if isinstance(value, StrEnum) else str(value)
    return without_controls(redaction.hide(text))


def _mapping(value: Mapping[Any, object], redaction: Redaction, depth: int) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for key in sorted(value, key=str)[:MAX_ITEMS]:
        item, name = value[key], _name(redaction.hide(str(key)))
        shown[name] = plain(item, redaction, depth + 1)
        if isinstance(item, list | tuple) and len(item) > MAX_ITEMS:
            shown[f"{name}Omitted"] = len(item) - MAX_ITEMS
    return shown


def _name(text: str) -> str:
    """Return a key as it may be shown: most are ours, and words as plain as can be."""
    if text.isidentifier() and text.isascii() and len(text) <= MAX_NAME:
        return text
    return one_line(text, MAX_NAME)


# A document names the same few moments again and again, and so does every later version of it.
@lru_cache(maxsize=4096)
def written(moment: datetime) -> str:
    """Return a time as status files write it: UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
