"""Look at a site without leading it: plan, and rebuild a lost ledger."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from reconciler.app.parts import ReadOnly, Refused, doors, ground, only_user, source_of
from reconciler.clock import Clock
from reconciler.config import Settings
from reconciler.desired.load import Loader
from reconciler.kinds import ALL
from reconciler.loop import settled_plan
from reconciler.model.desired import Desired
from reconciler.model.plan import Plan
from reconciler.model.snapshot import Snapshot, SourceProblem
from reconciler.model.world import Observed, World
from reconciler.observe.collect import Collector
from reconciler.record.journal import LedgerFault
from reconciler.record.leader import living_leader
from reconciler.record.ledger import LedgerStore
from reconciler.record.rebuild import Rebuilt, rebuild
from reconciler.record.text import Redaction
from reconciler.source.directory import DirectorySource
from reconciler.source.source import Source


@dataclass(frozen=True, slots=True)
class Preview:
    """What the daemon would do about a revision, against the live world; nothing was changed to find out."""

    world: World
    plan: Plan


def preview(settings: Settings, clock: Clock, tree: Path | None, revision: str | None) -> Preview:
    """Plan a work tree, a revision, or the newest one; raises Refused when there is nothing to plan with."""
    with ExitStack() as stack:
        here = ground(settings)
        ledger = LedgerStore(here.state, here.shared, clock).look()
        if isinstance(ledger, LedgerFault):
            raise ReadOnly(str(ledger))
        if tree is not None:
            desired = _tree(tree, clock, ledger.meta.applied, stack)
        else:
            desired = _desired_of(settings, clock, revision, stack)
        pool = ThreadPoolExecutor(settings.machines.parallel, thread_name_prefix="rayops")
        stack.callback(pool.shutdown, wait=False, cancel_futures=True)
        through = doors(settings, here, ledger, clock, Redaction(), stack)
        collector = Collector(through, clock, pool, settings.machines.call_timeout)
        now = clock.now()
        first = collector.begin(chain.from_iterable(kind.looks(ledger) for kind in ALL), (), now)
        world = World(desired, collector.observe(first, Observed()), ledger, now, settings.tuning)
        then = collector.begin(chain.from_iterable(kind.looks_then(world) for kind in ALL), (), now)
        world = replace(world, observed=collector.observe(then, world.observed))
        plan, _ = settled_plan(world, ALL)
        return Preview(world, plan)


def _tree(tree: Path, clock: Clock, applied: str | None, stack: ExitStack) -> Desired:
    """Return what a work tree asks for; an empty one is no wish, as for a daemon that has `applied` something."""
    source = DirectorySource(tree.resolve(), clock)
    stack.callback(source.close)
    return _loaded(source, source.latest(applied))


def _desired_of(settings: Settings, clock: Clock, revision: str | None, stack: ExitStack) -> Desired:
    # The daemon holds its own mirror; planning has one beside it.
    source = source_of(settings, clock, settings.paths.state / "plan-mirror")
    stack.callback(source.close)
    newest = source.latest(None)
    return _loaded(source, source.at(revision) if revision is not None else newest)


def _loaded(source: Source, found: Snapshot | SourceProblem) -> Desired:
    if isinstance(found, SourceProblem):
        raise Refused(f"{found.fault.value}: {found.message}")
    return Loader().load(found, source.read)


def recover(settings: Settings, clock: Clock, *, adopt: bool) -> Rebuilt:
    """Rebuild the ledger from what the world still shows, and with `adopt` put it in force.

    Raises Refused while a daemon runs, and when the source gives no desired state to rebuild with; with `adopt`
    also while a daemon leads elsewhere: then the site's ledger is not lost, and two would be in force.
    """
    with ExitStack() as stack:
        here = ground(settings)
        stack.enter_context(only_user(settings, "recover"))
        if adopt and (leader := living_leader(here.shared, here.status, clock)):
            raise Refused(
                f"{leader} leads this site and has spoken a moment ago, so the ledger is there; stop it first, or "
                "wait for two minutes if it is dead"
            )
        desired = _desired_of(settings, clock, None, stack)
        rebuilt = rebuild(here.shared, desired, clock.now())
        if adopt:
            LedgerStore(here.state, here.shared, clock).adopt(rebuilt.ledger)
        return rebuilt
