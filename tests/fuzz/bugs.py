"""A museum of planted bugs, one or more per target: the fuzzer must find each, or its promise says nothing."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import orjson
import ruamel.yaml

from reconciler.desired import cache, edit, events, yaml
from reconciler.kinds.job import observe
from reconciler.model import text
from reconciler.node import documents, headfile
from reconciler.record import journal
from reconciler.remote import answer, ray_answers


@dataclass(frozen=True, slots=True)
class Bug:
    """A mistake that somebody might make: in which place what stands instead, and what the find then says."""

    name: str
    target: str
    owner: Any
    place: str
    instead: Any
    says: str


def _without_comments(*given: Any, real: Callable[..., str] = edit._inserted) -> str:
    return re.sub("#.*", "", real(*given))


def _without_a_look(line: bytes, _: str) -> bytes | None:
    # What is no text at all is no checksum, right or wrong.
    return line[journal._ENTRY_AT : -1] if line[: journal._ENTRY_AT].isascii() else None


def _any_field(self: documents.Fields, name: str) -> object:
    return self._left.pop(name)


class _AnotherParser:
    """Reads large letters for small ones."""

    def __init__(self, **_: Any) -> None:
        pass

    def parse(self, content: str) -> Iterator[Any]:
        """Return the events of another text."""
        events: Iterator[Any] = ruamel.yaml.YAML(typ="safe", pure=True).parse(content.swapcase())
        return events


_header = journal._Header.model_validate_json
_talk = answer.Conversation
BUGS: tuple[Bug, ...] = (
    Bug("places behind the end", "yaml", yaml, "_end_of", lambda _: (1 << 30, 1), "no such line"),
    Bug("comments go with an edit", "edit", edit, "_inserted", _without_comments, "something gone"),
    Bug("another parser, another text", "pure", events, "YAML", _AnotherParser, "two meanings"),
    Bug("a variable that gates refuse", "documents", text, "FORBIDDEN_ENV", text._RESERVED_LABEL, "not taken"),
    Bug("checksums are not compared", "journal", journal, "_open", _without_a_look, "another ledger"),
    Bug(
        "what is changed is taken for torn", "journal", journal, "_is_torn", lambda _: True, "a whole line dropped"
    ),
    Bug("any header will do", "entries", journal, "_header", lambda line, _: _header(line), "ValidationError"),
    Bug("lines of the cache stand alone", "cache", cache, "_checksum", lambda _: b"0" * 16, "another state"),
    Bug("signatures are not looked at", "headfile", headfile, "_verify", lambda *_: None, "another head"),
    Bug("every field is there", "gate", documents.Fields, "take", _any_field, "a defect"),
    Bug("anything is a JSON object", "ray", ray_answers, "_document", orjson.loads, "JSONDecodeError"),
    Bug("answers are not searched for the token", "answers", _talk, "_hide", lambda _, text: text, "a secret"),
    Bug("true is a number", "jobdir", observe, "as_number", lambda value: value, "not read again"),
)


@contextmanager
def planted(bug: Bug) -> Iterator[None]:
    """Let a bug be there for a while."""
    original = getattr(bug.owner, bug.place)
    setattr(bug.owner, bug.place, bug.instead)
    try:
        yield
    finally:
        setattr(bug.owner, bug.place, original)
