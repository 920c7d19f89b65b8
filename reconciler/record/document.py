"""What status files say: from a status, and the document before it, to the next document and its index row."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from reconciler.model.desired import FileError
from reconciler.model.plan import Held, Plan
from reconciler.model.snapshot import SourceProblem
from reconciler.model.status import STATUS_VERSION, Condition, ObjectStatus
from reconciler.record.text import Redaction, one_line, plain, written

HISTORY_LENGTH = 10
MAX_CONDITIONS = 32
MAX_ERRORS = 500

# A table cell; the whole message is in the object's own document.
_ROW_MESSAGE = 200
# Of lists in `detail` the index keeps what tables show: how many, which, and in what state.
_ROW_FIELDS = ("name", "number", "state", "nodes")

# What makes a row of a list in `detail` a part with a life of its own, such as a node of a pool.
_PART = {"name", "state"}

JsonDocument = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Overview:
    """What a pass knows of the whole site. `as_of` is when it looked, the moment of writing unless given.

    `extras` are further documents by path, such as `queue/<pool>.json`: these and no others. With None those that
    are there stay, and so does the plan.
    """

    revision: str
    as_of: datetime | None = None
    source: SourceProblem | None = None
    read_only: str = ""
    held: tuple[Held, ...] = ()
    errors: tuple[FileError, ...] = ()
    plan: Plan | None = None
    extras: Mapping[str, object] | None = None


def content_digest(status: ObjectStatus) -> str:
    """Return a digest of what a status says; a new revision that leaves it alone does not change it."""
    return digest_of([getattr(status, name) for name in ObjectStatus.__slots__ if name != "revision"])


def digest_of(value: object) -> str:
    """Return a digest of what `value` says, before it is cleaned: that costs more and is often not needed."""
    option = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS
    try:
        data = orjson.dumps(value, default=str, option=option)
    except TypeError:  # half a character or a number beyond 64 bits; cleaned values have neither
        data = orjson.dumps(plain(value, Redaction()), option=option)
    return hashlib.sha256(data).hexdigest()[:32]


def document(status: ObjectStatus, before: JsonDocument, now: datetime, redaction: Redaction) -> JsonDocument:
    """Return the next document of an object: `before` itself when it says nothing new."""
    detail = plain(status.detail, redaction)
    labels = detail.pop("labels", None)
    said = {
        "apiVersion": STATUS_VERSION,
        "kind": status.kind,
        "metadata": {
            "name": status.name,
            **({"team": status.team} if status.team else {}),
            **({"labels": labels} if labels else {}),
        },
        "state": status.state,
        "sync": status.sync.value,
        "health": status.health.value,
        "reason": status.reason,
        "message": one_line(redaction.hide(status.message)),
        "detail": {key: _parts(value, _detail(before).get(key), now) for key, value in detail.items()},
    }
    conditions = [_condition(each, before, now, redaction) for each in status.conditions[:MAX_CONDITIONS]]
    same = {**said, "conditions": conditions}
    if same == {key: before.get(key) for key in same} and _spec_digest(before) == status.specDigest:
        return before
    moved = before.get("state") != status.state or not isinstance(before.get("since"), str)
    return {
        **same,
        "observed": {"revision": status.revision, "specDigest": status.specDigest, "asOf": written(now)},
        "since": written(now) if moved else before["since"],
        "history": _history(status, before, now) if moved else before.get("history", []),
    }


def index_row(document: JsonDocument, path: str, content: str) -> JsonDocument:
    """Return what the index holds of a document: enough for every table. `content` tells an unchanged object."""
    metadata = document["metadata"]
    return {
        "kind": document["kind"],
        "team": metadata.get("team", ""),
        "name": metadata["name"],
        **({"metadata": metadata} if "labels" in metadata else {}),
        "state": document["state"],
        "sync": document["sync"],
        "health": document["health"],
        "reason": document["reason"],
        "message": one_line(document["message"], _ROW_MESSAGE),
        "since": document["since"],
        "observed": {"revision": document["observed"]["revision"]},
        "detail": {key: _brief(key, value) for key, value in document["detail"].items()},
        "path": path,
        "content": content,
    }


def index_bytes(rows: Iterable[bytes]) -> bytes:
    """Return the index of encoded rows, one line each: people can search it, and nothing is encoded twice."""
    return b'{"apiVersion":"%s","objects":[\n%s\n]}\n' % (STATUS_VERSION.encode(), b",\n".join(rows))


def summary(
    view: Overview, counts: Mapping[tuple[str, str, str], int], before: JsonDocument, now: datetime
) -> JsonDocument:
    """Return the site on one page, not cleaned yet; `counts` are by kind, field and value.

    A trouble is as old as the page `before` says.
    """
    kinds: dict[str, dict[str, Any]] = {}
    for (kind, name, value), count in counts.items():
        if count and name == "total":
            kinds.setdefault(kind, {})[name] = count
        elif count:
            kinds.setdefault(kind, {}).setdefault(name, {})[value] = count
    return {
        "apiVersion": STATUS_VERSION,
        "revision": view.revision,
        "counts": kinds,
        "source": _aged("fault", _source(view.source), before.get("source"), now),
        "readOnly": _aged("reason", _read_only(view.read_only), before.get("readOnly"), now),
        "held": [_held(each) for each in view.held],
        "errors": [_error(each) for each in view.errors[:MAX_ERRORS]],
        "errorsOmitted": max(0, len(view.errors) - MAX_ERRORS),
    }


def pretty(value: object) -> bytes:
    """Return JSON for people and for comparing: sorted keys, indented, one line break at the end."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _parts(value: Any, before: object, now: datetime) -> Any:
    """Return a list of parts that have a name and a state, each with the moment when that began; else the value."""
    if not isinstance(value, list) or not all(isinstance(each, dict) and each.keys() >= _PART for each in value):
        return value
    old = {each.get("name"): each for each in _tables(before)}
    return [_aged("state", each, old.get(each["name"]), now) for each in value]


def _detail(before: JsonDocument) -> JsonDocument:
    detail = before.get("detail")
    return detail if isinstance(detail, dict) else {}


def _condition(condition: Condition, before: JsonDocument, now: datetime, redaction: Redaction) -> JsonDocument:
    old = next((each for each in _tables(before.get("conditions")) if each.get("type") == condition.type), {})
    lasts = old.get("status") == condition.status and isinstance(old.get("lastTransitionTime"), str)
    moved = condition.lastTransitionTime or now
    return {
        "type": condition.type,
        "status": condition.status,
        "reason": one_line(redaction.hide(condition.reason), 200),
        "message": one_line(redaction.hide(condition.message)),
        "lastTransitionTime": old["lastTransitionTime"] if lasts else written(moved),
    }


def _history(status: ObjectStatus, before: JsonDocument, now: datetime) -> list[JsonDocument]:
    entry = {"at": written(now), "state": status.state, "reason": status.reason}
    return [*_tables(before.get("history")), entry][-HISTORY_LENGTH:]


def _spec_digest(before: JsonDocument) -> object:
    observed = before.get("observed")
    return observed.get("specDigest") if isinstance(observed, dict) else None


def _tables(value: object) -> list[JsonDocument]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _brief(key: str, value: Any) -> Any:
    if not isinstance(value, list):
        return value
    shown = value[-1:] if key == "attempts" else value
    return [
        {k: v for k, v in each.items() if k in _ROW_FIELDS} if isinstance(each, dict) else each for each in shown
    ]


def _source(problem: SourceProblem | None) -> JsonDocument | None:
    if problem is None:
        return None
    return {"fault": problem.fault.value, "message": one_line(problem.message), "revision": problem.revision}


def _read_only(reason: str) -> JsonDocument | None:
    return {"reason": reason} if reason else None


def _aged(same: str, fact: JsonDocument | None, before: object, now: datetime) -> JsonDocument | None:
    """Return a fact with its beginning: that of the one before, if `same` of both is the same."""
    if fact is None:
        return None
    old = before if isinstance(before, dict) else {}
    lasts = old.get(same) == fact[same] and isinstance(old.get("since"), str)
    return {**fact, "since": old["since"] if lasts else written(now)}


def _held(held: Held) -> JsonDocument:
    return {
        "brake": held.brake,
        "digest": held.digest,
        "message": one_line(held.message),
        "what": list(held.what),
        "targets": [str(target) for target in held.targets],
    }


def _error(error: FileError) -> JsonDocument:
    return {name: getattr(error, name) for name in FileError.__slots__}
