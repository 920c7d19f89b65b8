"""The Ray door on a real head: the Jobs API over HTTP, nodes and records through the GCS child."""

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import orjson

from reconciler.clock import Clock
from reconciler.model.json import as_text
from reconciler.model.outcome import Done, FailureKind, NotDone, Outcome, Unknown
from reconciler.model.ray import HeadAddress, HeadSeen, Submission
from reconciler.model.sighting import Absent, Present, Sighting, Unreachable
from reconciler.remote import ray_answers
from reconciler.remote.answer import one_line
from reconciler.remote.budget import Budget
from reconciler.remote.files import FilesError
from reconciler.remote.gcs import Failed, GcsChildren, Told
from reconciler.remote.ray_http import Answer, Cut, HeadHttp, NotSent, Reply

# Ray itself takes `a/b`, `..` and 300 characters, and keeps records for them that nobody can ask for or delete.
SUBMISSION_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,120}", re.ASCII)
NODE_ID = re.compile(r"[0-9a-f]{8,64}", re.ASCII)
# What may stand in a header without changing it; `ray get-auth-token` makes 64 hex digits.
TOKEN = re.compile(r"[\x21-\x7e]{1,4096}", re.ASCII)
# What gRPC says for a token that is wrong or missing.
REFUSALS = frozenset({"UNAUTHENTICATED", "PERMISSION_DENIED"})
# What is left for the stop of a pending job when the HTTP half of the stop took its time.
GCS_SHARE = 0.3

Tokens = Callable[[str], str]


class TokenProblem(Exception):
    """The cluster's token could not be read; says why without its value."""


def _own_python(_cluster: str) -> str:
    return sys.executable


class RayClient:
    """Implements `RayApi` on real heads; safe to use from several threads."""

    def __init__(self, clock: Clock, tokens: Tokens, pythons: Callable[[str], str] = _own_python) -> None:
        self._clock = clock
        self._tokens = tokens
        self._http = HeadHttp(clock)
        self._gcs = GcsChildren(clock, pythons)
        # Cluster to the session whose head was seen to refuse strangers: asked once in the life of a head.
        self._closed_to_strangers: dict[str, str] = {}

    def look(self, head: HeadAddress, submission_ids: Sequence[str], timeout: timedelta) -> Sighting[HeadSeen]:
        """Look at a head, its nodes and the given jobs: one small HTTP request and one line to the GCS child."""
        budget = Budget.starting_now(self._clock, timeout)
        try:
            reply = self._ask(head, "GET", "/api/version", None, budget)
            match reply:
                case NotSent(refused=True) if self._http.refuses(head.host, head.gcs_port, budget):
                    return Absent(self._clock.now())
                case NotSent(reason, ours=ours):
                    return self._unreachable(reason, asked=not ours)
                case Cut(reason):
                    return self._unreachable(reason)
                case Answer(status=200, body=body):
                    version = ray_answers.read_version(body)
                    return self._seen(head, version, frozenset(filter(_is_id, submission_ids)), budget)
                case Answer():
                    return self._unreachable(ray_answers.refused_or_unknown(reply).message)
        except TokenProblem as problem:
            return self._unreachable(str(problem), asked=False)
        except ray_answers.Rubbish as problem:
            return self._unreachable(str(problem))

    def submit(self, head: HeadAddress, submission: Submission, timeout: timedelta) -> Outcome:
        """Hand a job to Ray. An id that Ray already has is `Done`: an earlier try succeeded."""
        if not _is_id(submission.submission_id):
            return _not_an_id()
        if not submission.entrypoint.startswith("exec "):
            # Without it Ray starts a shell, which dies alone when its raylet is killed: the driver runs on.
            return NotDone(FailureKind.BUG, "an entrypoint must begin with exec")
        body = orjson.dumps(_wire_form(submission))
        reply = self._effect(head, "POST", "/api/jobs/", body, timeout)
        if isinstance(reply, NotDone):
            return reply
        return ray_answers.submitted(reply, submission.submission_id, submission.env)

    def stop(self, head: HeadAddress, submission_id: str, timeout: timedelta) -> Outcome:
        """Ask Ray to end a job, also one that has not started. `Done` means asked, not ended."""
        if not _is_id(submission_id):
            return _not_an_id()
        budget = Budget.starting_now(self._clock, timeout)
        asking = Budget(self._clock, budget.ends - GCS_SHARE * timeout.total_seconds())
        reply = self._effect(head, "POST", f"/api/jobs/{quote(submission_id, safe='')}/stop", b"", asking)
        outcome = reply if isinstance(reply, NotDone) else ray_answers.stopped(reply)
        if not (isinstance(outcome, Done) and outcome.result.get("signalled")):
            return outcome
        match self._tell_gcs(head, {"verb": "end-pending", "job": submission_id}, budget):
            case Told(result):
                return Done({**outcome.result, "pending": result.get("ended") is True})
            case Failed(message=message):
                return Unknown(f"Ray was asked to stop, but a job that has not started ignores that: {message}")
            case NotDone() as problem:
                return problem

    def delete(self, head: HeadAddress, submission_id: str, timeout: timedelta) -> Outcome:
        """Remove the record of an ended job. A record that is gone already is `Done`."""
        if not _is_id(submission_id):
            return _not_an_id()
        reply = self._effect(head, "DELETE", f"/api/jobs/{quote(submission_id, safe='')}", None, timeout)
        return reply if isinstance(reply, NotDone) else ray_answers.deleted(reply)

    def drain(self, head: HeadAddress, node_id: str, reason: str, timeout: timedelta) -> Outcome:
        """Tell Ray that a node leaves, so that nothing new lands on it. It cannot be taken back."""
        if not NODE_ID.fullmatch(node_id):
            return NotDone(FailureKind.INVALID, "this is not the id of a Ray node")
        budget = Budget.starting_now(self._clock, timeout)
        request = {"verb": "drain", "node": node_id, "reason": one_line(reason, 200)}
        match self._tell_gcs(head, request, budget):
            case Told({"accepted": True, "gone": bool() as gone}):
                return Done({"gone": gone})
            case Told(result):
                why = one_line(as_text(result.get("why"), 300))
                return NotDone(FailureKind.REFUSED, f"Ray refuses the drain: {why}")
            case Failed(sent=False, message=message):
                return NotDone(FailureKind.TRANSIENT, f"the GCS was not asked: {message}")
            case Failed(code=code) if code in REFUSALS:
                return NotDone(FailureKind.REFUSED, "the GCS refuses our token; check the cluster's token file")
            case Failed(code, message):
                return Unknown(f"the GCS was asked to drain, but: {message or code}")
            case NotDone() as problem:
                return problem

    def close(self) -> None:
        """End connections and child processes."""
        self._http.close()
        self._gcs.close()

    def _seen(
        self, head: HeadAddress, version: ray_answers.Version, ids: frozenset[str], budget: Budget
    ) -> Sighting[HeadSeen]:
        probe = self._closed_to_strangers.get(head.cluster) != version.session
        request = {"verb": "look", "jobs": sorted(ids), "probe": probe}
        reply = self._gcs.ask(head, self._token(head), request, budget)
        if isinstance(reply, Failed):
            reason = f"the GCS gave no answer ({reply.code}): {reply.message}"
            if reply.code in REFUSALS:
                reason = "the GCS refuses our token; check the cluster's token file"
            return self._unreachable(reason, asked=not reply.ours)
        if reply.result.get("session") != version.session:
            return self._unreachable("dashboard and GCS belong to different sessions; the head is being replaced")
        token_required = not probe
        if probe:
            stranger = self._http.call(head, "GET", "/api/version", {}, None, budget)
            if not isinstance(stranger, Answer):
                return self._unreachable(f"whether the head asks for a token could not be seen: {stranger.reason}")
            token_required = stranger.status in {401, 403} and reply.result.get("tokenRequired") is True
        if token_required:
            self._closed_to_strangers[head.cluster] = version.session
        seen = HeadSeen(
            session=version.session,
            ray_version=version.ray_version,
            token_required=token_required,
            nodes=ray_answers.read_nodes(reply.result.get("nodes")),
            jobs=ray_answers.read_jobs(reply.result.get("jobs"), ids),
            asked=ids,
        )
        return Present(seen, self._clock.now())

    def _effect(
        self, head: HeadAddress, method: str, path: str, body: bytes | None, limit: timedelta | Budget
    ) -> Reply | NotDone:
        budget = limit if isinstance(limit, Budget) else Budget.starting_now(self._clock, limit)
        try:
            return self._ask(head, method, path, body, budget)
        except TokenProblem as problem:
            return NotDone(FailureKind.TRANSIENT, str(problem))

    def _ask(self, head: HeadAddress, method: str, path: str, body: bytes | None, budget: Budget) -> Reply:
        token = self._token(head)
        reply = self._send(head, method, path, body, token, budget)
        if isinstance(reply, Answer) and reply.status in {401, 403}:
            # Refused, so nothing was done; a token that was rotated in between is worth one more try.
            newer = self._token(head)
            if newer != token:
                return self._send(head, method, path, body, newer, budget)
        return reply

    def _send(
        self, head: HeadAddress, method: str, path: str, body: bytes | None, token: str, budget: Budget
    ) -> Reply:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "User-Agent": "rayops"}
        return self._http.call(head, method, path, headers, body, budget)

    def _tell_gcs(self, head: HeadAddress, request: Mapping[str, Any], budget: Budget) -> Told | Failed | NotDone:
        try:
            return self._gcs.ask(head, self._token(head), request, budget)
        except TokenProblem as problem:
            return NotDone(FailureKind.TRANSIENT, str(problem))

    def _token(self, head: HeadAddress) -> str:
        try:
            token = self._tokens(head.cluster)
        except FilesError as error:
            raise TokenProblem(f"the token of cluster {head.cluster} cannot be used: {error.message}") from None
        except (OSError, LookupError, ValueError) as error:
            raise TokenProblem(
                f"the token of cluster {head.cluster} could not be read ({type(error).__name__})"
            ) from None
        if not TOKEN.fullmatch(token):
            raise TokenProblem(
                f"the token of cluster {head.cluster} is empty or holds spaces or control characters"
            )
        return token

    def _unreachable(self, reason: str, *, asked: bool = True) -> Unreachable:
        return Unreachable(reason, self._clock.now(), asked)


def _is_id(text: str) -> bool:
    return SUBMISSION_ID.fullmatch(text) is not None


def _not_an_id() -> NotDone:
    return NotDone(
        FailureKind.INVALID, "this is not a submission id: a-z, 0-9, dot, dash and underscore, at most 121"
    )


def _wire_form(submission: Submission) -> dict[str, Any]:
    document: dict[str, Any] = {
        "submission_id": submission.submission_id,
        "entrypoint": submission.entrypoint,
        "runtime_env": {"env_vars": dict(submission.env)},
        "metadata": dict(submission.metadata),
    }
    if submission.label_selector:
        document["entrypoint_label_selector"] = dict(submission.label_selector)
    return document
