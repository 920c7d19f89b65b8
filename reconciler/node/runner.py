"""The job runner: claims an attempt, runs it, and lets nothing of it outlive the word on how it ended."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path

from reconciler.node import attempt, moments, processes, sessions, signals
from reconciler.node.attempt import Result, ResultFile, Task
from reconciler.node.failure import NotDone
from reconciler.node.processes import Process
from reconciler.node.pulse import Pulse
from reconciler.node.tee import Tee

EXITED, STOPPED, TIMED_OUT, FENCED = "exited", "stopped", "timed-out", "fenced"
# The job names what can never be started; or its machine or the share lacked something, and another try may do.
# A daemon that does not know the newer word, hindered, takes it for the other one.
NOT_STARTED, HINDERED = "not-started", "hindered"
# sysexits.h: the job directory cannot be written, somebody else has the attempt, or its description cannot be used.
_NO_CLAIM, _TAKEN, _BAD_CONFIG = 74, 75, 78
_CANNOT_RUN = 127
# What is wrong with a program, its folder or its arguments; any other error is of the machine or the share.
_OF_THE_JOB = frozenset(
    {
        errno.E2BIG,
        errno.EACCES,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.ENOENT,
        errno.ENOEXEC,
        errno.ENOTDIR,
        errno.EPERM,
    }
)
# What a job leaves behind when its program has ended by itself.
_LEFTOVER_GRACE_SECONDS = 2.0
# What SIGKILL has not ended by then may take hours: it waits for a dead disk or share, or is another user's by now.
_KILL_SECONDS, _AGAIN_SECONDS = 10.0, 0.1
_POLL_SECONDS = 1.0
# Set by Ray's job supervisor. When that stops a job, it signals the runner and everything below at once: a second
# TERM from us would interrupt a program that is writing its last checkpoint because of the first.
_RAY_SUPERVISED = "RAY_JOB_CONFIG_JSON_ENV_VAR"


def main(folder: Path, sha256: str) -> int:
    """Run the attempt of a job directory, at most once ever; return the program's exit code."""
    signals.hold()
    processes.adopt_orphans()
    try:
        if not attempt.claim(folder):
            sys.stderr.write(f"{folder.name} was claimed before; nothing is run\n")
            return _TAKEN
    except OSError as error:
        sys.stderr.write(f"{folder.name} cannot be claimed: {error.strerror}; nothing is run\n")
        return _NO_CLAIM
    file = ResultFile(folder)
    try:
        task = attempt.read_task(folder, sha256)
    except NotDone as failure:
        file.write(folder.name, _not_started(failure.message))
        return _BAD_CONFIG
    except OSError as error:
        file.write(folder.name, _failed_start(error))
        return _BAD_CONFIG
    pulse = Pulse(folder, task)
    if pulse.look():
        result = _not_started("a newer head of its cluster is in force", FENCED)
    else:
        result = Run(folder, task, pulse).run()
    file.write(task.submission_id, result)
    sessions.forget(task.submission_id)
    return result.shell_code


class Run:
    """One program and everything it starts."""

    def __init__(self, folder: Path, task: Task, pulse: Pulse) -> None:
        self._folder = folder
        self._task = task
        self._pulse = pulse
        self._began = moments.ticks()
        self._started_at = moments.now()
        self._ended: dict[int, int] = {}
        self._child = 0
        self._reason = EXITED
        self._told_by_ray = False

    def run(self) -> Result:
        """Run the program to its end, or to the end of its bounds."""
        try:
            if self._task.checkpoints is not None:
                attempt.link_checkpoints(self._folder, self._task.checkpoints)
            child = self._spawn()
        except OSError as error:
            return _failed_start(error)
        except subprocess.SubprocessError:
            return _not_started("its session could not be written down in the folder of its slot", HINDERED)
        assert child.stdout is not None, "the child writes into a pipe"
        self._child = child.pid
        tee = Tee(child.stdout.fileno(), self._folder / "logs" / "driver.log")
        tee.start()
        self._pulse.start(tee)
        while self._child not in self._ended and self._reason == EXITED:
            self._wait(_POLL_SECONDS)
        if self._child not in self._ended:
            self._stop()
        self._end_rest(_LEFTOVER_GRACE_SECONDS if self._reason == EXITED else 0.0)
        self._ended.update(processes.reap())
        self._pulse.stop()
        tee.finish()
        return self._result(self._ended.get(self._child), tee.trouble)

    def _spawn(self) -> subprocess.Popen[bytes]:
        environment = {**os.environ, **self._task.env, attempt.MARK: str(self._folder)}
        return subprocess.Popen(
            self._task.argv,
            cwd=self._task.working_dir,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            start_new_session=True,
            preexec_fn=partial(_become_child, os.getpid(), self._task.submission_id),  # noqa: PLW1509 - no thread exists yet, which is what makes this safe
        )

    def _wait(self, seconds: float) -> None:
        """Wait for the next event and note why the program must end, if it must."""
        arrival = signals.wait(seconds)
        self._ended.update(processes.reap())
        if self._reason != EXITED:
            return
        limit = self._task.limit_seconds
        if arrival is not None and arrival.number in signals.STOP:
            self._reason = STOPPED
            self._told_by_ray = _RAY_SUPERVISED in os.environ and arrival.sender == os.getppid()
        elif self._ended.get(self._child) == 0:
            return  # a program that has done all of it by itself was ended by nothing that is noticed only now
        elif self._pulse.fenced.is_set():
            self._reason = FENCED
        elif limit is not None and moments.ticks() - self._began > limit:
            self._reason = TIMED_OUT

    def _stop(self) -> None:
        """Ask the program to end, wait its grace, kill what is left."""
        if not self._told_by_ray:
            for process in self._below():
                processes.send(process, signal.SIGTERM)
        deadline = moments.ticks() + self._task.grace_seconds
        while self._child not in self._ended and moments.ticks() < deadline:
            self._wait(min(_POLL_SECONDS, deadline - moments.ticks()))

    def _end_rest(self, grace: float) -> None:
        """End all that is left, however long it takes: a result would give its nodes to the next attempt."""
        if processes.end(self._below, grace, limit=_KILL_SECONDS):
            return
        with suppress(OSError):
            sys.stderr.write(f"{self._task.submission_id} leaves processes that resist SIGKILL; waiting for them\n")
        while not processes.end(self._below, 0.0, limit=_AGAIN_SECONDS):
            signals.wait(_POLL_SECONDS)

    def _below(self) -> list[Process]:
        self._ended.update(processes.reap())
        rows = processes.table()
        return processes.descendants([os.getpid()], rows)

    def _result(self, code: int | None, trouble: str) -> Result:
        killed = code is not None and code < 0
        # A newer head explains why a program failed by itself; what has succeeded must never be run again.
        failed_under_it = self._reason == EXITED and code != 0 and self._pulse.fenced.is_set()
        return Result(
            outcome=FENCED if failed_under_it else self._reason,
            exit_code=None if killed else code,
            signal=-code if killed and code is not None else None,
            started_at=self._started_at,
            seconds=moments.ticks() - self._began,
            message=trouble,
        )


def _become_child(runner: int, submission: str) -> None:
    signals.release()
    # Ray may kill the runner at any moment; its program must not go on without the one who watches it.
    processes.die_with_parent()
    if os.getppid() != runner:
        os._exit(1)  # it ended before the kernel was asked
    # Before it is another program: what that starts may hide its mark at once.
    sessions.note(submission)


def _failed_start(error: OSError) -> Result:
    outcome = NOT_STARTED if error.errno in _OF_THE_JOB else HINDERED
    return _not_started(f"{error.filename or 'the program'}: {error.strerror}", outcome)


def _not_started(message: str, outcome: str = NOT_STARTED) -> Result:
    return Result(outcome, _CANNOT_RUN, None, moments.now(), 0.0, message)
