"""Processes by identity: pid, start time and boot. A pid alone may belong to a stranger tomorrow."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from reconciler.node import moments

PROC = Path("/proc")
_SET_CHILD_SUBREAPER = 36  # prctl(2)
_SET_DEATH_SIGNAL = 1
_DEAD = frozenset("ZXx")
_NOT_OF_OTHER_THREADS = 0x2000_0000  # waitpid(2), __WNOTHREAD; Python has no name for it


@dataclass(frozen=True, order=True)
class Process:
    """One process of this boot, never to be mistaken for a later one with the same pid."""

    pid: int
    start_ticks: int

    def document(self) -> dict[str, int]:
        """Return the form that is recorded."""
        return {"pid": self.pid, "startTicks": self.start_ticks}


@dataclass(frozen=True)
class Row:
    """What the process table says about one process."""

    process: Process
    parent: int
    session: int
    living: bool


def boot_id() -> str:
    """Return what changes when recorded pids lose their meaning: the boot, and the namespace that counts them."""
    boot = (PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    # Two containers on one kernel share the boot id but not their pids.
    namespace = os.stat("/proc/self/ns/pid").st_ino  # noqa: PTH116 - follows the magic link on purpose
    return f"{boot}.{namespace}"


def row(pid: int) -> Row | None:
    """Return one line of the process table, or None when there is no such process."""
    try:
        text = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The command name stands in brackets and may hold anything, brackets and spaces included (proc(5)).
    fields = text[text.rfind(")") + 2 :].split()
    # The state is that of the first thread: a process whose other threads work on has ended as little as any other.
    living = fields[0] not in _DEAD or int(fields[17]) > 1
    return Row(Process(pid, int(fields[19])), int(fields[1]), int(fields[3]), living)


def table() -> dict[int, Row]:
    """Return the process table."""
    rows = (row(int(each.name)) for each in PROC.iterdir() if each.name.isdigit())
    return {each.process.pid: each for each in rows if each is not None}


def myself() -> Process:
    """Return this process."""
    me = row(os.getpid())
    assert me is not None, "a running process is in its process table"
    return me.process


def alive(process: Process) -> bool:
    """Say whether exactly this process still runs; a zombie does not."""
    found = row(process.pid)
    return found is not None and found.process == process and found.living


def descendants(roots: Iterable[int], rows: Mapping[int, Row]) -> list[Process]:
    """Return the living processes below the given ones, nearest first; the roots are left out."""
    children: dict[int, list[int]] = {}
    for pid, each in rows.items():
        children.setdefault(each.parent, []).append(pid)
    found: list[Process] = []
    queue = list(roots)
    for pid in queue:
        for child in children.get(pid, ()):
            queue.append(child)
            if rows[child].living:
                found.append(rows[child].process)
    return found


def session(leader: Process, rows: Mapping[int, Row]) -> list[Process]:
    """Return the living processes of this user in the session that `leader` began, whether it lives or not."""
    holder = rows.get(leader.pid)
    if holder is not None and holder.process != leader:
        return []  # the kernel gives a number away only when nobody is in its session any more
    members = [each.process for each in rows.values() if each.living and each.session == leader.pid]
    return [each for each in members if each.start_ticks >= leader.start_ticks and _is_ours(each)]


def marks(variable: str, rows: Mapping[int, Row]) -> dict[str, list[Process]]:
    """Return the living processes whose environment carries `variable`, by its value."""
    prefix = variable.encode() + b"="
    found: dict[str, list[Process]] = {}
    for pid, each in rows.items():
        if each.living and (value := _variable(pid, prefix)) is not None:
            found.setdefault(value, []).append(each.process)
    return found


def command_line(process: Process) -> list[str]:
    """Return the arguments of a process; none when it is gone."""
    try:
        text = (PROC / str(process.pid) / "cmdline").read_bytes()
    except OSError:
        return []
    arguments = [os.fsdecode(part) for part in text.split(b"\0")[:-1]]
    return arguments if alive(process) else []


def send(process: Process, number: signal.Signals) -> None:
    """Signal exactly this process; one that is gone, or whose pid went to another, is left alone.

    So is one that became another user's, as by sudo: it lives on, and whoever looks again sees that.
    """
    handle = _handle(process.pid)
    if handle is None:
        if alive(process):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(process.pid, number)
        return
    try:
        # The handle pins whoever has the pid now; only then is it settled who that is.
        if alive(process):
            with suppress(ProcessLookupError, PermissionError):
                signal.pidfd_send_signal(handle, number)
    finally:
        os.close(handle)


def end(find: Callable[[], list[Process]], grace: float, *, limit: float = 10.0) -> bool:
    """Ask all that `find` returns to end, kill what is left after `grace`; say whether nothing is left.

    `find` is asked again and again, since what is being ended may still start processes.
    """
    told: set[Process] = set()
    deadline = moments.ticks() + grace
    while moments.ticks() < deadline:
        living = find()
        if not living:
            return True
        for process in living:
            if process not in told:
                send(process, signal.SIGTERM)
        told.update(living)
        moments.pause(0.02)
    deadline = moments.ticks() + limit
    while living := find():
        if moments.ticks() > deadline:
            return False
        for process in living:
            send(process, signal.SIGKILL)
        moments.pause(0.02)
    return True


def adopt_orphans() -> None:
    """Become the parent of every orphan below this process, so that none escapes by forking twice."""
    _prctl(_SET_CHILD_SUBREAPER, 1)


def die_with_parent() -> None:
    """Ask the kernel to kill this process when the thread that started it ends."""
    _prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)


def reap() -> dict[int, int]:
    """Collect children that have ended; return their exit codes by pid, negative for a signal.

    Children of other threads are left to them: a thread that finds its child collected would not know how it ended.
    Orphans that were adopted are the main thread's.
    """
    ended: dict[int, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG | _NOT_OF_OTHER_THREADS)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        ended[pid] = os.waitstatus_to_exitcode(status)


def _is_ours(process: Process) -> bool:
    with suppress(OSError):
        return (PROC / str(process.pid)).stat().st_uid == os.getuid()
    return False


def _handle(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None  # gone, or a kernel before 5.3: then identity is checked just before the signal


def _variable(pid: int, prefix: bytes) -> str | None:
    environment = _environment(PROC / str(pid))
    if prefix not in environment:
        return None
    for entry in environment.split(b"\0"):
        if entry.startswith(prefix):
            return os.fsdecode(entry[len(prefix) :])
    return None


def _environment(process: Path) -> bytes:
    """Return the environment of a process; nothing when it is another user's, or just gone."""
    # A first thread that has ended has none any more (no file or an empty one, by kernel); the others still do.
    for each in (process, *_threads(process)):
        with suppress(OSError):
            if environment := (each / "environ").read_bytes():
                return environment
    return b""


def _threads(process: Path) -> Iterator[Path]:
    with suppress(OSError):
        yield from (process / "task").iterdir()


_libc = ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
