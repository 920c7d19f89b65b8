"""What heads answer, read as hostile input: typed values, or a reason why not."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from reconciler.model.json import as_number
from reconciler.model.outcome import Done, FailureKind, NotDone, Outcome, Unknown
from reconciler.model.ray import RayJob, RayJobStatus, RayNode, RayNodeState
from reconciler.remote.answer import one_line
from reconciler.remote.ray_http import Answer, Cut, NotSent, Reply

MESSAGE_LIMIT = 4000
WORD_LIMIT = 200
# More than any cluster has; Ray lists up to 1,000 dead nodes beside the living ones.
NODES_LIMIT = 20_000
PAIRS_LIMIT = 256

# Ray gives the head's raylet this resource (ray/_private/ray_constants.py, HEAD_NODE_RESOURCE_NAME).
HEAD_RESOURCE = "node:__internal_head__"
_STATES = {
    "RUNNING": RayNodeState.ALIVE,
    "IDLE": RayNodeState.ALIVE,
    "DRAINING": RayNodeState.DRAINING,
    "DEAD": RayNodeState.DEAD,
}
_STATUSES = frozenset(RayJobStatus)


class Rubbish(Exception):
    """An answer has another form than Ray's; the message never quotes it."""


@dataclass(frozen=True, slots=True)
class Version:
    """Who answers: the session of the head's present life, and its Ray."""

    session: str
    ray_version: str


def read_version(body: bytes) -> Version:
    """Return who answered `/api/version`."""
    document = _document(body)
    session, version = document.get("session_name"), document.get("ray_version")
    if not (isinstance(session, str) and isinstance(version, str) and session and version):
        raise Rubbish("/api/version names no session and no Ray version")
    return Version(one_line(session, WORD_LIMIT), one_line(version, WORD_LIMIT))


def read_nodes(nodes: object) -> tuple[RayNode, ...]:
    """Return the nodes of a look, sorted by id."""
    if not isinstance(nodes, list) or len(nodes) > NODES_LIMIT:
        raise Rubbish("the list of nodes has another form")
    return tuple(sorted((_node(each) for each in nodes), key=lambda node: node.node_id))


def read_jobs(jobs: object, asked: frozenset[str]) -> dict[str, RayJob]:
    """Return the jobs of a look; an unreadable record makes the look useless, since it is not absent."""
    if not isinstance(jobs, dict) or not asked.issuperset(jobs):
        raise Rubbish("the list of jobs has another form")
    return {submission_id: _job(submission_id, record) for submission_id, record in sorted(jobs.items())}


def unanswered(reply: NotSent | Cut) -> NotDone | Unknown:
    """Return the outcome of an effect whose request got no answer."""
    if isinstance(reply, NotSent):
        return NotDone(FailureKind.TRANSIENT, f"the head was not reached: {reply.reason}")
    return Unknown(f"the head was asked, but {reply.reason}")


def submitted(reply: Reply, submission_id: str, values: Mapping[str, str]) -> Outcome:
    """Return what became of a submit; `values` of the environment are kept out of the message."""
    if not isinstance(reply, Answer):
        return unanswered(reply)
    if reply.status == 200:
        if _field(reply.body, "submission_id") != submission_id:
            return Unknown("the head's answer to the submit is not Ray's")
        return Done({"existed": False})
    text = reply.body.decode("utf-8", "replace")
    if reply.status == 500 and f"submission_id {submission_id} already exists" in text:
        return Done({"existed": True})
    # Ray refuses with a traceback, before it keeps a record; whoever else says 400 knows nothing of the job. The
    # head passes a refusal of its agent on as its own failure.
    refused = reply.status == 400 and "Traceback (most recent call last)" in text
    if refused or (reply.status == 500 and "Request failed with status code 400" in text):
        return NotDone(FailureKind.INVALID, f"Ray refuses the job: {_last_words(text, values)}")
    if reply.status >= 500 and "No available agent to submit job" in text:
        return Unknown("the head's job agent does not answer; Ray takes no jobs now")
    return refused_or_unknown(reply)


def stopped(reply: Reply) -> Outcome:
    """Return what became of a stop; a job that Ray does not know needs none."""
    if not isinstance(reply, Answer):
        return unanswered(reply)
    if reply.status == 404:
        return Done({"known": False})
    if reply.status != 200:
        return refused_or_unknown(reply)
    signalled = _field(reply.body, "stopped")
    if not isinstance(signalled, bool):
        return Unknown("the head's answer to the stop is not Ray's")
    return Done({"known": True, "signalled": signalled})


def deleted(reply: Reply) -> Outcome:
    """Return what became of a delete; a record that is gone already is fine."""
    if not isinstance(reply, Answer):
        return unanswered(reply)
    if reply.status == 404:
        return Done({"existed": False})
    if reply.status == 500 and b"it is in a non-terminal state" in reply.body:
        return NotDone(FailureKind.TRANSIENT, "Ray keeps the record: the job has not ended")
    if reply.status != 200:
        return refused_or_unknown(reply)
    if _field(reply.body, "deleted") is not True:
        return Unknown("the head's answer to the delete is not Ray's")
    return Done({"existed": True})


def refused_or_unknown(reply: Answer) -> NotDone | Unknown:
    """Return the outcome of an effect whose request met an answer that Ray does not give to it."""
    if reply.status in {401, 403}:
        word = "asks for a token" if reply.status == 401 else "refuses our token"
        return NotDone(
            FailureKind.REFUSED, f"the head {word} (HTTP {reply.status}); check the cluster's token file"
        )
    if 300 <= reply.status < 500:
        return NotDone(
            FailureKind.REFUSED, f"no Jobs API at this address: HTTP {reply.status}, nothing is followed"
        )
    return Unknown(f"the head answered HTTP {reply.status}")


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Rubbish("the answer is not a JSON document") from None
    if not isinstance(document, dict):
        raise Rubbish("the answer is not a JSON object")
    return document


def _field(body: bytes, name: str) -> object:
    try:
        return _document(body).get(name)
    except Rubbish:
        return None


def _last_words(text: str, values: Mapping[str, str]) -> str:
    lines = [line for line in text[-MESSAGE_LIMIT:].splitlines() if line.strip(" .")]
    words = one_line(lines[-1]) if lines else "it does not say why"
    for value in values.values():
        words = words.replace(value, "…") if len(value) > 3 else words
    # Cut last: half of a value is not found any more.
    return one_line(words, 400)


def _node(node: object) -> RayNode:
    match node:
        case {
            "id": str() as node_id,
            "address": str() as address,
            "status": str() as status,
            "labels": dict() as labels,
            "total": dict() as total,
            "available": dict() as available,
        } if status in _STATES:
            return RayNode(
                node_id=one_line(node_id, WORD_LIMIT),
                address=one_line(address, WORD_LIMIT),
                state=_STATES[status],
                is_head=HEAD_RESOURCE in total,
                labels=_texts(labels),
                total=_amounts(total),
                available=_amounts(available),
            )
        case _:
            raise Rubbish("a node has another form")


def _job(submission_id: str, record: object) -> RayJob:
    match record:
        case {
            "status": str() as status,
            "message": str() as message,
            "errorType": str() as error_type,
            "exitCode": exit_code,
            "nodeId": str() as node_id,
            "metadata": dict() as metadata,
        } if status in _STATUSES and (exit_code is None or as_number(exit_code) is not None):
            return RayJob(
                submission_id=submission_id,
                status=RayJobStatus(status),
                message="\n".join(one_line(line) for line in message[:MESSAGE_LIMIT].splitlines()),
                error_type=one_line(error_type, WORD_LIMIT),
                exit_code=exit_code,
                node_id=one_line(node_id, WORD_LIMIT),
                metadata=_texts(metadata),
            )
        case _:
            raise Rubbish("a job's record has another form")


def _texts(pairs: Mapping[str, Any]) -> dict[str, str]:
    if len(pairs) > PAIRS_LIMIT or not all(isinstance(value, str) for value in pairs.values()):
        raise Rubbish("labels or metadata have another form")
    return {one_line(key, WORD_LIMIT): one_line(value, MESSAGE_LIMIT) for key, value in sorted(pairs.items())}


def _amounts(pairs: Mapping[str, Any]) -> dict[str, float]:
    if len(pairs) > PAIRS_LIMIT or not all(type(value) in {int, float} for value in pairs.values()):
        raise Rubbish("resources have another form")
    amounts = {one_line(name, WORD_LIMIT): float(value) for name, value in sorted(pairs.items())}
    return {name: amount for name, amount in amounts.items() if name != HEAD_RESOURCE}
