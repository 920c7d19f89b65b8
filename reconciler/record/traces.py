"""What the shared directory still tells of attempts and heads when the ledger is lost.

Job directories belong to jobs: everything in them is hostile, and rubbish is as good as nothing.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
from pydantic import ValidationError

from reconciler.model.document import from_json
from reconciler.model.ids import NAME_PATTERN, ObjectId
from reconciler.model.json import as_number, as_text
from reconciler.model.layout import JOBS, head_file, job_dir
from reconciler.model.outcome import FailureKind
from reconciler.model.spec import spec_digest
from reconciler.model.states import JobState
from reconciler.record.text import MAX_MESSAGE, one_line
from reconciler.remote.files import Files, FilesError

_FILE_LIMIT = 1 << 20
# `<team>.<job>-<digest8>-<number>`; no name holds a dot.
_ID = re.compile(r"([a-z0-9-]{1,42})\.([a-z0-9-]{1,42})-([0-9a-f]{8})-([1-9][0-9]{0,8})", re.ASCII)
_NAME = re.compile(NAME_PATTERN, re.ASCII)
# What a job's folder for checkpoints is called: as the job was, with a number where that was another one's.
_FOLDER = re.compile(r"([a-z0-9-]{1,42})(\.[1-9][0-9]{0,9})?", re.ASCII)
_MAX_EPOCH = 1 << 53


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job runner says that an attempt ended."""

    state: JobState
    message: str
    at: datetime | None
    exit_code: int | None


@dataclass(frozen=True, slots=True)
class Trace:
    """One job directory. `cluster` is empty and `digest` has eight characters when it does not tell more.

    `folder` is the name of its folder for checkpoints, empty when it tells none.
    """

    submission_id: str
    number: int
    owner: ObjectId
    digest: str
    cluster: str
    epoch: int
    nodes: tuple[str, ...]
    folder: str
    claim_host: str
    claimed: datetime | None
    burnt: bool
    outcome: Outcome | None


@dataclass(frozen=True, slots=True)
class HeadTrace:
    """A head file."""

    site: str
    epoch: int
    session: str
    host: str
    gcs_port: int
    dashboard_port: int
    issued: datetime | None


def attempt_traces(shared: Files) -> tuple[list[Trace], list[str]]:
    """Return what each job directory tells, and the names in the folder that are no attempt's."""
    names = shared.list(JOBS)
    found = [(name, _ours(name)) for name in names]
    traces = [_trace(shared, name, match) for name, match in found if match]
    return traces, [name for name, match in found if not match]


def head_trace(shared: Files, cluster: str) -> HeadTrace | None:
    """Return what the head file of a cluster tells, None when there is none that tells anything."""
    payload = _json((_read(shared, head_file(cluster)) or {}).get("payload"))
    texts = [payload.get(name) for name in ("site", "session", "host")]
    numbers = [payload.get(name) for name in ("epoch", "gcsPort", "dashboardPort")]
    if payload.get("cluster") != cluster or not all(isinstance(text, str) for text in texts):
        return None
    if not all(_is_count(number) for number in numbers):
        return None
    site, session, host = (str(text) for text in texts)
    epoch, gcs, dashboard = (int(number) for number in numbers if isinstance(number, int))
    return HeadTrace(site, epoch, session, host, gcs, dashboard, _time(payload.get("issuedAt")))


def _ours(name: str) -> "re.Match[str] | None":
    match = _ID.fullmatch(name)
    return match if match and _is_name(match[1]) and _is_name(match[2]) else None


def _trace(shared: Files, name: str, match: "re.Match[str]") -> Trace:
    team, job, short, number = match.groups()
    folder = job_dir(name)
    order = _read(shared, f"{folder}/config/attempt.json") or {}
    mine = order.get("submissionId") == name and _is_name(order.get("cluster")) and _is_count(order.get("epoch"))
    claim, result = (_read(shared, f"{folder}/{each}.json") for each in ("claim", "result"))
    env = order.get("env") if mine else None
    nodes = as_text(env.get("RAYOPS_NODES"), _FILE_LIMIT) if isinstance(env, dict) else ""
    return Trace(
        submission_id=name,
        number=int(number),
        owner=ObjectId("Job", team, job),
        digest=_digest(shared, f"{folder}/config/spec.yaml", short),
        cluster=str(order["cluster"]) if mine else "",
        epoch=int(order["epoch"]) if mine else 0,
        nodes=tuple(node for node in nodes.split(",") if _is_name(node)),
        folder=_folder(order.get("checkpoints") if mine else None, team),
        claim_host=one_line(as_text((claim or {}).get("hostName"), 253)),
        claimed=_time((claim or {}).get("claimedAt")),
        burnt=(claim or {}).get("burnt") is True,
        outcome=_outcome(result) if result is not None and result.get("submissionId") == name else None,
    )


def _digest(shared: Files, path: str, short: str) -> str:
    data = _bytes(shared, path)
    try:
        found = spec_digest(from_json(data or b""))
    except ValidationError:
        return short
    return found if found.startswith(short) else short


def _folder(path: object, team: str) -> str:
    """Return the last name of a path that ends as those of folders for checkpoints do, else nothing."""
    above, _, name = path.rpartition("/") if isinstance(path, str) else ("", "", "")
    match = _FOLDER.fullmatch(name)
    return name if above.endswith(f"/checkpoints/{team}") and match and _is_name(match[1]) else ""


_STATES = {"stopped": JobState.STOPPED, "timed-out": JobState.TIMED_OUT, "fenced": JobState.LOST}


def _outcome(result: Mapping[str, Any]) -> Outcome:
    outcome, exit_code = as_text(result.get("outcome"), 32), as_number(result.get("exitCode"))
    if outcome == "exited" and exit_code == 0 and result.get("signal") is None:
        state = JobState.SUCCEEDED
    else:
        state = _STATES.get(outcome, JobState.FAILED)
    message = one_line(as_text(result.get("message"), MAX_MESSAGE) or f"{outcome}, exit code {exit_code}")
    return Outcome(state, message, _time(result.get("endedAt")), exit_code)


def _read(shared: Files, path: str) -> Mapping[str, Any] | None:
    data = _bytes(shared, path)
    return _json(data) if data is not None else None


def _bytes(shared: Files, path: str) -> bytes | None:
    try:
        return shared.read(path, limit=_FILE_LIMIT)
    except FilesError as error:
        # A share that fails now may tell more later; a link or a giant in the place of a file never will.
        if error.kind is FailureKind.TRANSIENT:
            raise
        return b""


def _json(data: object) -> Mapping[str, Any]:
    try:
        found = orjson.loads(data) if isinstance(data, bytes | str) else None
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _is_name(value: object) -> bool:
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MAX_EPOCH


def _time(value: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else None
        return found.astimezone(UTC) if found is not None and found.tzinfo is not None else None
    except (ValueError, OverflowError):  # no time, or one that is before all times in UTC
        return None
