"""The composition root: the only place that builds real things and puts them together."""

import fcntl
import logging
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from reconciler import logs
from reconciler.clock import Clock
from reconciler.config import MachineSettings, Settings
from reconciler.daemon import Timers, Wakeups, listen, run
from reconciler.desired.load import Loader
from reconciler.execute.runner import Runner
from reconciler.kind import Doors, Site
from reconciler.kinds import ALL
from reconciler.loop import Loop, PassReport, Stages, settled_plan
from reconciler.model import layout
from reconciler.model.desired import Desired
from reconciler.model.ledger import META_KEY, Change, Ledger, Table
from reconciler.model.plan import Plan
from reconciler.model.snapshot import SourceProblem
from reconciler.model.world import Observed, World
from reconciler.observe.collect import Collector
from reconciler.record.history import History
from reconciler.record.journal import LedgerFault
from reconciler.record.leader import Leadership
from reconciler.record.ledger import LedgerStore
from reconciler.record.rebuild import Rebuilt, rebuild
from reconciler.record.recorder import Recorder
from reconciler.record.status import StatusWriter
from reconciler.record.text import Redaction
from reconciler.remote.command import GateCommand
from reconciler.remote.disk import DiskFiles
from reconciler.remote.files import Files
from reconciler.remote.gate import Gate
from reconciler.remote.local import LocalGate
from reconciler.remote.program import build
from reconciler.remote.ray_client import RayClient
from reconciler.remote.signer import SshKeygenSigner
from reconciler.remote.ssh import SshAccess, SshGate
from reconciler.remote.tokens import Tokens
from reconciler.source.directory import DirectorySource
from reconciler.source.git import GitSource
from reconciler.source.git_setup import GitSettings
from reconciler.source.limits import Limits
from reconciler.source.source import Source

# How long one pass waits for looks: what takes longer is used by the next one.
PATIENCE = timedelta(seconds=2)


log = logging.getLogger(__name__)


class Refused(Exception):
    """The daemon may not run here now; says why and what to do."""


class ReadOnly(Refused):
    """The ledger must not be used: nothing may be decided, and what runs runs on."""


@dataclass(frozen=True, slots=True)
class Ground:
    """The directories of an installation."""

    state: Files
    shared: Files
    status: Files


def ground(settings: Settings) -> Ground:
    """Open the directories; the state and status ones are made, the shared one must be there."""
    paths = settings.paths
    paths.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    shared = DiskFiles(paths.shared)
    paths.status.mkdir(parents=True, exist_ok=True)
    return Ground(DiskFiles(paths.state, folder_mode=0o700), shared, DiskFiles(paths.status))


@contextmanager
def only_daemon(settings: Settings) -> Iterator[None]:
    """Hold the lock of the state directory: two daemons on one machine never share a ledger."""
    path = settings.paths.state / "daemon.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            pid = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
            raise Refused(f"another daemon (pid {pid}) uses {settings.paths.state}; stop it first") from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def daemon_pid(settings: Settings) -> int | None:
    """Return the process that holds the state directory's lock, None when nobody does."""
    path = settings.paths.state / "daemon.lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return int(os.pread(descriptor, 32, 0) or b"0") or None
    finally:
        os.close(descriptor)
    return None


def source_of(settings: Settings, clock: Clock, mirror: Path) -> Source:
    """Return the configured source of desired state, with its mirror in `mirror`."""
    source = settings.source
    limits = Limits(files=source.max_files, fetch=source.timeout)
    if source.directory is not None:
        return DirectorySource(source.directory / source.path, clock, limits=limits)
    assert source.url is not None, "settings name one source"
    mirror.mkdir(mode=0o700, parents=True, exist_ok=True)
    return GitSource(
        GitSettings(
            url=source.url,
            state=mirror,
            branch=source.branch,
            sub_path=source.path,
            ssh_key=source.ssh_key,
            known_hosts=source.known_hosts,
            token_file=source.token_file,
            allow_http=source.allow_http,
            limits=limits,
        ),
        clock,
    )


def _gate(machines: MachineSettings, program: str, clock: Clock) -> Gate:
    command = GateCommand(program, machines.python)
    if machines.transport == "local":
        return LocalGate(command, clock)
    if machines.ssh_key is None or machines.known_hosts is None:
        raise Refused('[machines] needs ssh_key and known_hosts for the ssh transport, or transport = "local"')
    access = SshAccess(
        machines.ssh_key, machines.known_hosts, connect=machines.connect_timeout, parallel=machines.parallel
    )
    return SshGate(command, access, clock)


def _signer(settings: Settings) -> SshKeygenSigner:
    keys = settings.paths.state / "keys"
    keys.mkdir(mode=0o700, exist_ok=True)
    return SshKeygenSigner(keys / "head_ed25519")


def doors(
    settings: Settings, ground: Ground, ledger: Ledger, clock: Clock, redaction: Redaction, stack: ExitStack
) -> Doors:
    """Return the doors of this installation; they close with the stack."""
    program = build()
    path = layout.program(program.digest12)
    shared_root = settings.paths.shared.resolve()
    gate = _gate(settings.machines, f"{shared_root}/{path}", clock)
    stack.callback(gate.close)
    tokens = Tokens(ground.state)

    def token(cluster: str) -> str:
        secret = tokens.of(cluster).reveal()
        redaction.add(secret)
        return secret

    interpreters = settings.ray.interpreters
    ray = RayClient(
        clock,
        token,
        lambda cluster: interpreters.get(cluster, sys.executable),
    )
    stack.callback(ray.close)
    site = Site(
        id=ledger.meta.site,
        term=ledger.meta.term,
        shared_root=str(shared_root),
        program=f"{shared_root}/{path}",
        node_dir=settings.machines.node_dir,
        call_timeout=settings.machines.call_timeout,
        request_timeout=settings.ray.request_timeout,
    )
    return Doors(gate, ray, ground.shared, _signer(settings), tokens, clock, site)


def publish_program(settings: Settings, ground: Ground) -> None:
    """Put the node program and the key that head files are signed with where machines find them."""
    program = build()
    path = layout.program(program.digest12)
    if ground.shared.read(path, limit=len(program.data) + 1) != program.data:
        ground.shared.write(path, program.data)
    signers = _signer(settings).allowed_signers().encode()
    if ground.shared.read(layout.ALLOWED_SIGNERS) != signers:
        ground.shared.write(layout.ALLOWED_SIGNERS, signers)


@dataclass(frozen=True, slots=True)
class Running:
    """A loop with what keeps it company."""

    loop: Loop
    recorder: Recorder


@contextmanager
def running(settings: Settings, clock: Clock, wakeups: Wakeups, redaction: Redaction) -> Iterator[Running]:
    """Build everything that a pass needs, as the leader of the site; close it at the end.

    Raises Refused when another daemon runs here, and ReadOnly when the ledger must not be used.
    """
    with ExitStack() as stack:
        here = ground(settings)
        stack.enter_context(only_daemon(settings))
        status = StatusWriter(here.status, clock, redaction)
        recorder = Recorder(status, History(here.status, clock, redaction), ALL, clock)
        store = LedgerStore(here.state, here.shared, clock)
        ledger = store.open()
        if isinstance(ledger, LedgerFault):
            recorder.read_only(str(ledger))
            recorder.beat(0, os.getpid(), "")
            raise ReadOnly(str(ledger))
        leadership = Leadership(here.shared, clock, f"{os.uname().nodename}:{os.getpid()}")
        term = leadership.take(ledger.meta.term)
        ledger = store.commit([Change(Table.META, META_KEY, replace(ledger.meta, term=term))])
        store.anchor()
        publish_program(settings, here)
        pool = ThreadPoolExecutor(settings.machines.parallel, thread_name_prefix="rayops")
        stack.callback(pool.shutdown, wait=False, cancel_futures=True)
        through = doors(settings, here, ledger, clock, redaction, stack)
        source = source_of(settings, clock, settings.paths.state / "mirror")
        stack.callback(source.close)
        effects = {effect: do for kind in ALL for effect, do in kind.effects.items()}
        stages = Stages(
            clock=clock,
            source=source,
            loader=Loader(here.state),
            store=store,
            collector=Collector(through, clock, pool, PATIENCE, wakeups.wake),
            runner=Runner(through, effects, pool, wakeups.wake),
            recorder=recorder,
            kinds=ALL,
            leadership=leadership,
            tuning=settings.tuning,
        )
        yield Running(Loop(stages, ledger, wakeups.take_source_due), recorder)


def run_daemon(settings: Settings, clock: Clock, level: str) -> None:
    """Be the daemon until a signal asks it to stop; without a usable ledger, say so and wait for one."""
    wakeups, redaction = Wakeups(), Redaction()
    logs.start(settings.daemon.log, level, redaction)
    with ExitStack() as stack:
        listen(wakeups, stack)
        while not wakeups.stopping:
            try:
                _lead(settings, clock, wakeups, redaction)
            except ReadOnly as trouble:
                log.warning("read-only", extra={"reason": str(trouble)})
                wakeups.event.clear()
                clock.wait(wakeups.event, settings.daemon.heartbeat)


def _lead(settings: Settings, clock: Clock, wakeups: Wakeups, redaction: Redaction) -> None:
    with running(settings, clock, wakeups, redaction) as live, Timers() as timers:
        timers.every(settings.source.poll, wakeups.wake_for_source)
        timers.every(settings.daemon.resync, wakeups.wake)
        timers.every(settings.daemon.heartbeat, lambda: _beat(live))
        log.info("leading", extra={"term": live.loop.term, "site": live.loop.site})
        run(live.loop, wakeups, clock)


def _beat(live: Running) -> None:
    world = live.loop.world
    live.recorder.beat(live.loop.passes, os.getpid(), world.desired.revision if world is not None else "")


def run_once(settings: Settings, clock: Clock, level: str) -> PassReport:
    """Do one pass, and wait for what it began."""
    wakeups, redaction = Wakeups(), Redaction()
    logs.start(settings.daemon.log, level, redaction)
    with running(settings, clock, wakeups, redaction) as live:
        report = live.loop.once()
        while live.loop.busy:
            clock.wait(wakeups.event, timedelta(seconds=1))
            wakeups.event.clear()
            live.loop.finish()
        _beat(live)
        return report


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
        desired = _desired_of(settings, clock, tree, revision, stack)
        pool = ThreadPoolExecutor(settings.machines.parallel, thread_name_prefix="rayops")
        stack.callback(pool.shutdown, wait=False, cancel_futures=True)
        through = doors(settings, here, ledger, clock, Redaction(), stack)
        collector = Collector(through, clock, pool, settings.machines.call_timeout)
        world = World(desired, Observed(), ledger, clock.now(), settings.tuning)
        for kind in ALL:
            world = replace(world, observed=collector.observe(world, kind.looks))
        for kind in ALL:
            world = replace(world, observed=collector.observe(world, kind.looks_then))
        plan, _ = settled_plan(world, ALL)
        return Preview(world, plan)


def _desired_of(
    settings: Settings, clock: Clock, tree: Path | None, revision: str | None, stack: ExitStack
) -> Desired:
    if tree is not None:
        source: Source = DirectorySource(tree.resolve(), clock)
    else:
        # The daemon holds its own mirror; planning has one beside it.
        source = source_of(settings, clock, settings.paths.state / "plan-mirror")
    stack.callback(source.close)
    newest = source.latest(None)
    found = source.at(revision) if revision is not None else newest
    if isinstance(found, SourceProblem):
        raise Refused(f"{found.fault.value}: {found.message}")
    return Loader().load(found, source.read)


def recover(settings: Settings, clock: Clock, *, adopt: bool) -> Rebuilt:
    """Rebuild the ledger from what the world still shows, and with `adopt` put it in force.

    Raises Refused while a daemon runs, and when the source gives no desired state to rebuild with.
    """
    with ExitStack() as stack:
        here = ground(settings)
        stack.enter_context(only_daemon(settings))
        desired = _desired_of(settings, clock, None, None, stack)
        rebuilt = rebuild(here.shared, desired, clock.now())
        if adopt:
            LedgerStore(here.state, here.shared, clock).adopt(rebuilt.ledger)
        return rebuilt
