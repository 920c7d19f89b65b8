"""The events of libyaml, each a Python object with its places; or brief ones, for the many files that are good.

libyaml takes a sixth of the time that its events take; the rest goes into objects that nearly nobody looks at.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from threading import Lock
from typing import Any, TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.events import (
    DocumentEndEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
    StreamStartEvent,
)

try:
    import _ruamel_yaml
except ImportError:
    _ruamel_yaml = None

# None where there is no wheel: the pure parser is about 20 times slower, and gives the same events.
libyaml: Any = _ruamel_yaml

# A file of desired state has a few hundred values; this leaves a factor of a hundred.
MAX_EVENTS = 100_000
# For each token libyaml goes through all open brackets: of so many it is asked for one event at a time.
MANY_BRACKETS = 1000
# Every reader agrees on integers up to here: they fit 64 bits.
MAX_DIGITS = 18

Events: TypeAlias = Iterator[Any]


def whole(text: str) -> Events:
    """Give the events of `text` one by one, at most as many as may be."""
    if libyaml is None:
        return islice(YAML(typ="safe", pure=True).parse(text), MAX_EVENTS)
    return islice(iter(_alone(libyaml.CParser(text).get_event), None), MAX_EVENTS)


@contextmanager
def brief() -> Iterator[Callable[[str], Events | None]]:
    """Give, inside, all events of a text without their places, or None where only whole ones are to be had.

    A scalar that is text or an integer to every reader is just that; of what else there is to know, brief events
    hide nothing.
    """
    with _MAKING:
        _makers.update(_BRIEF)
        try:
            yield _all_of
        finally:
            _makers.update(_WHOLE)


def _all_of(text: str) -> Events | None:
    if libyaml is None or text.count("[") + text.count("{") > MANY_BRACKETS:
        return None
    # `iter` with a sentinel, `islice` and `list` go through them in C.
    return iter(list(islice(iter(libyaml.CParser(text).get_event, None), MAX_EVENTS)))


def _alone(get_event: Callable[[], Any]) -> Callable[[], Any]:
    def get() -> Any:
        with _MAKING:
            return get_event()

    return get


# What a plain scalar may begin with to be anything but text. All of it comes before the colon.
NUMBER_STARTS = frozenset("+-.0123456789")
_NUMERIC = NUMBER_STARTS - {"-", "+"}
# What a plain scalar may be to be anything but text.
WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
DOUBTFUL_WORDS = frozenset(
    spelled for word in ("yes", "no", "on", "off") for spelled in (word, word.capitalize(), word.upper())
)
_NOT_TEXT = DOUBTFUL_WORDS | WORDS.keys() | {"<<"}


def plain_integer(text: str) -> int | None:
    """Return the integer that a plain scalar is to every reader; other numbers need a closer look."""
    is_plain = (
        text.isdecimal() and text.isascii() and len(text) <= MAX_DIGITS and (text[0] != "0" or len(text) == 1)
    )
    return int(text) if is_plain else None


# An event without a place is the same wherever it comes from.
_MAPPING, _SEQUENCE = MappingStartEvent(None, None, implicit=True), SequenceStartEvent(None, None, implicit=True)


def _scalar(  # noqa: PLR0913, PLR0917 - called by libyaml's wrapper
    anchor: Any, tag: Any, implicit: tuple[bool, bool], value: str, start: Any, end: Any, style: Any
) -> Any:
    if anchor is None and tag is None:
        if (value >= ":" and value not in _NOT_TEXT) or not implicit[0]:
            return value
        # A path, an option of a program, or a negative number.
        if value[:1] == "/" or (value[:1] == "-" and value[1:2] not in _NUMERIC):
            return value
        if (integer := plain_integer(value)) is not None:
            return integer
    return ScalarEvent(anchor, tag, implicit, value, start, end, style)


def _mapping(anchor: Any, tag: Any, *rest: Any) -> MappingStartEvent:
    return _MAPPING if anchor is None and tag is None else MappingStartEvent(anchor, tag, *rest)


def _sequence(anchor: Any, tag: Any, *rest: Any) -> SequenceStartEvent:
    return _SEQUENCE if anchor is None and tag is None else SequenceStartEvent(anchor, tag, *rest)


def _always(event: Any) -> Callable[..., Any]:
    return lambda *_: event


# The wrapper looks up in its module what makes an event; it finds ours there while this is held.
_MAKING = Lock()
_makers: dict[str, Any] = vars(libyaml) if libyaml is not None else {}
_OURS: dict[str, Callable[..., Any]] = {
    "ScalarEvent": _scalar,
    "MappingStartEvent": _mapping,
    "SequenceStartEvent": _sequence,
    **{kind.__name__: _always(kind()) for kind in (MappingEndEvent, SequenceEndEvent)},
    **{kind.__name__: _always(kind()) for kind in (StreamStartEvent, StreamEndEvent)},
    **{kind.__name__: _always(kind()) for kind in (DocumentStartEvent, DocumentEndEvent)},
}
# A wrapper that knows none of them by these names gives whole events, which will do.
_WHOLE = {name: _makers[name] for name in _OURS if name in _makers}
_BRIEF = {name: _OURS[name] for name in _WHOLE}
