"""Copies a program's output to its log and to Ray. The program never waits for a full disk or a deaf reader."""

from __future__ import annotations

import os
import select
import sys
import threading
from pathlib import Path

from reconciler.node.attempt import READABLE

_CHUNK = 1 << 16
# A pipe that is reported writable takes this much without blocking (pipe(7), PIPE_BUF).
_PIPE_CHUNK = 4096
_FINISH_SECONDS = 5.0


class Tee:
    """One thread that reads until the last writer has closed; `trouble` says what was lost."""

    def __init__(self, source: int, log: Path) -> None:
        self._source = source
        self._path = log
        self._log: int | None = None
        self._copy: int | None = sys.stdout.fileno()
        self._thread = threading.Thread(target=self._run, name="tee", daemon=True)
        self.trouble = ""
        self.written = 0

    def start(self) -> None:
        """Begin to copy."""
        self._thread.start()

    def finish(self) -> None:
        """Wait until all output is copied, but not for a writer that does not end."""
        self._thread.join(_FINISH_SECONDS)

    def _run(self) -> None:
        self._open()
        while chunk := os.read(self._source, _CHUNK):
            self._to_log(chunk)
            self._to_copy(chunk)

    def _open(self) -> None:
        try:
            self._path.parent.mkdir(exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
            self._log = os.open(self._path, flags, READABLE)
            os.fchmod(self._log, READABLE)
        except OSError as error:
            self._complain(error)

    def _to_log(self, chunk: bytes) -> None:
        left = memoryview(chunk)
        try:
            while left and self._log is not None:
                count = os.write(self._log, left)
                self.written += count
                left = left[count:]
        except OSError as error:
            # The disk may get room again: this chunk is lost, the next one is tried.
            self._complain(error)

    def _to_copy(self, chunk: bytes) -> None:
        """Give Ray what it takes at once; the log has everything."""
        try:
            for start in range(0, len(chunk), _PIPE_CHUNK):
                if self._copy is None or not select.select([], [self._copy], [], 0)[1]:
                    return
                os.write(self._copy, chunk[start : start + _PIPE_CHUNK])
        except OSError:
            self._copy = None  # the reader is gone

    def _complain(self, error: OSError) -> None:
        self.trouble = self.trouble or f"output was lost: {error.strerror}"
