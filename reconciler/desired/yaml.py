"""Strict YAML: one document of plain values, or the place of the first mistake.

Events come from libyaml, so that 10,000 files take seconds and a hostile one cannot exhaust the stack. Scalars
follow the YAML 1.2 core schema; what other readers of the same file would take for something else (`no`, `12:30`,
`0777`, a bare date) is refused rather than guessed.
"""

import codecs
import re
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from reconciler.desired import events as parser
from reconciler.desired.events import DOUBTFUL_WORDS, MAX_DIGITS, MAX_EVENTS, NUMBER_STARTS, WORDS, Events
from reconciler.model.json import Json

# A file of desired state has a few hundred lines; both leave a factor of a hundred.
MAX_BYTES = 1 << 20
MAX_DEPTH = 32

# What YAML 1.1 takes for the end of a line.
_LINE_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")

Path: TypeAlias = tuple[str | int, ...]


class Refused(Exception):
    """A file is not what we read. The text names the class of mistake, never the value; places count from 1."""

    def __init__(self, message: str, line: int = 1, column: int = 1, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.column = column
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Place:
    """Where a key and its value begin. An entry of a list has its own place for both."""

    key: tuple[int, int]
    value: tuple[int, int]


def read(content: bytes) -> Json:
    """Return the plain values of the one document in `content`, or raise Refused."""
    try:
        return _document(parser.whole(_text(content)))
    except StopIteration:
        raise _too_many() from None
    except YAMLError as mistake:
        raise _syntax(mistake, content) from None


@contextmanager
def reading_many() -> Iterator[Callable[[bytes], Json]]:
    """Give, inside, what does the same as `read` in less than half the time, but gives None for what it refuses."""
    with parser.brief() as events_of:

        def read_good(content: bytes) -> Json:
            try:
                events = events_of(_text(content))
                return _document(events) if events is not None else None
            except (Refused, StopIteration, YAMLError):
                return None

        yield read_good


@dataclass(frozen=True, slots=True)
class Node:
    """A value with the events it begins and ends with (one and the same for a scalar), and its key's, if any."""

    path: Path
    item: Any
    start: Any
    end: Any


def nodes(content: bytes) -> Iterator[Node]:
    """Give each value of a document that `read` accepts, what is inside a value before the value itself."""
    events = parser.whole(_text(content))
    root = next(
        event for event in events if isinstance(event, MappingStartEvent | SequenceStartEvent | ScalarEvent)
    )
    yield from _walk(events, (), root, root)


def places(content: bytes) -> Mapping[Path, Place]:
    """Return where each key and value of a document begins, for content that `read` accepts."""
    return {node.path: Place(_at(node.item), _at(node.start)) for node in nodes(content)}


def _text(content: bytes) -> str:
    if len(content) > MAX_BYTES:
        raise Refused(f"the file is larger than {MAX_BYTES} bytes", hint="split it: one object per file")
    try:
        # The codec that takes the mark off by itself is slow: it is written in Python.
        return content.removeprefix(BOM_UTF8).decode()
    except UnicodeDecodeError as mistake:
        # The decoder counts from behind the mark.
        before = content.removeprefix(codecs.BOM_UTF8)[: mistake.start]
        raise Refused("the file is not UTF-8 here", *_end_of(before.decode())) from None


def _document(events: Events) -> Json:
    next(events)  # the stream starts
    if type(next(events)) is StreamEndEvent:
        raise _nothing()
    root = next(events)
    value = _value(events, root, 0)
    if value is None:
        raise _nothing()
    after = next(events)
    if type(after) is DocumentEndEvent:
        after = next(events)
    if type(after) is not StreamEndEvent:
        raise _refused(after, "a second document is not allowed", "write one object per file")
    return value


def _collection(events: Events, event: Any, depth: int) -> Json:
    if type(event) is AliasEvent:
        raise _refused(event, "aliases are not allowed", "write the value out")
    if event.anchor is not None or event.ctag is not None:
        raise _decorated(event)
    if depth >= MAX_DEPTH:
        raise _refused(event, f"nesting deeper than {MAX_DEPTH} levels is not allowed")
    return _mapping(events, depth + 1) if type(event) is MappingStartEvent else _sequence(events, depth + 1)


def _mapping(events: Events, depth: int) -> Json:
    found: dict[str, Json] = {}
    for event in events:
        if type(event) is str:
            key = event
        elif type(event) is MappingEndEvent:
            return found
        else:
            key = _key(event)
        if key in found:
            raise _refused(event, "this key is there twice", "keep one of them")
        value = next(events)
        found[key] = value if type(value) is str else _value(events, value, depth)
    raise StopIteration


def _sequence(events: Events, depth: int) -> Json:
    found: list[Json] = []
    for event in events:
        if type(event) is str:
            found.append(event)
        elif type(event) is SequenceEndEvent:
            return found
        else:
            found.append(_value(events, event, depth))
    raise StopIteration


def _value(events: Events, event: Any, depth: int) -> Json:
    if type(event) is str or type(event) is int:
        plain: str | int = event
        return plain
    return _scalar(event) if type(event) is ScalarEvent else _collection(events, event, depth)


_NUMBER = re.compile(
    r"(?P<integer>[-+]?(?:0|[1-9][0-9]*))"
    r"|(?P<based>0x[0-9a-fA-F]+|0o[0-7]+)"
    r"|(?P<fraction>[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?(?<![0-9]{400}))"
    r"|(?P<endless>[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))"
    r"|(?P<doubtful>[-+]?0b[01_]+|[-+]?[0-9][0-9_]*(?:\.[0-9_]*)?(?:[eE][-+][0-9]+)?"
    r"|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt \t].*)?)",
    re.ASCII | re.DOTALL,
)
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+", re.ASCII)


def _scalar(event: Any) -> bool | int | float | str | None:
    if event.anchor is not None or event.ctag is not None:
        raise _decorated(event)
    text: str = event.value
    if event.implicit[0]:  # plain: neither quoted nor a block
        if text in WORDS:
            return WORDS[text]
        if text[0] in NUMBER_STARTS:
            return _number(event, text)
        if text in DOUBTFUL_WORDS:
            raise _refused(event, "this word is true or false to some readers", "write true or false, or quote it")
    return text


def _key(event: Any) -> str:
    """Return a key that is text to every reader. `on` may pass: it is a name of ours."""
    if type(event) is not ScalarEvent:
        raise _refused(event, "only text may be a key")
    if event.anchor is not None or event.ctag is not None:
        raise _decorated(event)
    text: str = event.value
    is_number = text[:1] in NUMBER_STARTS and _NUMBER.fullmatch(text)
    if event.implicit[0] and (text in WORDS or is_number or text == "<<"):
        raise _refused(event, "only text may be a key", "quote it; merge keys are not allowed")
    return text


def _number(event: Any, text: str) -> int | float | str:
    shape = _NUMBER.fullmatch(text)
    if shape is None:
        return text
    if shape.lastgroup == "endless":
        raise _refused(event, "only finite numbers are allowed")
    if shape.lastgroup == "doubtful" or _LEADING_ZERO.fullmatch(text):
        raise _refused(event, "readers do not agree what this number or date is", "quote it, or write it plainly")
    if len(text) > MAX_DIGITS:
        raise _refused(event, f"a number of more than {MAX_DIGITS} characters is not allowed", "quote text")
    if shape.lastgroup == "fraction":
        return _finite(event, float(text))
    return int(text, 0)


def _finite(event: Any, number: float) -> float:
    if number in {float("inf"), float("-inf")}:
        raise _refused(event, "only finite numbers are allowed")
    return number


def _walk(events: Events, path: Path, item: Any, start: Any) -> Iterator[Node]:
    end = start
    if isinstance(start, SequenceStartEvent):
        for index, entry in enumerate(events):
            if isinstance(entry, SequenceEndEvent):
                end = entry
                break
            yield from _walk(events, (*path, index), entry, entry)
    elif isinstance(start, MappingStartEvent):
        for key in events:
            if isinstance(key, MappingEndEvent):
                end = key
                break
            yield from _walk(events, (*path, key.value), key, next(events))
    yield Node(path, item, start, end)


def _at(event: Any) -> tuple[int, int]:
    mark = getattr(event, "start_mark", None)
    return (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)


def _refused(event: Any, message: str, hint: str = "") -> Refused:
    return Refused(message, *_at(event), hint)


def _decorated(event: Any) -> Refused:
    what = "anchors" if event.anchor is not None else "tags"
    return _refused(event, f"{what} are not allowed", "write the value out")


def _nothing() -> Refused:
    return Refused("the file holds no document", hint="remove the file to remove the object")


def _too_many() -> Refused:
    return Refused(f"the file has more than {MAX_EVENTS} values", hint="split it: one object per file")


def _syntax(mistake: YAMLError, content: bytes) -> Refused:
    """Translate what the parser says. libyaml's texts are constants; the pure parser's quote the file."""
    problem = getattr(mistake, "problem", None) or getattr(mistake, "reason", None)
    said = f": {problem}" if parser.libyaml is not None and problem else ""
    mark = getattr(mistake, "problem_mark", None) or getattr(mistake, "context_mark", None)
    text = _text(content)
    if mark is None:
        # A character that may not be there: libyaml counts bytes.
        position = getattr(mistake, "position", 0)
        before = text[:position] if parser.libyaml is None else text.encode()[:position].decode("utf-8", "ignore")
        return Refused(f"this is not YAML{said}", *_end_of(before))
    # libyaml adds a line break at the end in thought: a place behind the file is its end.
    place = (mark.line + 1, mark.column + 1)
    return Refused(f"this is not YAML{said}", *min(place, _end_of(text)))


def _end_of(text: str) -> tuple[int, int]:
    lines = _LINE_BREAK.split(text)
    return len(lines), len(lines[-1]) + 1
