"""Slots: one Ray role of one cluster on this machine, as its folder and the process table tell it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from reconciler.node import files, processes
from reconciler.node.documents import NAME, Fields, parse
from reconciler.node.failure import NotDone
from reconciler.node.orders import COUNT_LIMIT, HEAD, WORKER
from reconciler.node.processes import Process
from reconciler.node.raystart import SLOT_MARK

STARTING, RUNNING, STOPPING, FAILED, STOPPED = "starting", "running", "stopping", "failed", "stopped"
NONE = "none"
ALIVE = frozenset({STARTING, RUNNING, STOPPING})
LOG_LIMIT = 4096


@dataclass(frozen=True)
class Slot:
    """A slot's name and its folder."""

    cluster: str
    role: str
    node: str
    site: Path

    @property
    def folder(self) -> Path:
        """Where everything of the slot is kept."""
        return self.site / self.cluster / f"{self.role}-{self.node}"

    @property
    def record(self) -> Path:
        """What the keeper says about itself and what it started."""
        return self.folder / "state.json"

    @property
    def order(self) -> Path:
        """What the keeper has to start; holds no token."""
        return self.folder / "order.json"

    @property
    def token(self) -> Path:
        """The cluster's token, for Ray's own reading."""
        return self.folder / "token"

    @property
    def log(self) -> Path:
        """What `ray start` said."""
        return self.folder / "start.log"

    @property
    def stop(self) -> Path:
        """How and when the keeper was asked to stop."""
        return self.folder / "stop.json"

    @property
    def lock(self) -> Path:
        """Held while a verb works on the slot."""
        return self.site / self.cluster / f".{self.role}-{self.node}.lock"

    @property
    def keeper_lock(self) -> Path:
        """Held by the keeper as long as it lives."""
        return self.folder / "keeper.lock"


@dataclass(frozen=True)
class Record:
    """What is recorded of a slot; `core` are the processes without which Ray there is dead.

    `generation` is that of the start; one from before starts were counted is older than all of them.
    """

    state: str
    epoch: int
    boot: str
    started_at: str
    message: str = ""
    keeper: Process | None = None
    core: Mapping[str, Process] = field(default_factory=dict)
    generation: int = 0

    def document(self) -> dict[str, object]:
        """Return the form on disk."""
        return {
            "protocol": 1,
            "state": self.state,
            "epoch": self.epoch,
            "generation": self.generation,
            "bootId": self.boot,
            "startedAt": self.started_at,
            "message": self.message,
            "keeper": self.keeper.document() if self.keeper else None,
            "core": {name: process.document() for name, process in self.core.items()},
        }


@dataclass(frozen=True)
class Seen:
    """A slot as it is now. `living` are all its processes; a slot is dead only when there are none."""

    slot: Slot
    state: str
    message: str
    record: Record | None
    living: tuple[Process, ...]

    @property
    def generation(self) -> int:
        """The newest start that this slot has seen."""
        return self.record.generation if self.record is not None else 0

    @property
    def where(self) -> str:
        """The slot in words."""
        return f"{self.slot.role} slot {self.slot.node} of {self.slot.cluster}"

    def document(self) -> dict[str, object]:
        """Return the form in answers."""
        record, log = self.record, ""
        main = next(iter(record.core.values()), record.keeper) if record else None
        if self.state == FAILED:
            log = _without_token(self.slot, files.tail(self.slot.log, LOG_LIMIT))
        return {
            "cluster": self.slot.cluster,
            "role": self.slot.role,
            "node": self.slot.node,
            "state": self.state,
            "epoch": record.epoch if record else None,
            "generation": record.generation if record else None,
            "pid": main.pid if main and self.living else None,
            "startedAt": record.started_at if record else None,
            "message": self.message,
            "log": log,
        }


def write_record(slot: Slot, record: Record) -> None:
    """Replace a slot's record in one step."""
    files.write_json(slot.record, record.document())


def read_record(slot: Slot) -> Record | None:
    """Return a slot's record; None when there is none, `NotDone` when it is damaged."""
    document = files.read(slot.record, 1 << 16)
    if document is None:
        return None
    fields = Fields(parse(document, "the slot's record"), "record")
    fields.integer("protocol", 1, 1)
    core, epoch = fields.fields("core"), fields.integer("epoch", 1, COUNT_LIMIT)
    uncounted = epoch if slot.role == HEAD else 0
    record = Record(
        state=fields.choice("state", STARTING, RUNNING, STOPPING, FAILED, STOPPED),
        epoch=epoch,
        boot=fields.text("bootId"),
        started_at=fields.text("startedAt"),
        message=fields.text("message"),
        keeper=read_process(fields.fields("keeper")) if "keeper" in fields else None,
        core={name: read_process(core.fields(name)) for name in ("gcs_server", "raylet") if name in core},
        generation=fields.integer("generation", 0, COUNT_LIMIT) if "generation" in fields else uncounted,
    )
    fields.drop("keeper")
    fields.end()
    return record


def read_process(fields: Fields) -> Process:
    """Return a recorded process."""
    process = Process(fields.integer("pid", 1, 1 << 31), fields.integer("startTicks", 0, 1 << 62))
    fields.end()
    return process


class Look:
    """One look at the process table, enough for any number of slots."""

    def __init__(self) -> None:
        self.boot = processes.boot_id()
        self.rows = processes.table()
        self.marked = processes.marks(SLOT_MARK, self.rows)

    def at(self, slot: Slot) -> Seen:
        """Return what a slot is now."""
        try:
            record = read_record(slot)
        except NotDone as damage:
            living = self._living(slot, None)
            state = RUNNING if living else FAILED
            return Seen(slot, state, f"its record is damaged: {damage.message}", None, living)
        living = self._living(slot, record)
        state, message = _judge(record, living, self.boot)
        return Seen(slot, state, message, record, living)

    def _living(self, slot: Slot, record: Record | None) -> tuple[Process, ...]:
        found = set(self.marked.get(str(slot.folder), ()))
        if record is not None and record.boot == self.boot:
            recorded = {*record.core.values(), *([record.keeper] if record.keeper else [])}
            found |= {each for each in recorded if self._is_alive(each)}
            found |= self._unmarked(record.keeper)
        found |= set(processes.descendants([each.pid for each in found], self.rows))
        return tuple(sorted(found))

    def _unmarked(self, keeper: Process | None) -> set[Process]:
        """Return what lost its mark, as workers of Ray do by their titles, and is in the session of its keeper."""
        members = processes.session(keeper, self.rows) if keeper is not None else []
        return set(members).difference(*self.marked.values())

    def _is_alive(self, process: Process) -> bool:
        row = self.rows.get(process.pid)
        if row is not None and row.process == process:
            return row.living
        # The record is read after the table, and may name what began in between.
        return processes.alive(process)


def all_slots(site: Path) -> list[Slot]:
    """Return the slots that are recorded for a site, sorted."""
    found = []
    for cluster in _names(site):
        for name in _names(site / cluster):
            role, _, node = name.partition("-")
            if role in {HEAD, WORKER} and NAME.fullmatch(node):
                found.append(Slot(cluster, role, node, site))
    return found


def _judge(record: Record | None, living: tuple[Process, ...], boot: str) -> tuple[str, str]:
    if record is None:
        return (RUNNING, "processes of this slot live, but no record of them") if living else (NONE, "")
    if not living:
        return _judge_dead(record, boot)
    others = [each for each in living if each != record.keeper]
    if record.state not in ALIVE:
        # The keeper writes its last word just before it ends.
        return (STOPPING, f"{len(others)} processes are left") if others else (record.state, record.message)
    if record.keeper not in living:
        word = "what is left of it runs" if set(record.core.values()) - set(living) else "Ray runs"
        return (STOPPING if record.state == STOPPING else RUNNING), f"its keeper is gone; {word} unwatched"
    gone = [name for name, process in record.core.items() if process not in living]
    if record.state == RUNNING and gone:
        return STOPPING, f"{' and '.join(gone)} ended; the keeper ends the rest"
    return record.state, record.message


def _judge_dead(record: Record, boot: str) -> tuple[str, str]:
    if record.state not in ALIVE:
        return record.state, record.message
    if record.boot != boot:
        return STOPPED, "the machine was started again since"
    if record.state == STOPPING:
        return STOPPED, record.message
    return FAILED, "its keeper and Ray ended without a word" if record.keeper else "its keeper never began"


def _names(folder: Path) -> list[str]:
    with suppress(OSError):
        return sorted(each.name for each in folder.iterdir() if NAME.fullmatch(each.name) and each.is_dir())
    return []


def _without_token(slot: Slot, text: str) -> str:
    with suppress(NotDone, OSError):
        token = (files.read(slot.token, 1 << 13) or b"").decode("ascii", "replace").strip()
        return text.replace(token, "[token]") if token else text
    return ""


def ended(record: Record, state: str, message: str) -> Record:
    """Return the record of a slot in which nothing lives any more."""
    return replace(record, state=state, message=message)
