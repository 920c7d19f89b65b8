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
from reconciler.model.status import Event, ObjectStatus, path_of
from reconciler.model.world import World
from reconciler.record.document import Overview
from reconciler.record.history import History
from reconciler.record.status import StatusWriter
from reconciler.record.touched import Told
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
        # What the status directory was made of last; None until all of it was told once.
        self._told: Told | None = None

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
            extras = {path: value for kind in self._kinds for path, value in kind.extras(world).items()}
            self._write(world, plan, self._overview(world, plan, problem, trouble, extras))
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

    def _write(self, world: World, plan: Plan, view: Overview) -> None:
        try:
            there = self._status.paths()
        except FilesError as error:
            self._complain("status", error.message)
            return
        told = Told.of(world, plan)
        touched = told.touched_since(self._told) if self._told is not None else None
        documents = [each for kind in self._kinds for each in _documents(kind, world, plan, touched)]
        gone = self._left(there, touched) - {each.path for each in documents}
        # What is handed over is written now or by a later call, so that it need not be told again.
        self._told = told
        self._complain("status", self._status.write(documents, sorted(gone), view))

    def _left(self, there: frozenset[str], touched: set[ObjectId] | None) -> set[str]:
        """Return the documents there that were told about anew, if their objects still are."""
        if touched is None:
            return set(there)
        partly = tuple(f"{kind.name.lower()}/" for kind in self._kinds if kind.status_of is not None)
        return {path for path in there if not path.startswith(partly)} | (there & set(map(path_of, touched)))

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


def _documents(kind: Kind, world: World, plan: Plan, touched: set[ObjectId] | None) -> Iterable[ObjectStatus]:
    if touched is None or kind.status_of is None:
        return kind.status(world, plan)
    return kind.status_of(world, plan, {each for each in touched if each.kind == kind.name})


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
