"""The ledger in the short words of case files."""

from collections.abc import Callable, Mapping
from typing import Any

from reconciler.kinds.job.submit import submission_id
from reconciler.model.desired import Desired
from reconciler.model.ids import ObjectId
from reconciler.model.job import FailureClass, StopCause
from reconciler.model.ledger import (
    Attempt,
    Backoff,
    Change,
    ClusterRecord,
    DrainRecord,
    Dropped,
    Ended,
    Failed,
    HeadRecord,
    JobRecord,
    Known,
    Ledger,
    Meta,
    NodeRecord,
    Stop,
    Table,
)
from reconciler.model.machine import Machine
from reconciler.model.nodepool import shape_digest
from reconciler.model.outcome import FailureKind
from reconciler.model.states import JobState
from reconciler.model.views import known_key
from tests.kinds.desired_words import host, object_id
from tests.kinds.moments import ago, maybe_ago, moment

# The digest of what ran before the edit that a case is about.
OLD = "0" * 64
PORTS = (6379, 8265, 10001)
ENDS = {state.value.lower(): state for state in JobState}


def ledger_of(words: Mapping[str, Any], desired: Desired) -> Ledger:
    """Return the ledger that a case describes; desired objects are known in it unless it says otherwise."""
    changes = [Change(Table.KNOWN, known_key(i), Known(d.digest, ago("1d"))) for i, d in desired.objects.items()]
    for key, value in words.items():
        table, _, rest = key.partition("/")
        changes += READERS[table](rest, value, desired)
    return Ledger(Meta("site-1", 1, desired.revision)).apply(changes)


def _known(short: str, words: Any, desired: Desired) -> list[Change]:
    key = known_key(object_id(short))
    if words is None:
        return [Change(Table.KNOWN, key, None)]
    like = desired.objects[object_id(words["like"])].digest if "like" in words else OLD
    return [Change(Table.KNOWN, key, Known(like, ago("1d"), released=words.get("released", False)))]


def _cluster(name: str, words: Any, desired: Desired) -> list[Change]:
    words = {"head": "running"} if words == "running" else words
    only(words, {"epoch", "head", "withdrawn", "failed"})
    epoch = words.get("epoch", 1)
    loaded = desired.objects.get(ObjectId("Cluster", "", name))
    digest = loaded.digest if loaded is not None else OLD
    head = _head(words["head"], epoch, digest) if "head" in words else None
    failed = _failed(words.get("failed"), digest)
    return [Change(Table.CLUSTERS, name, ClusterRecord(epoch, head, words.get("withdrawn", False), failed))]


def _head(words: Any, epoch: int, digest: str) -> HeadRecord:
    """Read `starting`, `verified`, `running` or one of them in full: `{is: running, silent: 2m}`."""
    words = {"is": words} if isinstance(words, str) else words
    only(words, {"is", "node", "edited", "started", "silent", "stopping"})
    node = words.get("node", "cpu-01")
    return HeadRecord(
        node=node,
        machine=Machine(host(node), "ray"),
        digest=OLD if words.get("edited") else digest,
        ports=PORTS,
        started=ago(words.get("started", "1h" if words["is"] == "running" else "5s")),
        session=None if words["is"] == "starting" else f"session-{epoch}",
        published=words["is"] == "running",
        silent_since=maybe_ago(words.get("silent")),
        stopping=maybe_ago(words.get("stopping")),
    )


def _pool_of(desired: Desired, key: str) -> str:
    """Return the pool that has this node, the plain one if none has."""
    cluster, _, node = key.partition("/")
    for identity, loaded in desired.objects.items():
        spec = loaded.document.spec
        if identity.kind == "NodePool" and spec.cluster == cluster and node in {each.name for each in spec.nodes}:
            return identity.name
    return "h20"


def _node(key: str, words: Any, desired: Desired) -> list[Change]:
    """Read `starting`, `joined` or one of them in full: `{is: joined, missing: 2m}`."""
    words = {"is": words} if isinstance(words, str) else words
    only(words, {"is", "pool", "host", "epoch", "start", "edited", "started", "missing", "stopping", "failed"})
    _, _, node = key.partition("/")
    pool = words.get("pool") or _pool_of(desired, key)
    loaded = desired.objects.get(ObjectId("NodePool", "", pool))
    digest = shape_digest(loaded.document.spec) if loaded is not None else OLD
    joined = words["is"] == "joined"
    record = NodeRecord(
        pool=pool,
        machine=Machine(words.get("host", host(node)), "ray"),
        epoch=words.get("epoch", 1),
        digest=OLD if words.get("edited") else digest,
        started=ago(words.get("started", "1h" if joined else "5s")),
        joined=ago(words.get("started", "1h")) if joined else None,
        missing_since=maybe_ago(words.get("missing")),
        stopping=maybe_ago(words.get("stopping")),
        failed=_failed(words.get("failed"), digest),
        generation=words.get("start", 1),
    )
    return [Change(Table.NODES, key, record), Change(Table.NUMBERS, f"node/{key}", record.generation)]


def _failed(words: Any, digest: str) -> Failed | None:
    return Failed(words["count"], ago(words["last"]), OLD if words.get("edited") else digest) if words else None


def _drain(key: str, words: Any, desired: Desired) -> list[Change]:
    only(words, {"since", "told", "pool"})
    pool = words.get("pool") or _pool_of(desired, key)
    return [Change(Table.DRAINS, key, DrainRecord(pool, ago(words["since"]), words.get("told", False)))]


def _job(key: str, words: Any, desired: Desired) -> list[Change]:
    words = {} if words == "queued" else {"attempts": [words]} if isinstance(words, str) else words
    only(words, {"entered", "attempts", "closed", "edited", "dropped"})
    who = object_id(f"job/{key}")
    loaded = desired.objects.get(who)
    digest = OLD if loaded is None or words.get("edited") else loaded.digest
    attempts = [_attempt(who, number, a, digest) for number, a in enumerate(words.get("attempts", []), start=1)]
    closed = words.get("closed")
    record = JobRecord(
        digest=digest,
        entered=ago(words.get("entered", "1h")),
        attempts=tuple(attempts),
        closed=Ended(ENDS[closed], "", f"is {closed}", ago("5m")) if closed else None,
        dropped=Dropped(**words["dropped"]) if "dropped" in words else Dropped(),
    )
    changes = [Change(Table.JOBS, str(who), record)]
    if attempts:
        changes.append(Change(Table.NUMBERS, str(who), len(attempts)))
    return changes


def _attempt(who: ObjectId, number: int, words: Any, digest: str) -> Attempt:
    """Read `intended`, `submitted`, `running`, an end such as `failed`, or one of them in full."""
    words = {"is": words} if isinstance(words, str) else words
    only(
        words,
        {
            "is",
            "nodes",
            "epoch",
            "cluster",
            "edited",
            "began",
            "vanished",
            "gone",
            "stop",
            "ended",
            "failure",
            "reason",
            "cleaned",
        },
    )
    state = words["is"]
    digest = OLD if words.get("edited") else digest
    nodes = tuple(words.get("nodes", ["n1"]))
    began = ago(words.get("began", "10m"))
    ended = ENDS.get(state)
    failure = words.get("failure")
    return Attempt(
        number=number,
        submission_id=submission_id(who, digest, number),
        digest=digest,
        cluster=words.get("cluster", "main"),
        epoch=words.get("epoch", 1),
        nodes=nodes,
        machine=Machine(host(nodes[0]), "ray"),
        intended=began,
        submitted=None if state == "intended" else began,
        running=None if state in {"intended", "submitted"} else began,
        vanished=maybe_ago(words.get("vanished")),
        gone=maybe_ago(words.get("gone")),
        stop=_stop(words["stop"]) if "stop" in words else None,
        ended=Ended(
            ended,
            words.get("reason", "ExitCode"),
            f"is {state}",
            ago(words.get("ended", "1m")),
            FailureClass(failure) if failure else None,
        )
        if ended is not None and state != "running"
        else None,
        cleaned=words.get("cleaned", ended is not None and state != "running"),
    )


def _stop(words: Mapping[str, Any]) -> Stop:
    only(words, {"cause", "last"})
    return Stop(StopCause(words["cause"]), ago(words.get("last", "1s")), ago(words.get("last", "1s")))


def _number(key: str, words: Any, _: Desired) -> list[Change]:
    """Read the last number of a job, `number/rl/ppo`, or of a node, `number/node/main/n1`."""
    return [Change(Table.NUMBERS, key if key.startswith("node/") else str(object_id(f"job/{key}")), words)]


def _backoff(target: str, words: Any, desired: Desired) -> list[Change]:
    only(words, {"of", "failures", "kind", "until", "edited"})
    loaded = desired.objects.get(object_id(words["of"]))
    digest = OLD if words.get("edited") else loaded.digest if loaded is not None else ""
    until = words.get("until")
    backoff = Backoff(
        failures=words.get("failures", 1),
        kind=FailureKind(words.get("kind", "transient")),
        message="it said no",
        digest=digest,
        last=ago("10s"),
        until=moment(until) if until is not None else None,
    )
    return [Change(Table.BACKOFFS, target, backoff)]


def only(words: Mapping[str, Any], known: set[str]) -> None:
    assert words.keys() <= known, f"unknown words {sorted(words.keys() - known)}; there are {sorted(known)}"


READERS: Mapping[str, Callable[[str, Any, Desired], list[Change]]] = {
    "known": _known,
    "cluster": _cluster,
    "node": _node,
    "drain": _drain,
    "job": _job,
    "number": _number,
    "backoff": _backoff,
}
