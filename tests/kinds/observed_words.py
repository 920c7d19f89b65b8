"""What was seen, in the short words of case files."""

from collections.abc import Callable, Mapping
from typing import Any

from reconciler.model.ledger import Attempt, Ledger
from reconciler.model.ray import NODE_LABEL, HeadSeen, RayJob, RayJobStatus, RayNode, RayNodeState
from reconciler.model.sighting import Absent, Present, Sighting, Unreachable
from reconciler.model.states import JobState
from reconciler.model.world import AttemptSeen, ClaimState, Observed, Result, Role, SlotId, SlotSeen, SlotState
from tests.kinds.desired_words import object_id
from tests.kinds.ledger_words import only
from tests.kinds.moments import NOW, ago


def observed_of(words: Mapping[str, Any], ledger: Ledger) -> Observed:
    """Return what a case says was seen; job directories look as the ledger says unless the case says otherwise."""
    tables: dict[str, dict[Any, Sighting[Any]]] = {"heads": {}, "slots": {}, "attempts": {}, "claims": {}}
    for attempt in _live(ledger).values():
        seen = AttemptSeen(claimed=attempt.running is not None)
        tables["attempts"][attempt.submission_id] = Present(seen, NOW)
    for key, value in words.items():
        kind, _, rest = key.partition("/")
        table, name, sighting = READERS[kind](rest, value, ledger)
        if sighting is None:
            tables[table].pop(name, None)
        else:
            tables[table][name] = sighting
    return Observed(**tables)


Seen = tuple[str, Any, "Sighting[Any] | None"]


def _not_there(words: Any) -> Sighting[Any] | None:
    if words == "absent":
        return Absent(NOW)
    if words == "not asked":
        return Unreachable("its token is missing", NOW, asked=False)
    return Unreachable("no route to host", NOW) if words == "unreachable" else None


def _head(cluster: str, words: Any, ledger: Ledger) -> Seen:
    """Read `answers`, `absent`, `unreachable`, `not asked`, or an answer in full."""
    if (blind := _not_there(words)) is not None:
        return "heads", cluster, blind
    words = {} if words == "answers" else words
    only(words, {"session", "version", "token", "nodes", "jobs", "asked", "ago"})
    record = ledger.clusters.get(cluster)
    live = {key: a for key, a in {**_live(ledger), **_uncleaned(ledger)}.items() if a.cluster == cluster}
    nodes = words.get("nodes", {n: "alive" for n, r in _nodes(ledger, cluster).items() if r.joined is not None})
    told = {key: _status_of(a) for key, a in live.items() if a.submitted is not None}
    jobs = {
        live[key].submission_id if key in live else key: status for key, status in words.get("jobs", told).items()
    }
    seen = HeadSeen(
        session=words.get("session", f"session-{record.epoch if record is not None else 1}"),
        ray_version=words.get("version", "2.60.0"),
        token_required=words.get("token", True),
        nodes=tuple(_ray_node(name, state) for name, state in nodes.items()),
        jobs={who: _ray_job(who, status) for who, status in jobs.items()},
        asked=frozenset(a.submission_id for key, a in live.items() if key in words.get("asked", live)),
    )
    return "heads", cluster, Present(seen, ago(words.get("ago", "0s")))


def _nodes(ledger: Ledger, cluster: str) -> dict[str, Any]:
    keys = [key for key in ledger.nodes if key.startswith(f"{cluster}/")]
    return {key.partition("/")[2]: ledger.nodes[key] for key in keys}


def _status_of(attempt: Attempt) -> str:
    if attempt.ended is not None:
        return "SUCCEEDED" if attempt.ended.state is JobState.SUCCEEDED else "FAILED"
    return "RUNNING" if attempt.running is not None else "PENDING"


def _ray_job(who: str, words: Any) -> RayJob:
    words = {"is": words} if isinstance(words, str) else words
    only(words, {"is", "error"})
    return RayJob(who, RayJobStatus(words["is"]), error_type=words.get("error", ""))


def _ray_node(name: str, words: Any) -> RayNode:
    """Read `alive`, `draining`, `dead`, or `{is: alive, free: 2}` with 2 of 4 GPUs free."""
    words = {"is": words} if isinstance(words, str) else words
    only(words, {"is", "free"})
    labels = {NODE_LABEL: name}
    free = {"GPU": float(words.get("free", 4))}
    return RayNode(f"id-{name}", "", RayNodeState(words["is"]), name == "head", labels, {"GPU": 4.0}, free)


def _slot(key: str, words: Any, ledger: Ledger) -> Seen:
    """Read a state, or `{is: failed, epoch: 2, start: 2, message: ...}`; epoch and start are the recorded ones
    unless they are said.
    """
    cluster, role, node = key.split("/")
    slot = SlotId(cluster, Role(role), node)
    if (blind := _not_there(words)) is not None:
        return "slots", slot, blind
    words = {"is": words} if isinstance(words, str) else words
    only(words, {"is", "epoch", "start", "message"})
    state = SlotState(words["is"])
    known = ledger.nodes.get(f"{cluster}/{node}")
    record = ledger.clusters.get(cluster) if role == "head" else known
    told = record if state is not SlotState.NONE else None
    epoch = words.get("epoch", told.epoch if told is not None else None)
    start = words.get("start", known.generation if known is not None and told is known else epoch)
    return "slots", slot, Present(SlotSeen(state, epoch, start, words.get("message", "")), NOW)


def _dir(key: str, words: Any, ledger: Ledger) -> Seen:
    return "attempts", _submission(key, ledger), _attempt(words)


def _attempt(words: Any) -> Sighting[AttemptSeen] | None:
    """Read `empty`, `claimed`, `burnt`, `unreachable`, `not looked at`, or a result: `{exited: 0}`."""
    if words == "not looked at" or (blind := _not_there(words)) is not None:
        return None if words == "not looked at" else blind
    if isinstance(words, dict):
        outcome, code = next(iter(words.items()))
        signal = words.get("signal")
        return Present(AttemptSeen(claimed=True, result=Result(outcome, code, signal, "")), NOW)
    return Present(AttemptSeen(claimed=words in {"claimed", "burnt"}, burnt=words == "burnt"), NOW)


def _claim(key: str, words: Any, ledger: Ledger) -> Seen:
    blind = _not_there(words)
    return "claims", _submission(key, ledger), blind if blind is not None else Present(ClaimState(words), NOW)


def _submission(key: str, ledger: Ledger) -> str:
    return _live(ledger)[key].submission_id


def _live(ledger: Ledger) -> dict[str, Attempt]:
    """Return the live attempts as cases name them: `rl/ppo/1`."""
    live = {}
    for key, record in ledger.jobs.items():
        if record.live is not None:
            who = object_id(key)
            live[f"{who.team}/{who.name}/{record.live.number}"] = record.live
    return live


def _uncleaned(ledger: Ledger) -> dict[str, Attempt]:
    """Return ended attempts that Ray may still have a record of."""
    return {
        f"{object_id(key).team}/{object_id(key).name}/{attempt.number}": attempt
        for key, record in ledger.jobs.items()
        for attempt in record.attempts
        if attempt.ended is not None and not attempt.cleaned
    }


READERS: Mapping[str, Callable[[str, Any, Ledger], Seen]] = {
    "head": _head,
    "slot": _slot,
    "dir": _dir,
    "claim": _claim,
}
