"""From a pass to what people read: status documents, the plan in force, and events."""

import logging
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

from reconciler.clock import Clock
from reconciler.kind import Kind
from reconciler.model.finished import Finished
from reconciler.model.ids import ObjectId
from reconciler.model.moment import Moment
from reconciler.model.outcome import Done, NotDone, Unknown
from reconciler.model.plan import Because, Plan
from reconciler.model.sighting import Present
from reconciler.model.snapshot import SourceProblem
from reconciler.model.status import Event, ObjectStatus, path_of
from reconciler.model.world import World
from reconciler.record.document import Overview
from reconciler.record.scribe import Scribe
from reconciler.record.touched import NOTHING, Told

log = logging.getLogger(__name__)


class Recorder:
    """Tells readers what each pass saw, decided and did; that it cannot be written costs freshness and no more.

    `troubles` is what was told already, and is kept up to date for the next recorder.
    """

    def __init__(
        self, scribe: Scribe, kinds: tuple[Kind, ...], clock: Clock, troubles: dict[str, str] | None = None
    ) -> None:
        self._scribe = scribe
        self._kinds = kinds
        self._clock = clock
        self._troubles: dict[str, str] = {} if troubles is None else troubles
        # What was told last; None until all of it was told once.
        self._told: Told | None = None
        # Of the kinds that tell about all of their objects each time: what they told last, by path.
        self._shown: dict[str, ObjectStatus] = {}

    def record(
        self,
        world: World | None,
        plan: Plan,
        finished: Iterable[Finished],
        problem: SourceProblem | None,
        trouble: str,
    ) -> None:
        """Tell what one pass saw, decided and did."""
        now = self._clock.now()
        told = Told.of(world, plan) if world is not None else None
        events = [
            *self._events(plan, finished, told or NOTHING, now),
            *self._troubles_told(problem, trouble, now),
        ]
        if world is None or told is None:
            # Nothing is known of objects: what was written of them stays.
            self._scribe.tell([], [], Overview(revision="", source=problem, read_only=trouble), whole=False)
        else:
            self._tell(world, plan, told, self._overview(world, plan, problem, trouble))
        self._scribe.events(events)

    def read_only(self, reason: str, leader: str = "") -> None:
        """Say that the daemon acts on nothing, and why; what is written of objects stays as it was.

        While a `leader` lives it is the leader that readers hear: then this goes into the log alone, once.
        """
        if leader:
            text = f"{reason}; {leader} leads this site, and readers hear from it alone"
            if self._troubles.get("unheard") != text:
                log.warning("trouble", extra={"where": "pass", "text": text})
            self._troubles["unheard"] = text
            return
        self._troubles.pop("unheard", None)
        self._scribe.tell([], [], Overview(revision="", read_only=reason), whole=False)
        self._scribe.events(self._troubles_told(None, reason, self._clock.now()))

    def beat(self, number: int, pid: int, revision: str) -> None:
        """Say that the daemon lives."""
        self._scribe.beat(number, pid, revision)

    def only_while(self, leads: Callable[[], bool]) -> None:
        """Let nothing be written any more once `leads` says no."""
        self._scribe.only_while(leads)

    def _tell(self, world: World, plan: Plan, told: Told, view: Overview) -> None:
        self._tell_news(world, plan, told, view)
        if self._scribe.take_strangers():
            # Somebody else wrote there: what was told before counts no more.
            self._told, self._shown = None, {}
            self._tell_news(world, plan, told, view)

    def _tell_news(self, world: World, plan: Plan, told: Told, view: Overview) -> None:
        touched = told.touched_since(self._told) if self._told is not None else None
        changed, gone, shown = [], set(), {}
        for kind in self._kinds:
            if touched is not None and kind.status_of is not None:
                some = {each for each in touched if each.kind == kind.name}
                documents = list(kind.status_of(world, plan, some))
                gone |= set(map(path_of, some)) - {each.path for each in documents}
            else:
                documents = list(kind.status(world, plan))
            if kind.status_of is None:
                shown.update({each.path: each for each in documents})
                documents = [each for each in documents if self._shown.get(each.path) is not each]
            changed += documents
        gone |= self._shown.keys() - shown.keys()
        self._scribe.tell(changed, sorted(gone), view, whole=touched is None)
        self._told, self._shown = told, shown

    def _overview(self, world: World, plan: Plan, problem: SourceProblem | None, trouble: str) -> Overview:
        return Overview(
            revision=world.desired.revision,
            as_of=_looked_at(world),
            source=problem,
            read_only=trouble,
            held=plan.held,
            errors=world.desired.errors,
            plan=plan,
            extras={path: value for kind in self._kinds for path, value in kind.extras(world).items()},
        )

    def _events(self, plan: Plan, finished: Iterable[Finished], told: Told, now: Moment) -> Iterator[Event]:
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
        last = self._told or NOTHING
        before = {(hold.target, hold.part): hold.because.reason for hold in last.new_holds(told)}
        for hold in told.new_holds(last):
            if before.get((hold.target, hold.part)) is not hold.because.reason:
                yield event(hold.target, "Hold", hold.because)

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


def _looked_at(world: World) -> datetime:
    """Return the moment as of which a pass knows the world: nothing is told as newer than a head's own answer."""
    answers = [seen.as_of for seen in world.observed.heads.values() if isinstance(seen, Present)]
    return min([world.now, *answers], key=lambda moment: moment.ticks).wall
