"""The daemon's side of `gcs_child.py`: one child per cluster, asked within a budget, ended when it hangs."""

import os
import select
import subprocess
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, TypeAlias

import orjson

from reconciler.clock import Clock
from reconciler.model.ray import HeadAddress
from reconciler.remote.answer import one_line
from reconciler.remote.budget import Budget

PROGRAM = Path(__file__).with_name("gcs_child.py")
# Importing Ray takes 0.4 s on a quiet machine and was seen to take 2 s on a busy one.
START_SECONDS = 30.0
# A child holds about 60 MB; the one that was not asked for the longest time goes first.
CHILDREN = 32
# 1,000 nodes are 0.5 MB and 10,000 jobs 3 MB, unless each carries the longest message.
ANSWER_LIMIT = 64 << 20
# What the child leaves us of the budget, so that it can still say that the GCS was silent.
MARGIN_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Told:
    """What the GCS said."""

    result: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Failed:
    """The GCS was not asked (`sent` is false) or nobody can say what became of it; `code` as gRPC names it."""

    code: str
    message: str
    sent: bool = True

    @property
    def ours(self) -> bool:
        """Whether our own child let us down: that says nothing about the GCS, which a child never waits for."""
        return self.code in {"CLOSED", "CHILD", "STARTING", "SILENT"}


GcsReply: TypeAlias = Told | Failed


class GcsChildren:
    """Asks the GCS of each cluster through a child of the interpreter that has the cluster's Ray version."""

    def __init__(self, clock: Clock, pythons: Callable[[str], str]) -> None:
        self._clock = clock
        self._pythons = pythons
        self._lock = Lock()
        self._seats: OrderedDict[str, _Seat] = OrderedDict()
        self._closed = False

    def ask(self, head: HeadAddress, token: str, request: Mapping[str, Any], budget: Budget) -> GcsReply:
        """Ask one question within the budget, whatever the GCS or the child does."""
        seat = self._seat(head.cluster)
        if seat is None:
            return Failed("CLOSED", "the Ray door is closed", sent=False)
        if not seat.lock.acquire(timeout=budget.left()):
            return Failed("BUSY", "another call to this cluster still waits for its GCS", sent=False)
        try:
            return self._ask(seat, head, {**request, "token": token}, budget)
        finally:
            seat.lock.release()

    def close(self) -> None:
        """End all children."""
        with self._lock:
            self._closed = True
            seats = list(self._seats.values())
            self._seats.clear()
        for seat in seats:
            seat.retire()

    def _seat(self, cluster: str) -> "_Seat | None":
        with self._lock:
            if self._closed:
                return None
            seat = self._seats.pop(cluster, None) or _Seat()
            self._seats[cluster] = seat
            longest_unused = self._seats.popitem(last=False)[1] if len(self._seats) > CHILDREN else None
        if longest_unused is not None:
            longest_unused.retire()
        return seat

    def _ask(self, seat: "_Seat", head: HeadAddress, request: Mapping[str, Any], budget: Budget) -> GcsReply:
        try:
            child = seat.child_of(self._pythons(head.cluster), self._clock)
        except (OSError, ValueError, LookupError) as error:
            return Failed(
                "CHILD", f"no interpreter for this cluster's Ray could be run ({type(error).__name__})", sent=False
            )
        if not child.is_ready(budget):
            if child.ended or child.age() > START_SECONDS:
                seat.end()
                return Failed(
                    "CHILD", "the GCS client did not start; has its interpreter Ray with grpcio?", sent=False
                )
            return Failed("STARTING", "the GCS client is still starting", sent=False)
        seconds = budget.left() - MARGIN_SECONDS
        if seconds <= 0:
            return Failed("LATE", "no time was left to ask the GCS", sent=False)
        question = {**request, "address": f"{_bracketed(head.host)}:{head.gcs_port}", "seconds": seconds}
        line = child.exchange(orjson.dumps(question), budget)
        if line is None:
            seat.end()
            return Failed("SILENT", "the GCS client gave no answer in time")
        return _reply(line)


def _reply(line: bytes) -> GcsReply:
    try:
        document = orjson.loads(line)
    except orjson.JSONDecodeError:
        document = None
    match document:
        case {"ok": dict() as result}:
            return Told(result)
        case {"failed": str() as code, "message": str() as message}:
            # gRPC's words for a call that never left: fail-fast on a channel that could not connect.
            never_left = code == "UNAVAILABLE" and "failed to connect to all addresses" in message
            return Failed(one_line(code, 40), one_line(message, 300), sent=not never_left)
        case _:
            return Failed("FORM", "the GCS client gave an answer of unknown form")


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


@dataclass(slots=True)
class _Seat:
    """The place of one cluster's child; calls take turns on it."""

    lock: Lock = field(default_factory=Lock)
    child: "_Child | None" = None

    def child_of(self, python: str, clock: Clock) -> "_Child":
        if self.child is not None and (self.child.ended or self.child.python != python):
            self.end()
        if self.child is None:
            self.child = _Child(python, clock)
        return self.child

    def retire(self) -> None:
        """End the child although a call may be waiting for it: the kill wakes the call, which then gives way."""
        child = self.child
        if child is not None:
            child.kill()
        with self.lock:
            self.end()

    def end(self) -> None:
        child, self.child = self.child, None
        if child is not None:
            child.end()


class _Child:
    """One process; lines go in and come out, and every wait has an end."""

    def __init__(self, python: str, clock: Clock) -> None:
        self.python = python
        self._clock = clock
        self._started = clock.now().ticks
        self._ready = False
        self._received = bytearray()
        # Nothing of our environment: RAY_ADDRESS and its kin would redirect it, and it needs nothing.
        self._process = subprocess.Popen(
            [python, "-I", str(PROGRAM)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"GRPC_VERBOSITY": "NONE", "RAY_AUTH_MODE": "disabled"},
            cwd="/",
            start_new_session=True,
            bufsize=0,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._into = self._process.stdin.fileno()
        self._out_of = self._process.stdout.fileno()
        os.set_blocking(self._into, False)
        os.set_blocking(self._out_of, False)

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def age(self) -> float:
        return self._clock.now().ticks - self._started

    def is_ready(self, budget: Budget) -> bool:
        """Wait for the first line, which says that all imports are done."""
        if not self._ready:
            self._ready = self._receive(budget) is not None
        return self._ready

    def exchange(self, line: bytes, budget: Budget) -> bytes | None:
        """Send a line and return the answer; None when the child is no longer of use."""
        return self._receive(budget) if self._send(line + b"\n", budget) else None

    def end(self) -> None:
        """Kill the process and wait until it is gone; it holds nothing that could be lost."""
        self.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        with suppress(subprocess.TimeoutExpired):  # in uninterruptible sleep: subprocess reaps it later
            self._process.wait(timeout=1)

    def kill(self) -> None:
        """Kill the process; whoever waits for its answer wakes up."""
        self._process.kill()

    def _send(self, line: bytes, budget: Budget) -> bool:
        unsent = memoryview(line)
        while unsent:
            if not _wait_for(self._into, select.POLLOUT, budget):
                return False
            try:
                unsent = unsent[os.write(self._into, unsent) :]
            except OSError:
                return False
        return True

    def _receive(self, budget: Budget) -> bytes | None:
        while (end := self._received.find(b"\n")) < 0:
            if len(self._received) > ANSWER_LIMIT or not _wait_for(self._out_of, select.POLLIN, budget):
                return None
            piece = os.read(self._out_of, 1 << 20)
            if not piece:
                return None
            self._received += piece
        line = bytes(self._received[:end])
        del self._received[: end + 1]
        return line


def _wait_for(descriptor: int, event: int, budget: Budget) -> bool:
    waiting = select.poll()
    waiting.register(descriptor, event)
    return bool(waiting.poll(budget.left() * 1000))
