"""Documents as JSON, YAML and CSV. Nothing that a terminal obeys is left in any of them."""

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from reconciler.cli.text import clean, safe_json

# Everything else is quoted: YAML 1.1 readers take `no`, `1_000` and `12:30` for something that is no text.
_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./-]*", re.ASCII)
_WORDS = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}


def as_json(value: Any) -> str:
    """Return `value` as JSON over several lines."""
    return safe_json(json.dumps(value, ensure_ascii=False, indent=2))


def as_json_line(value: Any) -> str:
    """Return `value` as JSON on one line."""
    return safe_json(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def as_yaml(value: Any) -> str:
    """Return a JSON value as YAML in block style. Every reader of YAML, old or new, gets the same value back."""
    return "\n".join(_block(value, ""))


def as_csv(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return rows as CSV, below a line of titles if there are any; a spreadsheet computes none of the cells."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if titles:
        writer.writerow(titles)
    writer.writerows([_inert(clean(cell)) for cell in row] for row in rows)
    return text.getvalue().removesuffix("\n")


def _inert(cell: str) -> str:
    if cell == "-":
        return ""
    return f"'{cell}" if cell[:1] in {"=", "+", "-", "@"} else cell


def _block(value: Any, indent: str) -> Iterator[str]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _entry(f"{indent}{_scalar(str(key))}:", inner, indent)
    elif isinstance(value, list) and value:
        for inner in value:
            first, *rest = _block(inner, indent + "  ")
            yield f"{indent}- {first.removeprefix(indent + '  ')}"
            yield from rest
    else:
        yield indent + _scalar(value)


def _entry(key: str, inner: Any, indent: str) -> Iterator[str]:
    if isinstance(inner, Mapping | list) and inner:
        yield key
        yield from _block(inner, indent if isinstance(inner, list) else indent + "  ")
    else:
        yield f"{key} {_scalar(inner)}"


def _scalar(value: Any) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    text = as_json_line(value)
    if isinstance(value, float) and "." not in text:
        return text.replace("e", ".0e")  # YAML 1.1 takes a number without a dot and with an exponent for a text
    return text
