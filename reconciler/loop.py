"""One pass: look, decide, act, write down. Read this first.

A wake-up carries no data: every pass looks at all that matters and decides again, and the next pass is the retry.
"""

import logging
import traceback
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import chain

from reconciler.clock import Clock
from reconciler.desired.load import Loader
from reconciler.execute.runner import Passing, Runner, go_on
from reconciler.execute.settle import Settling
from reconciler.kind import Kind
from reconciler.model.desired import Desired
from reconciler.model.finished import Finished
from reconciler.model.ids import ObjectId
from reconciler.model.ledger import META_KEY, Change, Ledger, Table
from reconciler.model.moment import Moment, earlier
from reconciler.model.plan import Plan
from reconciler.model.snapshot import Snapshot, SourceProblem
from reconciler.model.world import Observed, Tuning, World
from reconciler.observe.collect import Begun, Collector
from reconciler.plan.planner import settled, still_holds
from reconciler.record.accepted import Accepted
from reconciler.record.leader import Leadership
from reconciler.record.ledger import LedgerStore
from reconciler.record.recorder import Recorder
from reconciler.remote.files import FilesError
from reconciler.source.source import Source

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PassReport:
    """What one pass did. `trouble` says why it could do less than it should."""

    number: int
    revision: str
    plan: Plan
    finished: tuple[Finished, ...]
    wake: Moment | None
    trouble: str = ""

    @property
    def quiet(self) -> bool:
        """Whether nothing was done, nothing is under way and nothing was kept from being done."""
        return self.plan.empty and not self.finished and not self.trouble


@dataclass(slots=True)
class _Memory:
    """What one pass leaves to the next; a restart starts without it and loses nothing."""

    desired: Desired | None = None
    snapshot: Snapshot | None = None
    problem: SourceProblem | None = None
    world: World | None = None
    plan: Plan | None = None
    # When that plan was made: passes that keep it do not make it younger.
    planned: Moment | None = None
    told: tuple[SourceProblem | None, str] = (None, "")  # what people read of troubles
    unsettled: list[Finished] = field(default_factory=list)
    number: int = 0
    overtaken: bool = False


@dataclass(frozen=True, slots=True)
class Stages:
    """The stages of a pass, as the composition root put them together."""

    clock: Clock
    source: Source
    loader: Loader
    store: LedgerStore
    collector: Collector
    runner: Runner
    recorder: Recorder
    kinds: tuple[Kind, ...]
    leadership: Leadership
    tuning: Tuning
    accepted: Accepted
    passing: Passing = go_on


class Loop:
    """The reconciler: keeps the live world as the desired one, one pass at a time, in one thread."""

    def __init__(self, stages: Stages, ledger: Ledger, source_is_due: Callable[[], bool] = lambda: True) -> None:
        self._stages = stages
        self._ledger = ledger
        self._source_is_due = source_is_due
        self._memory = _Memory()

    def once(self) -> PassReport:
        """Do one pass; what takes long goes on beside it. A bug ends it: nothing is begun, and people are told."""
        try:
            return self._pass()
        except Exception as error:
            log.exception("a pass ended with a bug")
            place = traceback.extract_tb(error.__traceback__)[-1].name
            text = f"a bug: {type(error).__name__} in {place}; see the daemon's log"
            return self._record(Plan(""), None, (), text)

    def _pass(self) -> PassReport:
        now = self._stages.clock.now()
        finished, unwritten = self._settle(now)
        begun = self._look(now)
        world = self._observe(begun, self._desire(), now)
        plan, world = self._decide(world)
        return self._record(plan, world, finished, self._act(plan, world) or unwritten)

    def finish(self) -> None:
        """Write down what has ended, and begin nothing."""
        if self._settle(self._stages.clock.now())[0]:
            with suppress(FilesError):  # the next start tells it
                self._anchor()

    @property
    def busy(self) -> bool:
        """Whether an effect is under way, or its outcome not yet written down."""
        return bool(self._stages.runner.in_flight or self._memory.unsettled)

    @property
    def world(self) -> World | None:
        """What the last pass knew."""
        return self._memory.world

    @property
    def overtaken(self) -> bool:
        """Whether another daemon was seen to lead: this one acts and writes no more."""
        return self._memory.overtaken

    @property
    def passes(self) -> int:
        """How many passes there were."""
        return self._memory.number

    @property
    def term(self) -> int:
        """The term that this loop leads in."""
        return self._ledger.meta.term

    @property
    def site(self) -> str:
        """The site that this loop looks after."""
        return self._ledger.meta.site

    def _settle(self, now: Moment) -> tuple[tuple[Finished, ...], str]:
        """Write down what became of effects, and return them; else say why they wait for the next pass."""
        waiting = self._memory.unsettled
        ended = self._stages.runner.finished()
        for each in ended:
            self._stages.passing(f"settle:{each.action.verb}")
            self._stages.collector.settled(each.action.pace)
        waiting.extend(ended)
        # In a pause another daemon may have taken over, and then the ledger is its own.
        if not waiting or not self._stages.leadership.holds():
            return (), ""
        rules = {effect: rule for kind in self._stages.kinds for effect, rule in kind.settle.items()}
        settling = Settling(rules, self._digests(), now, self._stages.tuning)
        try:
            self._commit(settling.changes(self._ledger, waiting))
        except FilesError as error:
            log.warning("outcomes not written down", extra={"error": error.message, "outcomes": len(waiting)})
            return (), f"the ledger cannot be written: {error.message}"
        self._memory.unsettled = []
        return tuple(waiting), ""

    def _digests(self) -> Mapping[ObjectId, str]:
        desired = self._memory.desired
        return {} if desired is None else {each.id: each.digest for each in desired.objects.values()}

    def _desire(self) -> Desired | None:
        """Return what people ask for: the newest revision that may be applied, else what was in force."""
        memory, meta = self._memory, self._ledger.meta
        if not self._source_is_due() and (memory.desired or memory.problem):
            return memory.desired
        if memory.snapshot is None and meta.applied is not None:
            # After a restart the remote may be gone or hang; what was in force is still in our own mirror.
            self._load(self._stages.source.at(meta.applied))
        latest = self._stages.source.latest(meta.applied, self._stages.accepted.revisions())
        memory.problem = latest if isinstance(latest, SourceProblem) else None
        self._load(latest)
        return memory.desired

    def _load(self, found: Snapshot | SourceProblem) -> None:
        """Take a revision into memory, if it is another one, or the same that could not be read as a whole."""
        if isinstance(found, Snapshot) and (found is not self._memory.snapshot or self._stages.loader.incomplete):
            self._memory.desired = self._stages.loader.load(found, self._stages.source.read)
            self._memory.snapshot = found

    def _look(self, now: Moment) -> Begun:
        """Begin to look at heads and job directories; they answer while the source is asked."""
        looks = chain.from_iterable(kind.looks(self._ledger) for kind in self._stages.kinds)
        return self._stages.collector.begin(looks, self._under_way(), now)

    def _observe(self, begun: Begun, desired: Desired | None, now: Moment) -> World | None:
        """Return what heads and job directories answered, and where that leaves a doubt what machines do."""
        stages = self._stages
        seen = stages.collector.observe(begun, Observed())
        if desired is None:
            return None
        watched = stages.collector.watched
        world = World(desired, seen, self._ledger, now, stages.tuning, self._under_way(), watched)
        doubts = chain.from_iterable(kind.looks_then(world) for kind in stages.kinds)
        then = stages.collector.begin(doubts, world.in_flight, now)
        return replace(world, observed=stages.collector.observe(then, seen))

    def _under_way(self) -> frozenset[str]:
        # What has ended and is not written down yet is still under way for whoever looks or decides.
        return self._stages.runner.in_flight | {each.action.pace for each in self._memory.unsettled}

    def _decide(self, world: World | None) -> tuple[Plan, World | None]:
        """Return the plan, and the world as its notes leave it; nothing while no desired state was ever seen."""
        if world is None:
            return Plan(""), None
        before, plan, planned = self._memory.world, self._memory.plan, self._memory.planned
        if before and plan and planned and still_holds(plan, before, planned, world):
            return plan, world
        self._memory.planned = world.now
        return settled_plan(world, self._stages.kinds)

    def _act(self, plan: Plan, world: World | None) -> str:
        """Write notes and intents down, then begin. What is not on disk is not begun."""
        if world is None:
            return "the source has not given any revision yet"
        try:
            if (term := self._stages.leadership.lost_to()) is not None:
                return self._stay_out(term)
        except FilesError as error:
            return f"nobody can say who leads this site: {error.message}"
        changes = [change for note in plan.notes for change in note.changes]
        changes += [change for action in plan.actions for change in action.before]
        is_new = world.desired.revision != self._ledger.meta.applied and self._memory.problem is None
        if is_new:
            meta = replace(self._ledger.meta, applied=world.desired.revision)
            changes.append(Change(Table.META, META_KEY, meta))
        try:
            self._commit(changes)
            if is_new:
                self._stages.accepted.use_up()
            self._anchor()
        except FilesError as error:
            return f"the ledger cannot be written: {error.message}"
        self._stages.loader.keep()
        self._stages.runner.start(plan.actions)
        return ""

    def _stay_out(self, term: int) -> str:
        text = f"another daemon leads this site now (term {term}); this one does nothing any more"
        if not self._memory.overtaken:
            log.error("overtaken", extra={"term": self.term, "leader": term})
        self._memory.overtaken = True
        return text

    def _commit(self, changes: Iterable[Change]) -> None:
        changes = tuple(changes)
        if changes:
            self._stages.passing("commit")
            self._ledger = self._stages.store.commit(changes)

    def _anchor(self) -> None:
        """Tell the share how far the ledger has come, once a pass and before anything is begun."""
        if not self._stages.store.anchored:
            self._stages.passing("anchor")
            self._stages.store.anchor()

    def _record(self, plan: Plan, world: World | None, finished: tuple[Finished, ...], trouble: str) -> PassReport:
        memory = self._memory
        memory.number += 1
        wake = earlier(plan.wake, self._stages.collector.wake_at)
        report = PassReport(memory.number, plan.revision, plan, finished, wake, trouble)
        if world is not None:
            world = replace(world, ledger=self._ledger)
        unchanged = plan is memory.plan and not finished and not trouble and memory.told == (memory.problem, "")
        memory.world, memory.plan, memory.told = world, plan, (memory.problem, trouble)
        self._stages.passing("status")
        if not unchanged and not memory.overtaken:
            self._stages.recorder.record(world, plan, finished, memory.problem, trouble)
        return report


def settled_plan(world: World, kinds: tuple[Kind, ...]) -> tuple[Plan, World]:
    """Return the plan after its own notes have been taken in, with all of them, and the world they leave."""
    return settled(world, {kind.name: kind.plan for kind in kinds})
