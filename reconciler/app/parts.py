"""The parts of an installation: its directories, its lock, its source and its doors."""

import errno
import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event

from reconciler.app.published import Published
from reconciler.clock import Clock
from reconciler.config import MachineSettings, PathSettings, Settings
from reconciler.kind import Doors, Site
from reconciler.model import layout
from reconciler.model.ledger import Ledger
from reconciler.record.accepted import Accepted
from reconciler.record.text import Redaction
from reconciler.remote.command import GateCommand
from reconciler.remote.disk import DiskFiles
from reconciler.remote.files import Files, FilesError
from reconciler.remote.gate import Gate
from reconciler.remote.local import LocalGate
from reconciler.remote.program import build
from reconciler.remote.ray_client import RayClient
from reconciler.remote.signer import SshKeygenSigner
from reconciler.remote.ssh import SshAccess, SshGate
from reconciler.remote.tokens import Tokens
from reconciler.remote.tree import explained, explanation
from reconciler.source.directory import DirectorySource
from reconciler.source.git_setup import GitSettings
from reconciler.source.limits import Limits
from reconciler.source.location import SourceConfigError
from reconciler.source.source import Source

# Linux counts processes up to 2^22; the file is read by people, too.
HOLDER_LENGTH = 20
DAEMON = "daemon"


class Refused(Exception):
    """The daemon may not run here now; says why and what to do."""


class ReadOnly(Refused):
    """The ledger must not be used: nothing may be decided, and what runs runs on."""


@dataclass(frozen=True, slots=True)
class Ground:
    """The directories of an installation."""

    paths: PathSettings
    state: Files
    shared: Files

    @property
    def status(self) -> Files:
        """The directory for readers, made when it is not there: only who leads, or may have to, asks for it."""
        status, shared = self.paths.status, self.paths.shared
        if status.is_relative_to(shared):
            return DiskFiles(status, inside=shared)
        with explained(str(status)):
            status.mkdir(parents=True, exist_ok=True)
        return DiskFiles(status)


def ground(settings: Settings) -> Ground:
    """Open the directories; the state one is made, the shared one must be there."""
    paths = settings.paths
    try:
        paths.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise _no_state(settings, error) from error
    return Ground(paths, DiskFiles(paths.state, folder_mode=0o700), DiskFiles(paths.shared))


def _no_state(settings: Settings, error: OSError) -> Refused | FilesError:
    """Say why the state directory cannot be used: until its disk is well again, or until a person has acted."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE}:
        return explanation(str(settings.paths.state), error)
    return Refused(f"{settings.paths.state} cannot be used as the state directory: {error.strerror}")


@contextmanager
def only_user(settings: Settings, verb: str = DAEMON) -> Iterator[None]:
    """Hold the lock of the state directory: two processes on one machine never share a ledger.

    The lock says who holds it: the daemon, or a `verb` that acts alone and hears no signal.
    """
    path = settings.paths.state / "daemon.lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise _no_state(settings, error) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Refused(_in_use(settings, *_holder(descriptor))) from error
        # Always as long as the longest: a full disk has room for what is there already.
        with explained(str(path)):
            os.pwrite(descriptor, f"{f'{os.getpid()} {verb}':<{HOLDER_LENGTH}}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def daemon_pid(settings: Settings) -> int | None:
    """Return the process of the daemon that uses the state directory, None when none does."""
    path = settings.paths.state / "daemon.lock"
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _no_state(settings, error) from error
    try:
        # Shared: two who ask at once do not take each other for the daemon.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        pid, verb = _holder(descriptor)
        return int(pid) if pid.isdecimal() and verb == DAEMON else None
    finally:
        os.close(descriptor)
    return None


def _holder(lock: int) -> tuple[str, str]:
    """Return which process holds the lock, and as what. A daemon before this version wrote its number alone."""
    pid, _, verb = os.pread(lock, HOLDER_LENGTH, 0).decode("ascii", "replace").strip().partition(" ")
    return pid, verb or DAEMON


def _in_use(settings: Settings, pid: str, verb: str) -> str:
    if verb == DAEMON:
        return f"another daemon (pid {pid}) uses {settings.paths.state}; stop it first"
    return f"`rayops {verb}` (pid {pid}) uses {settings.paths.state}; wait until it has ended"


def accept(settings: Settings, revision: str) -> None:
    """Let the daemon apply a revision that does not follow the applied one."""
    Accepted(ground(settings).state).add(revision)


def source_of(settings: Settings, clock: Clock, mirror: Path, called_off: Event | None = None) -> Source:
    """Return the configured source of desired state, with its mirror in `mirror`.

    Once `called_off` is set, by whichever thread, it waits for no remote any more.
    """
    try:
        return _source(settings, clock, mirror, called_off)
    except SourceConfigError as mistake:
        raise Refused(f"[source]: {mistake}") from mistake
    except ImportError as error:
        # GitPython looks for git when it is imported.
        raise Refused(f"the Git source cannot be used: {error}") from error


def _source(settings: Settings, clock: Clock, mirror: Path, called_off: Event | None) -> Source:
    from reconciler.source.git import GitSource

    source = settings.source
    limits = Limits(files=source.max_files, fetch=source.timeout)
    limits = replace(limits, first_fetch=max(limits.first_fetch, source.timeout))
    if source.directory is not None:
        return DirectorySource(source.directory / source.path, clock, limits=limits, kept=ground(settings).state)
    assert source.url is not None, "settings name one source"
    git = GitSettings(
        url=source.url,
        state=mirror,
        branch=source.branch,
        sub_path=source.path,
        ssh_key=source.ssh_key,
        known_hosts=source.known_hosts,
        token_file=source.token_file,
        allow_http=source.allow_http,
        limits=limits,
    )
    with explained(str(mirror)):
        mirror.mkdir(mode=0o700, parents=True, exist_ok=True)
        return GitSource(git, clock, called_off)


def _gate(machines: MachineSettings, program: str, sha256: str, clock: Clock) -> Gate:
    command = GateCommand(program, sha256, machines.python)
    if machines.transport == "local":
        return LocalGate(command, clock)
    if machines.ssh_key is None or machines.known_hosts is None:
        raise Refused('[machines] needs ssh_key and known_hosts for the ssh transport, or transport = "local"')
    access = SshAccess(
        machines.ssh_key, machines.known_hosts, connect=machines.connect_timeout, parallel=machines.parallel
    )
    return SshGate(command, access, clock)


def _signer(settings: Settings) -> SshKeygenSigner:
    return SshKeygenSigner(settings.paths.state / "keys" / "head_ed25519")


def doors(
    settings: Settings, ground: Ground, ledger: Ledger, clock: Clock, redaction: Redaction, stack: ExitStack
) -> Doors:
    """Return the doors of this installation; they close with the stack."""
    program = build()
    path = layout.program(program.digest12)
    shared_root = settings.paths.shared.resolve()
    gate = _gate(settings.machines, f"{shared_root}/{path}", program.sha256, clock)
    stack.callback(gate.close)
    tokens = Tokens(ground.state)

    def token(cluster: str) -> str:
        secret = tokens.reveal(cluster)
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
        program_sha256=program.sha256,
        node_dir=settings.machines.node_dir,
        call_timeout=settings.machines.call_timeout,
        request_timeout=settings.ray.request_timeout,
    )
    return Doors(gate, ray, ground.shared, _signer(settings), tokens, clock, site)


def publish(settings: Settings, ground: Ground) -> Published:
    """Put the node program and the key that head files are signed with where machines find them."""
    keys = settings.paths.state / "keys"
    with explained(str(keys)):
        keys.mkdir(mode=0o700, exist_ok=True)
    program = build()
    signers = _signer(settings).allowed_signers().encode()
    files = {layout.program(program.digest12): program.data, layout.ALLOWED_SIGNERS: signers}
    published = Published(ground.shared, files)
    published.write()
    return published
