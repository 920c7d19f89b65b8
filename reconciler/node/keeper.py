"""The keeper: one per slot, parent of everything that Ray starts there, alive as long as any of it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path

from reconciler.node import attempt, files, machine, moments, processes, raystart, sessions, signals
from reconciler.node.documents import Fields, parse
from reconciler.node.failure import REFUSED, TRANSIENT, NotDone
from reconciler.node.orders import HEAD, Order, read_order
from reconciler.node.processes import Process
from reconciler.node.slots import FAILED, RUNNING, STARTING, STOPPED, STOPPING, Record, Slot, write_record

# `ray start` gives up by itself after 30 s, but against a dead head it was still there after 200 s.
_START_LIMIT_SECONDS = 120.0
_HEAD_ANSWER_SECONDS = 2.0
# Ray's daemons end at once when asked (0.1 s measured); what does not is killed.
_REST_GRACE_SECONDS = 2.0
_DEFAULT_GRACE_SECONDS = 5.0
# The end of Ray arrives as a signal at once; this is only how often leftovers of jobs are looked for.
_LOOK_SECONDS = 10.0
_SESSIONS_KEPT = 3
_PORTS = 6


def main(folder: Path, told: int) -> int:
    """Keep one slot until nothing in it lives; `told` is closed once the slot's record says that we are there."""
    signals.hold()
    os.umask(0o077)
    processes.adopt_orphans()
    role, _, node = folder.name.partition("-")
    slot = Slot(folder.parent.name, role, node, folder.parent.parent)
    with files.locked(slot.keeper_lock, seconds=5):
        keeper = Keeper(slot, _read_order(slot))
        keeper.begin()
        os.write(told, b"ready")
        os.close(told)
        keeper.keep()
    return 0


class Keeper:
    """Starts Ray, watches it, and ends all of it; every step is in the slot's record before it is taken."""

    def __init__(self, slot: Slot, order: Order) -> None:
        self._slot = slot
        self._order = order
        self._me = processes.myself()
        self._record = Record(
            STARTING, order.epoch, processes.boot_id(), moments.now(), keeper=self._me, generation=order.generation
        )
        self._ended: dict[int, int] = {}
        self._asked = False

    def begin(self) -> None:
        """Record that this keeper has the slot."""
        write_record(self._slot, self._record)

    def keep(self) -> None:
        """Start, watch and end; return when nothing lives any more."""
        try:
            word = self._start() or self._watch()
        except NotDone as failure:
            word = failure.message
        except OSError as error:
            word = f"this machine said: {error.strerror or type(error).__name__}"
        self._finish(word)

    def _start(self) -> str:
        """Start Ray; return why it does not run, or nothing."""
        order, slot = self._order, self._slot
        address = machine.own_address(order.address)
        if order.role != HEAD:
            _require_head(order.head_address)
        temporary = _temporary_folder(slot)
        ports = machine.free_ports(_PORTS, f"{slot.folder} {self._me}")
        environment = raystart.environment(order, os.environ, slot.folder, slot.token, ports)
        starter = _spawn(raystart.command(order, address, temporary, ports), environment, slot.log)
        deadline = moments.ticks() + _START_LIMIT_SECONDS
        while starter not in self._ended:
            if moments.ticks() > deadline:
                return f"ray start did not end within {_START_LIMIT_SECONDS:.0f} s"
            if self._stop_asked(deadline - moments.ticks()):
                return ""
        if self._ended[starter] != 0:
            return f"ray start {_how(self._ended[starter])}"
        return self._took_off()

    def _took_off(self) -> str:
        wanted = {"gcs_server", "raylet"} if self._order.role == HEAD else {"raylet"}
        below = processes.descendants([self._me.pid], processes.table())
        core = {Path(line[0]).name: each for each in below if (line := processes.command_line(each))}
        found = {name: core[name] for name in sorted(wanted & core.keys())}
        self._say(replace(self._record, state=RUNNING, core=found))
        missing = wanted - found.keys()
        return f"ray start left no {' and no '.join(sorted(missing))}" if missing else ""

    def _watch(self) -> str:
        """Wait for the end of Ray, or until a stop is asked for; return what ended."""
        while not self._asked:
            gone = [name for name, process in self._record.core.items() if not processes.alive(process)]
            if gone:
                # It may have ended just now, between the last reaping and this look.
                self._ended.update(processes.reap())
                return f"{gone[0]} {_how(self._ended.get(self._record.core[gone[0]].pid))}"
            self._end_leftovers_of_jobs()
            self._stop_asked(_LOOK_SECONDS)
        return ""

    def _end_leftovers_of_jobs(self) -> None:
        """End what is of a job and has no runner above it: the runner was killed before it could."""
        rows = processes.table()
        children = {pid: row for pid, row in rows.items() if row.parent == self._me.pid}
        orphans = [*chain.from_iterable(processes.marks(attempt.MARK, children).values())]
        orphans += [each for each in sessions.all_unmarked(self._slot.site, rows) if each.pid in children]
        for orphan in [*processes.descendants([each.pid for each in orphans], rows), *orphans]:
            processes.send(orphan, signal.SIGKILL)

    def _finish(self, word: str) -> None:
        self._try_to_say(replace(self._record, state=STOPPING, message=word or "asked to stop"))
        raylet = self._record.core.get("raylet")
        if raylet is not None:
            # Asked first and alone, it leaves its head in 0.05 s and takes its workers along.
            processes.send(raylet, signal.SIGTERM)
            self._wait_for(raylet, _grace(self._slot) if self._asked else _REST_GRACE_SECONDS)
        while not processes.end(self._living, _REST_GRACE_SECONDS):
            self._try_to_say(replace(self._record, message=f"{len(self._living())} processes resist SIGKILL"))
        state = STOPPED if self._asked and not word else FAILED
        self._try_to_say(replace(self._record, state=state, message=word))

    def _wait_for(self, process: Process, grace: float) -> None:
        deadline = moments.ticks() + grace
        while processes.alive(process) and moments.ticks() < deadline:
            self._stop_asked(min(0.1, grace))

    def _living(self) -> list[Process]:
        self._ended.update(processes.reap())
        rows = processes.table()
        found = set(processes.marks(raystart.SLOT_MARK, rows).get(str(self._slot.folder), ()))
        found |= set(processes.descendants([self._me.pid, *(each.pid for each in found)], rows))
        return sorted(found - {self._me})

    def _stop_asked(self, seconds: float) -> bool:
        """Wait for the next signal; say whether a stop was asked for by now."""
        arrival = signals.wait(seconds)
        self._asked = self._asked or (arrival is not None and arrival.number in signals.STOP)
        self._ended.update(processes.reap())
        return self._asked

    def _try_to_say(self, record: Record) -> None:
        with suppress(OSError):  # a full disk must not keep Ray from being ended; the gate then looks for itself
            self._say(record)

    def _say(self, record: Record) -> None:
        self._record = record
        write_record(self._slot, record)


def _read_order(slot: Slot) -> Order:
    document, token = files.read(slot.order, 1 << 20), files.read(slot.token, 1 << 13)
    if document is None or token is None:
        raise NotDone(REFUSED, "the slot holds no order")
    return read_order(slot.role, Fields({**parse(document, "order.json"), "token": token.decode("ascii")}, "order"))


def _require_head(head_address: str) -> None:
    host, _, port = head_address.rpartition(":")
    try:
        socket.create_connection((machine.ray_host(host).strip("[]"), int(port)), _HEAD_ANSWER_SECONDS).close()
    except OSError as error:
        raise NotDone(
            TRANSIENT, f"the head at {head_address} does not answer: {error.strerror or 'no answer'}"
        ) from error


def _temporary_folder(slot: Slot) -> Path:
    folder = raystart.temporary_folder(slot.folder, os.getuid())
    files.own_folder(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
    # Old sessions hold the logs that explain yesterday's failure; more of them only fill the disk.
    for session in sorted(folder.glob("session_2*"))[:-_SESSIONS_KEPT]:
        shutil.rmtree(session, ignore_errors=True)
    return folder


def _spawn(command: list[str], environment: dict[str, str], log: Path) -> int:
    program = shutil.which(command[0], path=environment.get("PATH"))
    if program is None:
        raise NotDone(REFUSED, f"{command[0]} is not on this machine")
    return os.posix_spawn(
        program,
        command,
        environment,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsigmask=[],
    )


def _grace(slot: Slot) -> float:
    try:
        return float(parse(files.read(slot.stop, 1 << 12) or b"{}", "stop.json")["graceSeconds"])
    except (NotDone, KeyError, TypeError, ValueError):
        return _DEFAULT_GRACE_SECONDS


def _how(code: int | None) -> str:
    if code is None:
        return "ended"
    return f"ended with code {code}" if code >= 0 else f"was ended by {signal.Signals(-code).name}"
