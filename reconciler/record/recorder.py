"""From a pass to what people read: status documents, the plan in force, and events."""

import logging
from collections.abc import Iterable, Iterator
from typing import Any

from reconciler.clock import Clock
from reconciler.kind import Kind
from reconciler.model.finished import Finished
from reconciler.model.ids import ObjectId
from reconciler.model.moment import Moment
from reconciler.model.outcome import Done, NotDone, Unknown
from reconciler.model.plan import Because, Held, Plan
from reconciler.model.snapshot import SourceProblem
from reconciler.model.status import Event, ObjectStatus
from reconciler.model.world import World
from reconciler.record.document import Overview
from reconciler.record.history import History
from reconciler.record.status import StatusWriter
from reconciler.remote.files import FilesError

log = logging.getLogger(__name__)

PLAN = "plan.json"


class Recorder:
    """Writes status and history. A directory that cannot be written costs freshness, and nothing else."""

    def __init__(self, status: StatusWriter, history: History, kinds: tuple[Kind, ...], clock: Clock) -> None:
        self._status = status
        self._history = history
        self._kinds = kinds
        self._clock = clock
        self._holds: dict[tuple[ObjectId, str], Because] = {}
        self._troubles: dict[str, str] = {}

    def record(
        self,
        world: World | None,
        plan: Plan,
        finished: Iterable[Finished],
        problem: SourceProblem | None,
        trouble: str,
    ) -> None:
        """Write down what one pass saw, decided and did."""
        now = self._clock.now()
        events = [*self._events(plan, finished, now), *self._troubles_told(problem, trouble, now)]
        if world is not None:
            documents = [each for kind in self._kinds for each in kind.status(world, plan)]
            extras = {path: value for kind in self._kinds for path, value in kind.extras(world).items()}
            self._write(documents, self._overview(world, plan, problem, trouble, extras))
        else:
            # Nothing is known of objects: what was written of them stays.
            view = Overview(revision="", source=problem, read_only=trouble, extras=None)
            self._complain("status", self._status.write([], (), view))
        if events:
            self._complain("history", self._history.append(events))

    def read_only(self, reason: str) -> None:
        """Say that the daemon acts on nothing, and why; what is written of objects stays as it was."""
        self._complain("status", self._status.write([], (), Overview(revision="", read_only=reason, extras=None)))
        events = list(self._troubles_told(None, reason, self._clock.now()))
        if events:
            self._complain("history", self._history.append(events))

    def beat(self, number: int, pid: int, revision: str) -> None:
        """Say that the daemon lives."""
        self._complain("heartbeat", self._status.beat(number, pid, revision))

    def _write(self, documents: list[ObjectStatus], view: Overview) -> None:
        try:
            gone = self._status.paths() - {each.path for each in documents}
        except FilesError as error:
            self._complain("status", error.message)
            return
        self._complain("status", self._status.write(documents, sorted(gone), view))

    def _overview(
        self, world: World, plan: Plan, problem: SourceProblem | None, trouble: str, extras: dict[str, object]
    ) -> Overview:
        return Overview(
            revision=world.desired.revision,
            source=problem,
            read_only=trouble,
            held=plan.held,
            errors=world.desired.errors,
            extras={**extras, PLAN: plan_document(plan)},
        )

    def _events(self, plan: Plan, finished: Iterable[Finished], now: Moment) -> Iterator[Event]:
        def event(target: ObjectId, kind: str, because: Because) -> Event:
            return Event(
                now.wall,
                str(target),
                kind,
                because.reason.value,
                because.text,
                plan.revision,
                dict(because.numbers),
            )

        for each in finished:
            yield _outcome(each, now, plan.revision)
        for note in plan.notes:
            yield event(note.target, "State", note.because)
        for action in plan.actions:
            yield event(action.target, "Action", action.because)
        holds = {(hold.target, hold.part): hold.because for hold in plan.holds}
        for key, because in holds.items():
            before = self._holds.get(key)
            if before is None or before.reason is not because.reason:
                yield event(key[0], "Hold", because)
        self._holds = holds

    def _troubles_told(self, problem: SourceProblem | None, trouble: str, now: Moment) -> Iterator[Event]:
        """Tell each trouble once, when it begins."""
        told = {
            "source": f"{problem.fault.value}: {problem.message}" if problem is not None else "",
            "pass": trouble,
        }
        for where, text in told.items():
            if text and self._troubles.get(where) != text:
                log.warning("trouble", extra={"where": where, "text": text})
                yield Event(now.wall, "site/site", "Error", "Trouble", text)
            self._troubles[where] = text

    def _complain(self, what: str, problem: str | None) -> None:
        if problem is not None and self._troubles.get(what) != problem:
            log.warning("not written", extra={"what": what, "text": problem})
        self._troubles[what] = problem or ""


def _outcome(finished: Finished, now: Moment, revision: str) -> Event:
    action = finished.action
    match finished.outcome:
        case Done():
            kind, reason, text = "Done", action.because.reason.value, f"{action.verb}: done"
        case NotDone(kind=failure, message=message):
            kind, reason, text = "NotDone", failure.value, f"{action.verb}: not done: {message}"
        case Unknown(message=message):
            kind, reason, text = "Unknown", "unknown", f"{action.verb}: nobody can say yet: {message}"
    return Event(now.wall, str(action.target), kind, reason, text, revision)


def plan_document(plan: Plan) -> dict[str, Any]:
    """Return what waits and why, and what the brakes hold, for readers without access to the cluster."""
    return {
        "revision": plan.revision,
        "holds": [
            {"object": str(h.target), "part": h.part, "reason": h.because.reason.value, "message": h.because.text}
            for h in plan.holds
        ],
        "held": [_held(each) for each in plan.held],
    }


def _held(held: Held) -> dict[str, Any]:
    return {"brake": held.brake, "digest": held.digest, "message": held.message, "what": list(held.what)}
