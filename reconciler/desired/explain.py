"""Mistakes in words: where in the file, what was expected, the nearest valid name. Values are never repeated."""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args

from pydantic import ValidationError

from reconciler.desired import yaml
from reconciler.model import text
from reconciler.model.cluster import PYTHON_PATTERN, VERSION_PATTERN
from reconciler.model.desired import FileError
from reconciler.model.document import KINDS
from reconciler.model.ids import NAME_PATTERN
from reconciler.model.job import REFERENCE_PATTERN
from reconciler.model.site import PLAN_PATTERN
from reconciler.model.spec import Strict
from reconciler.model.user import EMAIL_PATTERN

# One broken file must not fill a status page.
MAX_ERRORS = 20


def refusal(path: str, mistake: yaml.Refused) -> FileError:
    """Return the error of a file that is not YAML as we read it."""
    return FileError(path, mistake.line, mistake.column, "", mistake.message, mistake.hint)


def mistakes(path: str, content: bytes, plain: Any, invalid: ValidationError) -> tuple[FileError, ...]:
    """Return what is wrong with a document that was read but does not fit its kind.

    The file is read again to find the places: good files, nearly all, never pay for them.
    """
    places = yaml.places(content)
    kind = plain.get("kind") if isinstance(plain, dict) else None
    errors = invalid.errors(include_url=False, include_input=False)
    # A list whose entries are wrong is also called too short: the entries say it better.
    parents = {error["loc"][:depth] for error in errors for depth in range(len(error["loc"]))}
    telling = [error for error in errors if error["type"] != "too_short" or error["loc"] not in parents]
    return tuple(sorted({_error(path, places, str(kind), error) for error in telling[:MAX_ERRORS]}))


def nearest(wanted: str, known: Iterable[str]) -> str:
    """Return a hint that names the nearest of `known`, or nothing when none is near."""
    names = sorted(known)
    near = difflib.get_close_matches(wanted, names, n=1) or [name for name in names if name.startswith(wanted)]
    return f"did you mean {near[0]}?" if near else ""


def _error(path: str, places: Mapping[yaml.Path, yaml.Place], kind: str, error: Any) -> FileError:
    where: list[str | int] = []
    # Tags of unions are in pydantic's path but not in the file.
    for part in error["loc"]:
        if (*where, part) in places:
            where.append(part)
    if error["type"] in _ABOUT_KIND and ("kind",) in places:
        where = ["kind"]
    place = places[tuple(where)]
    about_key = error["type"] in {"missing", "extra_forbidden"} or error["loc"][-1:] == ("[key]",)
    line, column = place.key if about_key else place.value
    message, hint = _words(kind, where, error)
    named = [*where, error["loc"][-1]] if error["type"] == "missing" else where
    return FileError(path, line, column, _dotted(named), message, hint)


# What is written as a key is shown when it looks like a field; anything else may be a value in a wrong place.
_FIELD_LIKE = re.compile(r"[A-Za-z][A-Za-z_]{0,30}", re.ASCII)


def _dotted(where: Sequence[str | int]) -> str:
    shown = ""
    for part in where:
        if isinstance(part, int):
            shown += f"[{part}]"
        else:
            shown += f".{part if _FIELD_LIKE.fullmatch(part) else '?'}"
    return shown.removeprefix(".")


def _words(kind: str, where: Sequence[str | int], error: Any) -> tuple[str, str]:
    """Return message and hint of one of pydantic's errors."""
    sort: str = error["type"]
    bounds: Mapping[str, Any] = error.get("ctx", {})
    if sort == "extra_forbidden":
        siblings = _fields(kind, where[:-1])
        return "this field is not known", nearest(str(where[-1]), siblings) or _choices(siblings)
    if sort == "missing":
        return "this field is required", ""
    if sort in _ABOUT_KIND:
        return "expected a known kind", nearest(kind, KINDS) or _choices(KINDS)
    if sort == "string_pattern_mismatch":
        return _PATTERNS.get(bounds["pattern"], f"expected text that matches {bounds['pattern']}"), ""
    if sort in _SORTS:
        return _SORTS[sort].format(**bounds), _HINTS.get(sort, "")
    # Texts of our own checks are constants; whatever pydantic may add later is named by its class only.
    return (error["msg"] if sort in _OWN else f"this is not allowed here ({sort})"), ""


_ABOUT_KIND = {"union_tag_invalid", "union_tag_not_found"}
_OWN = {"duration", "memory", "host", "path", "env_reserved", "label_reserved", "name_reserved", "ports_differ"}

_SORTS = {
    "string_type": "expected text",
    "int_type": "expected a whole number",
    "int_from_float": "expected a whole number",
    "float_type": "expected a number",
    "bool_type": "expected true or false",
    "tuple_type": "expected a list",
    "dict_type": "expected a mapping",
    "mapping_type": "expected a mapping",
    "model_type": "expected a mapping",
    "model_attributes_type": "expected a mapping",
    "literal_error": "expected {expected}",
    "enum": "expected {expected}",
    "greater_than": "expected more than {gt}",
    "greater_than_equal": "expected {ge} or more",
    "less_than": "expected less than {lt}",
    "less_than_equal": "expected {le} or less",
    "finite_number": "expected a finite number",
    "string_too_long": "expected at most {max_length} characters",
    "string_too_short": "expected at least {min_length} characters",
    "too_long": "expected at most {max_length} entries",
    "too_short": "expected at least {min_length} entries",
}
_HINTS = {
    "string_type": "put it in quotes",
    "string_too_long": "shorten it, or leave it out",
}
_PATTERNS = {
    NAME_PATTERN: "expected a name: a-z, 0-9 and - inside, at most 42 characters",
    text.LINE_PATTERN: "expected one line of text without control and direction characters",
    text.HOST_PATTERN: "expected a host name or an IP address in lower case, without user and port",
    text.LOGIN_PATTERN: "expected a login name",
    text.LABEL_KEY_PATTERN: "expected a label key: letters, digits and _.- inside, at most 63 characters",
    text.LABEL_VALUE_PATTERN: "expected a label value: letters, digits and _.- inside, at most 63 characters",
    text.PATH_PATTERN: "expected a relative path of plain characters",
    text.ENV_NAME_PATTERN: "expected the name of a variable: letters, digits and _, no digit first",
    text.ARGUMENT_PATTERN: "expected text without NUL",
    REFERENCE_PATTERN: "expected the name of a job, or team/name",
    PYTHON_PATTERN: "expected python3, python3.x or an absolute path without spaces",
    VERSION_PATTERN: "expected an exact version such as 2.60.0",
    EMAIL_PATTERN: "expected a mail address",
    PLAN_PATTERN: "expected the digest of a plan: 64 hexadecimal digits",
}


def _choices(names: Iterable[str]) -> str:
    return "one of " + ", ".join(names)


def _fields(kind: str, where: Sequence[str | int]) -> tuple[str, ...]:
    """Return the names that a file may use at a place of a document."""
    model: Any = KINDS.get(kind)
    for part in where:
        if isinstance(part, str) and model is not None:
            fields = {field.alias: field.annotation for field in model.model_fields.values()}
            model = _record(fields.get(part))
    if model is None:
        return ()
    return tuple(str(field.alias) for field in model.model_fields.values())


def _record(annotation: Any) -> type[Strict] | None:
    """Return the record inside a field's type: itself, optional, or in a list."""
    if isinstance(annotation, type) and issubclass(annotation, Strict):
        return annotation
    return next((found for part in get_args(annotation) if (found := _record(part))), None)
