"""Edits of a file that people wrote: only the characters of the change differ, comments and layout stay.

The places come from the parser's events. A round trip through a document tree would lose comments that stand after
a removed key, and would re-indent lists. Whatever is edited is read again and compared with what was meant.
"""

import copy
import re
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import orjson

from reconciler.desired import yaml
from reconciler.desired.yaml import Path, Refused


@dataclass(slots=True)
class _Span:
    """Where a value is in the text. `item` is where its key or its dash begins."""

    item: int
    start: int
    end: int
    is_flow: bool
    is_collection: bool
    children: list[Path]


def set_field(content: bytes, path: Path, value: Any) -> bytes:
    """Return `content` with the field at `path` set. Missing mappings on the way are made."""
    text, spans, meant = _opened(content)
    place = meant
    for depth, part in enumerate(path[:-1]):
        if isinstance(place, dict) and part not in place:
            return set_field(content, path[: depth + 1], _nested(path[depth + 1 :], value))
        place = place[part]
    is_new = isinstance(place, dict) and path[-1] not in place
    place[path[-1]] = copy.deepcopy(value)
    if is_new:
        edited = _inserted(text, spans[path[:-1]], spans, f"{path[-1]}: {_written(value)}")
    else:
        span = spans[path]
        gap = " " if span.start == span.end else ""
        edited = text[: span.start] + gap + _written(value) + text[span.end :]
    return _checked(content, edited, meant)


def add_entry(content: bytes, path: Path, entry: Any) -> bytes:
    """Return `content` with `entry` put before the others in the list at `path`, which is made if missing."""
    text, spans, meant = _opened(content)
    if path not in spans or not spans[path].is_collection:
        return set_field(content, path, [entry])
    place = meant
    for part in path:
        place = place[part]
    place.insert(0, copy.deepcopy(entry))
    dash = "" if spans[path].is_flow else "- "
    return _checked(content, _inserted(text, spans[path], spans, dash + _written(entry)), meant)


def remove_field(content: bytes, path: Path) -> bytes:
    """Return `content` without the field or list entry at `path`. What gets empty goes too, but for the spec."""
    text, spans, meant = _opened(content)
    parent = spans[path[:-1]]
    is_entry = isinstance(path[-1], int)
    if len(parent.children) == 1 and (len(path) > 2 or (is_entry and len(path) > 1)):
        return remove_field(content, path[:-1])
    place = meant
    for part in path[:-1]:
        place = place[part]
    del place[path[-1]]
    if len(parent.children) == 1:
        return _checked(content, text[: parent.start] + ("[]" if is_entry else "{}") + text[parent.end :], meant)
    position = parent.children.index(path)
    before = spans[parent.children[position - 1]] if position else None
    after = spans[parent.children[position + 1]] if position + 1 < len(parent.children) else None
    start, end = _cut(text, parent, spans[path], before, after)
    return _checked(content, text[:start] + text[end:], meant)


def _cut(text: str, parent: _Span, gone: _Span, before: _Span | None, after: _Span | None) -> tuple[int, int]:
    """Return what to take out so that the neighbours stay as they are."""
    line_start = text.rfind("\n", 0, gone.item) + 1
    is_first_on_line = not text[line_start : gone.item].strip()
    if not parent.is_flow and is_first_on_line:
        line_end = text.find("\n", gone.end)
        return line_start, len(text) if line_end < 0 else line_end + 1
    if after:
        return gone.item, after.item
    return (before.end if before else gone.item), gone.end


def _inserted(text: str, parent: _Span, spans: dict[Path, _Span], item: str) -> str:
    if parent.is_flow or not parent.children:
        comma = ", " if parent.children else ""
        return text[: parent.start + 1] + item + comma + text[parent.start + 1 :]
    first = spans[parent.children[0]].item
    indent = " " * (first - text.rfind("\n", 0, first) - 1)
    line_break = "\r\n" if "\r\n" in text else "\n"
    return text[:first] + item + line_break + indent + text[first:]


def _nested(path: Path, value: Any) -> Any:
    for part in reversed(path):
        value = {part: value}
    return value


# Texts that need no quotes anywhere, checked by reading them.
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./ -]*(?<! )", re.ASCII)


def _written(value: Any) -> str:
    """Return `value` in flow style, with quotes only where they are needed."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_written(key)}: {_written(inside)}" for key, inside in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_written, value)) + "]"
    if isinstance(value, str) and _PLAIN.fullmatch(value) and _reads_back(value):
        return value
    return orjson.dumps(value).decode()


def _reads_back(value: str) -> bool:
    try:
        return yaml.read(value.encode()) == value
    except Refused:
        return False


def _opened(content: bytes) -> tuple[str, dict[Path, _Span], Any]:
    meant = yaml.read(content)
    text = content.decode("utf-8-sig")
    return text, _spans(content, text), meant


def _checked(before: bytes, edited: str, meant: Any) -> bytes:
    mark = b"\xef\xbb\xbf" if before.startswith(b"\xef\xbb\xbf") else b""
    content = mark + edited.encode()
    try:
        is_meant = yaml.read(content) == meant
    except Refused:
        is_meant = False
    if not is_meant:
        raise Refused("this file is laid out in a way that cannot be edited safely", hint="edit it by hand")
    return content


def _spans(content: bytes, text: str) -> dict[Path, _Span]:
    spans: dict[Path, _Span] = {}
    inside: dict[Path, list[Path]] = defaultdict(list)
    for node in yaml.nodes(content):
        children = inside[node.path]
        start, end = node.start.start_mark.index, node.end.end_mark.index
        is_collection = node.end is not node.start
        is_flow = is_collection and bool(node.start.flow_style)
        # Block collections and block scalars end where the next token begins, behind comments and blank lines.
        if is_collection and not is_flow:
            end = max(spans[child].end for child in children)
        elif not is_collection:
            end = start + len(text[start:end].rstrip())
        item = node.item.start_mark.index
        spans[node.path] = _Span(item, start, end, is_flow, is_collection, children)
        if node.path:
            inside[node.path[:-1]].append(node.path)
    for span in spans.values():
        for child in span.children if span.is_collection and not span.is_flow else ():
            if isinstance(child[-1], int):
                spans[child].item = text.rindex("-", 0, spans[child].start)
    return spans
