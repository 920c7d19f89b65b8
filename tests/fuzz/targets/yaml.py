"""Files of the repo, and edits of them."""

import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ruamel.yaml

from reconciler.desired import events, yaml
from reconciler.desired.edit import add_entry, remove_field, set_field
from reconciler.desired.parse import parse, restore
from reconciler.model.desired import FileError
from reconciler.model.document import KINDS
from tests.fuzz.engine import CODE, Broken
from tests.fuzz.target import ROOT, Target

# Stands in the seeds as a value, and changes carry it everywhere: no text of ours may ever hold it.
CANARY = b"s3cr3t-C4N4RY"
# What a YAML reader counts as the end of a line.
_LINE_END = re.compile("\r\n|[\r\n\x85\u2028\u2029]")
_TEXT_LIMIT = 600


def template() -> Iterator[bytes]:
    """Give the files of the template repo, as they are and with a secret for each text value."""
    for path in sorted((ROOT / "state-repo-template").rglob("*.yaml")):
        content = path.read_bytes()
        yield content
        yield re.sub(rb"(: *)([A-Za-z][\w./ -]*)$", rb"\1" + CANARY, content, flags=re.MULTILINE)


def check_file(data: bytes) -> None:
    """Read a file as the loader does."""
    found = parse("teams/rl/jobs/x.yaml", data)
    if isinstance(found, tuple):
        if not found:
            raise Broken("no word: a file is refused without an error")
        for error in found:
            _check_error(error, data)
        return
    again = restore(found.written)
    if (again.id, again.document, again.digest) != (found.id, found.document, found.digest):
        raise Broken("not the same: what was written down is read back as something else")
    if found.id.kind not in KINDS:
        raise Broken("no kind: a document of an unknown kind passes")


def _check_error(error: FileError, data: bytes) -> None:
    lines = _LINE_END.split(data.decode("utf-8-sig", "replace"))
    if not 1 <= error.line <= len(lines):
        raise Broken(f"no such line: {error}")
    if not 1 <= error.column <= len(lines[error.line - 1]) + 1:
        raise Broken(f"no such column: {error}")
    text = str(error)
    if CANARY.decode() in text:
        raise Broken(f"a value is told: {error}")
    if len(text) > _TEXT_LIMIT or not text.isprintable():
        raise Broken(f"no text for people: {text!r}")


def check_without_libyaml(data: bytes) -> None:
    """Read a file with both parsers."""
    with_libyaml = _read(data)
    module: Any = events
    libyaml, module.libyaml = module.libyaml, None
    try:
        pure = _read(data)
    finally:
        module.libyaml = libyaml
    if pure is not None and with_libyaml is not None and pure != with_libyaml:
        raise Broken("two meanings: the two parsers read different values")


def _read(data: bytes) -> tuple[Any] | None:
    try:
        return (yaml.read(data),)
    except yaml.Refused:
        return None


def check_edit(data: bytes) -> None:
    """Make one edit of a file that is read; which one, follows from the file."""
    try:
        plain = yaml.read(data)
    except yaml.Refused:
        return
    number = zlib.crc32(data)
    nodes = sorted((node.path for node in yaml.nodes(data)), key=str)
    path = nodes[number % len(nodes)]
    inside = plain
    for part in path:
        inside = inside[part]  # type: ignore[index]  # a path of this very document
    value = VALUES[number // 7 % len(VALUES)]
    try:
        if isinstance(inside, list) and number % 3 == 0:
            _check_insertion(data, add_entry(data, path, value))
        elif isinstance(inside, dict) and number % 3 == 1:
            _check_insertion(data, set_field(data, (*path, *NEW[number // 11 % len(NEW)]), value))
        elif path and number % 3 == 2:
            _check_removal(data, remove_field(data, path))
        elif path:
            set_field(data, path, value)
    except yaml.Refused:
        return


VALUES: tuple[Any, ...] = (
    True,
    2,
    "text",
    "no",
    "a: b",
    "2h",
    "ECC errors\n",
    "",
    "é",
    {"node": "b", "reason": "x"},
    [1, "y"],
)
# No file has these yet.
NEW: tuple[yaml.Path, ...] = (("new",), ("new drain", "x"), ("new b",))


def _check_insertion(before: bytes, after: bytes) -> None:
    if _pieces(before, after)[0]:
        raise Broken("something gone: an edit that adds takes something away")


def _check_removal(before: bytes, after: bytes) -> None:
    # What would leave nothing leaves `{}` or `[]`.
    if len(_pieces(before, after)[1]) > 2:
        raise Broken("something new: a removal changes what stays")


def _pieces(before: bytes, after: bytes) -> tuple[bytes, bytes]:
    """Return the one piece of a text that changed: what it was and what it is."""
    start = _common(before, after)
    end = _common(before[start:][::-1], after[start:][::-1])
    return before[start : len(before) - end], after[start : len(after) - end]


def _common(one: bytes, other: bytes) -> int:
    pairs = zip(one, other, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


TARGETS = (
    Target(
        "yaml",
        "a file gives a document, or errors with a place inside the file and without any value of it",
        check_file,
        template,
    ),
    Target(
        "edit",
        "an edit gives the file that was meant, with one piece of it changed, or is refused",
        check_edit,
        template,
    ),
    Target(
        "pure",
        "what both parsers read means the same to both, and the pure one fails in no other way",
        check_without_libyaml,
        template,
        watched=(CODE, str(Path(ruamel.yaml.__file__).parent)),
    ),
)
