"""What comes back from heads, from gates and from job directories: a job may have written any of it."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from math import isfinite
from typing import Any, TypeVar

from reconciler.kinds.job.observe import see_attempt
from reconciler.model.ids import ObjectId
from reconciler.model.layout import job_dir
from reconciler.model.ledger import Attempt
from reconciler.model.machine import Machine
from reconciler.model.outcome import Done, NotDone, Outcome, Unknown
from reconciler.model.ray import HeadSeen
from reconciler.model.sighting import Present, Sighting
from reconciler.model.views import live_attempts
from reconciler.model.world import Role, SlotId
from reconciler.record import journal
from reconciler.record.rebuild import rebuild
from reconciler.remote import gcs, ray_answers
from reconciler.remote.answer import Conversation
from reconciler.remote.ray_http import Answer
from reconciler.remote.slots import see_claim, see_slot
from tests.fakes.files import FakeFiles
from tests.fuzz.engine import CODE, Broken
from tests.fuzz.scene import ROOT, WATCHED, doors, living, pass_over
from tests.fuzz.target import Target

TOKEN = "t0ken-C4N4RY#0123456789"
ENV = {"WANDB_API_KEY": TOKEN}
MACHINE = Machine("n2.example", "ray")
STATUSES = (200, 307, 400, 401, 404, 500)
_TEXT_LIMIT = 5000
# What a terminal or a reviewer would obey instead of show; line breaks and tabs may stand in logs.
_OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]"
)

T = TypeVar("T")


def attempts() -> dict[str, Attempt]:
    """Return the live attempts of the site, by the name of their job."""
    return {identity.name: attempt for identity, _, attempt in live_attempts(living().ledger)}


def _pass_with(table: str, key: object, sighting: Sighting[Any]) -> None:
    """Make a pass that sees this; once is enough, and most inputs say nothing new."""
    said = f"{table} {key} {sighting}"
    if said in _SEEN:
        return
    world = living()
    there = {**getattr(world.observed, table), key: sighting}
    pass_over(replace(world, observed=replace(world.observed, **{table: there})))
    _SEEN.add(said)


_SEEN: set[str] = set()


def _check_text(text: str, secret: str = "") -> None:
    if secret and secret in text:
        raise Broken(f"a secret is told: {text!r}")
    if len(text) > _TEXT_LIMIT or _OBEYED.search(text):
        raise Broken(f"no text for people: {text[:200]!r}")


# Heads.


def check_ray(data: bytes) -> None:
    """Take bytes for every answer that a head gives."""
    for status in STATUSES:
        answer = Answer(status, data)
        for outcome in (
            ray_answers.submitted(answer, "rl.a-0123abcd-1", ENV),
            ray_answers.stopped(answer),
            ray_answers.deleted(answer),
        ):
            if isinstance(outcome, NotDone | Unknown):
                _check_text(outcome.message, TOKEN)
    _or_rubbish(lambda: _check_version(ray_answers.read_version(data)))
    reply = gcs._reply(data)
    if isinstance(reply, gcs.Failed):
        _check_text(reply.message)
        return
    asked = frozenset(each.submission_id for each in attempts().values())
    nodes = _or_rubbish(lambda: ray_answers.read_nodes(reply.result.get("nodes"))) or ()
    jobs = _or_rubbish(lambda: ray_answers.read_jobs(reply.result.get("jobs"), asked)) or {}
    for node in nodes:
        for text in (node.node_id, node.address, *node.labels, *node.labels.values(), *node.total):
            _check_text(text)
        if not all(map(isfinite, (*node.total.values(), *node.available.values()))):
            raise Broken("no number: an amount of a node is not finite")
    for job in jobs.values():
        _check_text(job.message)
    seen = HeadSeen("session-1", "2.60.0", True, nodes, jobs, asked)
    _pass_with("heads", "main", Present(seen, living().now))


def _check_version(version: ray_answers.Version) -> None:
    _check_text(version.session)
    _check_text(version.ray_version)


def _or_rubbish(read: Callable[[], T]) -> T | None:
    try:
        return read()
    except ray_answers.Rubbish as rubbish:
        _check_text(str(rubbish))
        return None


def heads() -> Iterator[bytes]:
    """Give an answer of each sort."""
    ids = {name: attempt.submission_id for name, attempt in attempts().items()}
    node = {"id": "ab" * 14, "address": "10.0.0.2", "status": "RUNNING", "labels": {"rayops-node": "n1"}}
    node |= {"total": {"CPU": 8.0, "GPU": 4, "node:10.0.0.2": 1.0}, "available": {"CPU": 8.0, "GPU": 4}}
    job = {"message": "it runs", "errorType": "", "exitCode": None, "nodeId": "ab" * 14, "metadata": {"team": "rl"}}
    jobs = {ids["runs"]: {**job, "status": "RUNNING"}, ids["lost"]: {**job, "status": "FAILED", "exitCode": 1}}
    yield json.dumps(
        {"ok": {"session": "session-1", "nodes": [node], "jobs": jobs, "tokenRequired": True}}
    ).encode()
    yield json.dumps({"failed": "UNAVAILABLE", "message": "failed to connect to all addresses"}).encode()
    yield json.dumps({"session_name": "session-1", "ray_version": "2.60.0"}).encode()
    yield b'{"submission_id": "rl.a-0123abcd-1", "stopped": true, "deleted": true}'
    yield (
        b"Traceback (most recent call last):\n  ...\nValueError: runtime_env: env_vars: WANDB_API_KEY="
        + TOKEN.encode()
    )


# Gates.


def check_gate(data: bytes) -> None:
    """Take bytes for the answer of a machine, and for what it says besides."""
    request = {"protocol": 1, "verb": "start-head", "args": {"token": TOKEN}}
    talk = Conversation.of(MACHINE, request)
    assert isinstance(talk, Conversation), "a small request"
    for status in (-1, 1, 124):
        failed = talk.outcome(b"", status, data)
        assert isinstance(failed, Unknown), "only status 0 says anything"
        _check_text(failed.message, TOKEN)
    outcome = talk.outcome(data, 0, b"")
    _check_values(outcome.result if isinstance(outcome, Done) else outcome.message)

    def ask(*_: object) -> Outcome:
        return outcome

    world, lost = living(), attempts()["lost"]
    slots = [SlotId("other", Role.HEAD, "cpu-02"), SlotId("main", Role.WORKER, "n4")]
    for slot in slots:
        _pass_with("slots", slot, see_slot(ask, MACHINE, slot, world.now))
    claim = see_claim(ask, MACHINE, f"{ROOT}/{job_dir(lost.submission_id)}", lost.submission_id, world.now)
    _pass_with("claims", lost.submission_id, claim)


def _check_values(value: Any) -> None:
    """Look at every text, however deep it is."""
    if isinstance(value, str):
        if TOKEN in value:
            raise Broken(f"a secret is told: {value!r}")
        if _OBEYED.search(value):
            raise Broken(f"no text for people: {value!r}")
    elif isinstance(value, dict):
        for key, each in value.items():
            _check_values(key)
            _check_values(each)
    elif isinstance(value, list):
        for each in value:
            _check_values(each)


def gates() -> Iterator[bytes]:
    """Give an answer of each sort."""
    head = {"cluster": "other", "role": "head", "node": "cpu-02", "state": "failed", "epoch": 1, "pid": None}
    head |= {"generation": 1}
    head |= {"startedAt": None, "message": "ray start ended with code 1", "log": f"token {TOKEN}\nport in use"}
    worker = {**head, "cluster": "main", "role": "worker", "node": "n4", "state": "running", "pid": 77}
    for result in ({"slots": [head, worker], "cpus": 8}, {"state": "gone", "pid": None, "host": "n2"}):
        yield json.dumps({"protocol": 1, "ok": True, "result": result}).encode()
    yield json.dumps({"protocol": 1, "ok": False, "kind": "refused", "message": "stop it first"}).encode()


# Job directories.


def check_job_directory(data: bytes) -> None:
    """Take bytes for the files of an attempt, in a pass and when the ledger is lost."""
    lost = attempts()["lost"]
    shared = _directory(data, lost.submission_id)
    seen = see_attempt(doors(shared), lost)
    _pass_with("attempts", lost.submission_id, seen)
    world = living()
    ledger = rebuild(shared, world.desired, world.now).ledger
    written, _ = journal.snapshot(ledger, world.now.wall)
    found = journal.read(written, "the journal")
    if not isinstance(found, journal.Recalled) or found.ledger != ledger:
        raise Broken(f"not read again: a rebuilt ledger cannot be read after a restart: {found}")
    pass_over(replace(world, ledger=ledger), tell=False)


def _directory(data: bytes, submission_id: str) -> FakeFiles:
    """Put files there: each line is the name of one and its content."""
    shared, folder = FakeFiles(), job_dir(submission_id)
    for line in data.split(b"\n"):
        name, _, content = line.partition(b" ")
        if name in FILES:
            shared.write(f"{folder}/{name.decode()}", content)
    return shared


FILES = frozenset({b"claim.json", b"heartbeat.json", b"result.json", b"config/attempt.json", b"config/spec.yaml"})


def directories() -> Iterator[bytes]:
    """Give directories of an attempt that runs, that ended, and whose claim was taken."""
    lost = attempts()["lost"]
    mine = {"submissionId": lost.submission_id}
    claim = {**mine, "hostName": "n2", "bootId": "b007", "pid": 77, "startTicks": 1}
    claim |= {"claimedAt": "2026-03-01T11:00:00Z"}
    order = {**mine, "cluster": "main", "epoch": 1, "env": {"RAYOPS_NODES": "n2"}}
    result: dict[str, Any] = {
        **mine,
        "protocol": 1,
        "outcome": "exited",
        "exitCode": 1,
        "signal": None,
        "message": "it failed",
    }
    result |= {"endedAt": "2026-03-01T11:30:00+00:00", "seconds": 1800.0}
    spec = living().desired.objects[ObjectId("Job", "rl", "lost")].document.model_dump(mode="json", by_alias=True)
    begun = {"claim.json": claim, "config/attempt.json": order, "config/spec.yaml": spec}
    for files in (
        {**begun, "heartbeat.json": {}},
        {**begun, "result.json": result},
        {"claim.json": {**mine, "burnt": True}},
    ):
        yield "\n".join(f"{name} {json.dumps(content)}" for name, content in files.items()).encode()


TARGETS = (
    Target(
        "ray",
        "whatever a head answers is read into plain values or called rubbish, and stops no pass",
        check_ray,
        heads,
        watched=WATCHED,
    ),
    Target(
        "answers",
        "whatever a gate answers is an outcome without our token, and stops no pass",
        check_gate,
        gates,
        watched=WATCHED,
    ),
    Target(
        "jobdir",
        "whatever a job leaves in its directory stops no pass, no restart and no recovery",
        check_job_directory,
        directories,
        watched=(*WATCHED, f"{CODE}/record/rebuild", f"{CODE}/record/traces"),
    ),
)
