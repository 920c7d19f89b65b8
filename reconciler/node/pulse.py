"""The runner's pulse: a heartbeat for the daemon, and a look at which head is in force."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path

from reconciler.node import files, moments
from reconciler.node.attempt import READABLE, Task
from reconciler.node.failure import NotDone
from reconciler.node.headfile import read_head
from reconciler.node.machine import host_name
from reconciler.node.tee import Tee

BEAT_SECONDS = 10.0


class Pulse:
    """A thread of its own: a shared directory that hangs must not keep the runner from stopping its program."""

    def __init__(self, folder: Path, task: Task) -> None:
        self._path = folder / "heartbeat.json"
        self._task = task
        self._end = threading.Event()
        self._stamp: tuple[int, int, int] | None = None
        self.fenced = threading.Event()

    def start(self, tee: Tee) -> None:
        """Begin to beat."""
        threading.Thread(target=self._run, args=(tee,), name="pulse", daemon=True).start()

    def stop(self) -> None:
        """Beat no more."""
        self._end.set()

    def look(self) -> bool:
        """Say whether a verified head file shows a later epoch than the attempt's own."""
        task = self._task
        with suppress(NotDone, OSError):  # what cannot be verified never ends a job
            status = task.head_file.lstat()
            stamp = (status.st_ino, status.st_size, status.st_mtime_ns)
            if stamp != self._stamp:
                head = read_head(task.head_file, task.allowed_signers, task.signer, task.cluster, task.epoch)
                # Only now: what was refused is looked at again, since a lack of memory may have been the cause.
                self._stamp = stamp
                if head is not None and head.epoch > task.epoch:
                    self.fenced.set()
        return self.fenced.is_set()

    def _run(self, tee: Tee) -> None:
        while True:
            with suppress(OSError):  # a full disk or an absent share: the next beat tries again
                files.write_json(self._path, self._beat(tee), READABLE)
            if self._end.wait(BEAT_SECONDS):
                return
            self.look()

    def _beat(self, tee: Tee) -> dict[str, object]:
        return {
            "submissionId": self._task.submission_id,
            "hostName": host_name(),
            "pid": os.getpid(),
            "at": moments.now(),
            "ticks": round(moments.ticks(), 1),
            "logBytes": tee.written,
        }
