"""A job attempt on disk: what to run, who claimed it, how it goes, how it ended."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.node import files, moments, processes
from reconciler.node.documents import NAME, VARIABLE, Fields, parse
from reconciler.node.failure import INVALID, NotDone
from reconciler.node.machine import host_name
from reconciler.node.processes import Process

# Carried by everything that a runner starts; its value is the job directory.
MARK = "RAYOPS_JOB_DIR"
# Dashboards and `rayops logs` read these under other logins; the folder decides who may enter.
READABLE = 0o644
# Room for the result is taken when the attempt begins, so that a full disk cannot swallow how it ended.
_RESULT_BYTES = 4096
_MESSAGE_LIMIT = 1000


@dataclass(frozen=True)
class Task:
    """What an attempt runs and within which bounds."""

    submission_id: str
    cluster: str
    epoch: int
    argv: list[str]
    working_dir: str | None
    env: Mapping[str, str] = field(repr=False)
    grace_seconds: int
    limit_seconds: int | None
    head_file: Path
    allowed_signers: str
    signer: str
    checkpoints: Path | None = None


@dataclass(frozen=True)
class Claim:
    """Who took the attempt: at most one process, ever. No `runner` means the daemon did, so that nobody can."""

    submission_id: str
    host: str
    boot: str
    runner: Process | None


def link_checkpoints(folder: Path, target: Path) -> None:
    """Make the job's checkpoint folder, which outlives this attempt, and show it in the job directory.

    The daemon follows no links; this one is for people and programs on the machine.
    """
    target.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        (folder / "checkpoints").symlink_to(target)


def read_task(folder: Path, sha256: str) -> Task:
    """Return what the attempt in a job directory is to run, if it is still as it was submitted."""
    document = files.read(folder / "config" / "attempt.json", 1 << 20)
    if document is None:
        raise NotDone(INVALID, "config/attempt.json is missing")
    if hashlib.sha256(document).hexdigest() != sha256:
        raise NotDone(INVALID, "config/attempt.json was changed after its submission; find out who wrote it")
    fields = Fields(parse(document, "attempt.json"), "attempt")
    fields.integer("protocol", 1, 1)
    task = Task(
        submission_id=fields.name("submissionId"),
        cluster=fields.name("cluster"),
        epoch=fields.integer("epoch", 0, 1 << 53),
        argv=fields.texts("argv"),
        working_dir=fields.path("workingDir") if "workingDir" in fields else None,
        env=fields.map("env", VARIABLE),
        grace_seconds=fields.integer("graceSeconds", 0, 86_400),
        limit_seconds=(
            fields.integer("attemptLimitSeconds", 1, 1 << 53) if "attemptLimitSeconds" in fields else None
        ),
        head_file=Path(fields.path("headFile")),
        allowed_signers=fields.text("allowedSigners"),
        signer=fields.name("signer"),
        checkpoints=Path(fields.path("checkpoints")) if "checkpoints" in fields else None,
    )
    fields.drop("checkpoints")
    fields.drop("workingDir")
    fields.drop("attemptLimitSeconds")
    fields.end()
    if not task.argv or task.submission_id != folder.name:
        raise NotDone(INVALID, "attempt.json names no program, or belongs to another job directory")
    return task


def claim(folder: Path) -> bool:
    """Take the attempt for this process; false when it was ever taken before."""
    document = {
        "submissionId": folder.name,
        "hostName": host_name(),
        "bootId": processes.boot_id(),
        **processes.myself().document(),
        "claimedAt": moments.now(),
    }
    return files.create(folder / "claim.json", files.encode(document), READABLE)


def read_claim(folder: Path) -> Claim | None:
    """Return who claimed the attempt; None when nobody did."""
    document = files.read(folder / "claim.json", 1 << 16)
    if document is None:
        return None
    fields = Fields(parse(document, "claim.json"), "claim")
    submission = fields.text("submissionId", NAME)
    if "burnt" in fields:
        return Claim(submission, host_name(), processes.boot_id(), None)
    return Claim(
        submission_id=submission,
        host=fields.text("hostName"),
        boot=fields.text("bootId"),
        runner=Process(fields.integer("pid", 1, 1 << 31), fields.integer("startTicks", 0, 1 << 62)),
    )


@dataclass(frozen=True)
class Result:
    """How an attempt ended."""

    outcome: str
    exit_code: int | None
    signal: int | None
    started_at: str
    seconds: float
    message: str

    @property
    def shell_code(self) -> int:
        """The exit code as a shell would give it."""
        return 128 + self.signal if self.signal is not None else (self.exit_code or 0)


class ResultFile:
    """The last file of an attempt. Its room on the disk is taken at the beginning."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "result.json"
        self._draft = folder / ".result.json.draft"
        with suppress(OSError):  # a disk that is full already may have room at the end
            files.write(self._draft, b" " * (_RESULT_BYTES - 1) + b"\n", READABLE)

    def write(self, submission_id: str, result: Result) -> None:
        """Say how it ended; readers see all of it or nothing."""
        document = {
            "protocol": 1,
            "submissionId": submission_id,
            "outcome": result.outcome,
            "exitCode": result.exit_code,
            "signal": result.signal,
            "startedAt": result.started_at,
            "endedAt": moments.now(),
            "seconds": round(result.seconds, 3),
            "message": result.message[:_MESSAGE_LIMIT],
        }
        data = files.encode(document).rstrip().ljust(_RESULT_BYTES - 1) + b"\n"
        descriptor = os.open(self._draft, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, READABLE)
        try:
            os.write(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self._draft.replace(self._path)
        files.flush_folder(self._path.parent)
