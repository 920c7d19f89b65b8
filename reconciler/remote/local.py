"""The gate of this very machine as a child process, for one machine without sshd."""

import os
import selectors
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta

from reconciler.clock import Clock
from reconciler.model.json import JsonObject
from reconciler.model.machine import Machine
from reconciler.model.outcome import FailureKind, NotDone, Outcome, Unknown
from reconciler.remote.answer import DOCUMENT_LIMIT, Conversation
from reconciler.remote.budget import Budget
from reconciler.remote.command import GateCommand

# What a gate over ssh would find; nothing of the daemon's own environment reaches Ray.
BARE_ENV = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
# A killed process that waits for a dead file server does not end; nobody waits for it longer than this.
END_LIMIT_SECONDS = 2.0
STDERR_KEPT = 4096
_READ = 65536


class LocalGate:
    """Implements `Gate` for this machine, whatever name it is called by."""

    def __init__(self, command: GateCommand, clock: Clock, env: Mapping[str, str] = BARE_ENV) -> None:
        self._argv = command.argv()
        self._clock = clock
        self._env = dict(env)

    def call(self, machine: Machine, request: JsonObject, timeout: timedelta) -> Outcome:
        """Run the gate on the request; at the deadline its whole process group is killed."""
        talk = Conversation.of(machine, request)
        if isinstance(talk, NotDone):
            return talk
        budget = Budget.starting_now(self._clock, timeout)
        try:
            child = subprocess.Popen(
                self._argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                env=self._env,
                cwd="/",
            )
        except (FileNotFoundError, PermissionError):
            return NotDone(FailureKind.REFUSED, f"{self._argv[0]} cannot be run here; set the daemon's python")
        except OSError as error:
            return NotDone(FailureKind.TRANSIENT, f"no child process could be started: {error.strerror}")
        return _Exchange(child, talk).run(budget)

    def close(self) -> None:
        """Do nothing: no child outlives its call."""


class _Exchange:
    """One request to one child: writes, reads and waits at once, so that neither side can block the other."""

    def __init__(self, child: "subprocess.Popen[bytes]", talk: Conversation) -> None:
        assert child.stdin
        assert child.stdout
        assert child.stderr
        self._child = child
        self._talk = talk
        self._stdin, self._stdout, self._stderr = child.stdin, child.stdout, child.stderr
        self._to_send = memoryview(talk.document)
        self._answer = bytearray()
        self._complaint = bytearray()

    def run(self, budget: Budget) -> Outcome:
        """Return what the child answered; it is gone afterwards."""
        try:
            in_time = self._serve(budget)
            status = self._end()
        finally:
            for pipe in (self._stdin, self._stdout, self._stderr):
                pipe.close()
        flooded = len(self._answer) > DOCUMENT_LIMIT
        if status is None or not (in_time or flooded):
            return Unknown(f"{self._talk.where}: no answer within the time limit")
        return self._talk.outcome(bytes(self._answer), status, bytes(self._complaint))

    def _end(self) -> int | None:
        """Kill the child's group unless it ended by itself; None when even that does not end it (a dead disk)."""
        if self._child.poll() is None:
            # The child is not reaped yet, so its group's number is still its own.
            os.killpg(self._child.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            return self._child.wait(timeout=END_LIMIT_SECONDS)
        return None

    def _serve(self, budget: Budget) -> bool:
        """Move bytes until the child has ended; False when time or the answer's limit ran out first."""
        with selectors.DefaultSelector() as waiting, _ending(self._child.pid) as ended:
            for pipe in (self._stdin, self._stdout, self._stderr):
                os.set_blocking(pipe.fileno(), False)
            waiting.register(self._stdin, selectors.EVENT_WRITE, self._write)
            waiting.register(self._stdout, selectors.EVENT_READ, self._read)
            waiting.register(self._stderr, selectors.EVENT_READ, self._listen)
            waiting.register(ended, selectors.EVENT_READ, None)
            while left := budget.left():
                for key, _ in waiting.select(left):
                    if key.data is None:
                        # What it started may hold the pipes open for ever; what it wrote itself is in them by now.
                        _repeat(self._read)
                        _repeat(self._listen)
                        return len(self._answer) <= DOCUMENT_LIMIT
                    if not key.data():
                        waiting.unregister(key.fileobj)
                if len(self._answer) > DOCUMENT_LIMIT:
                    return False
        return False

    def _write(self) -> bool:
        with suppress(BrokenPipeError):  # it may answer, or end, without reading everything
            self._to_send = self._to_send[os.write(self._stdin.fileno(), self._to_send) :]
            if self._to_send:
                return True
        self._stdin.close()
        return False

    def _read(self) -> bool:
        piece = os.read(self._stdout.fileno(), _READ)
        self._answer += piece
        return bool(piece) and len(self._answer) <= DOCUMENT_LIMIT

    def _listen(self) -> bool:
        piece = os.read(self._stderr.fileno(), _READ)
        self._complaint = (self._complaint + piece)[-STDERR_KEPT:]
        return bool(piece)


@contextmanager
def _ending(pid: int) -> Iterator[int]:
    """Give a descriptor that can be read once the process has ended."""
    ended = os.pidfd_open(pid)
    try:
        yield ended
    finally:
        os.close(ended)


def _repeat(step: Callable[[], bool]) -> None:
    with suppress(BlockingIOError):
        while step():
            pass
