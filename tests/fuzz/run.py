"""Run targets, each in a process of its own: what kills or hangs it is a find like any other."""

import base64
import logging
import mmap
import multiprocessing
import resource
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from multiprocessing.connection import Connection, wait
from random import Random
from struct import Struct
from typing import Any

from tests.fuzz.engine import Check, Find, Fuzzed, Steps, fuzz, smaller
from tests.fuzz.target import CASES, Target

# Far more than any input needs; what wants more is ended by the kernel, and not the machine with it.
MEMORY = 4 << 30
# How long one input may take before it counts as hung, on a machine that does much else.
PATIENCE = 120.0
ROOM = 1 << 20
_NOTE = Struct("<QI")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one target."""

    target: Target
    fuzzed: Fuzzed

    def __str__(self) -> str:
        done = self.fuzzed
        counted = f"{done.tried} inputs, {len(done.corpus)} of them led further, {done.steps} steps"
        if done.find is None:
            return f"{self.target.name}: {counted}"
        return f"{self.target.name}: {counted}\n{told(self.target, done.find)}"


def told(target: Target, find: Find) -> str:
    """Return a find as people need it: what broke, the bytes, and how to keep them."""
    kept = f"{CASES.relative_to(CASES.parents[2])}/{target.name}/NAME"
    text = base64.b64encode(find.data).decode()
    return (
        f"  broken: {target.promise}\n"
        f"  how: {find.what}\n"
        f"  by these {len(find.data)} bytes: {find.data!r}\n"
        f"  keep them as a case: printf %s '{text}' | base64 -d > {kept}"
    )


def run(targets: Sequence[Target], seconds: float, seed: int, jobs: int) -> Iterator[Outcome]:
    """Fuzz targets, some at once, each for so many seconds; give what became of each."""
    waiting, running = list(targets), list[_Run]()
    while waiting or running:
        while waiting and len(running) < jobs:
            running.append(_Run(waiting.pop(0), seconds, seed))
        wait([each.process.sentinel for each in running] + [each.told for each in running], timeout=1.0)
        for each in list(running):
            if (fuzzed := each.result()) is not None:
                running.remove(each)
                yield Outcome(each.target, fuzzed)


def keep(outcomes: Sequence[Outcome], jobs: int) -> None:
    """Keep what led further: of all inputs as few as take all their steps, short ones first."""
    found = {each.target.name: each for each in outcomes}
    again = [_with_seeds(each.target, each.fuzzed.corpus) for each in outcomes]
    for outcome in run(again, 0.0, 0, jobs):
        assert outcome.fuzzed.find is None, f"what held before breaks now:\n{outcome}"
        found[outcome.target.name].target.keep(outcome.fuzzed.corpus)


def _with_seeds(target: Target, corpus: Sequence[bytes]) -> Target:
    given = target.given()
    return replace(target, seeds=lambda: [*given, *sorted(corpus, key=lambda data: (len(data), data))])


class _Run:
    """One target in its process."""

    def __init__(self, target: Target, seconds: float, seed: int) -> None:
        fork = multiprocessing.get_context("fork")
        self.target = target
        self._last = mmap.mmap(-1, ROOM)
        self._number, self._since = 0, time.monotonic()
        self.told, tell = fork.Pipe(duplex=False)
        self.process = fork.Process(target=_child, args=(target, seconds, seed, self._last, tell))
        self.process.start()
        tell.close()

    def result(self) -> Fuzzed | None:
        """Return what the process found, or what it was doing when it died or hung; None while it works."""
        if self.told.poll():
            try:
                found: Fuzzed | None = self.told.recv()
            except EOFError:
                found = None
            self.process.join()
            return found or self._died(f"the process ends with {self.process.exitcode}")
        if not self.process.is_alive():
            return self._died(f"the process ends with {self.process.exitcode}")
        number, _, _ = self._note()
        if number != self._number:
            self._number, self._since = number, time.monotonic()
        elif time.monotonic() > self._since + PATIENCE:
            self.process.kill()
            self.process.join()
            return self._died("it does not come to an end")
        return None

    def _died(self, how: str) -> Fuzzed:
        _, length, data = self._note()
        return Fuzzed(find=Find(data[:length], how, "died"))

    def _note(self) -> tuple[int, int, bytes]:
        """Return which input was begun last: its number, its length, and the room that it stands in."""
        return (*_NOTE.unpack_from(self._last), self._last[_NOTE.size :])


def _child(target: Target, seconds: float, seed: int, last: mmap.mmap, tell: "Connection[Any, Any]") -> None:
    logging.disable(logging.CRITICAL)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with target.around():
        ends = time.monotonic() + seconds
        check = _noting(target.check, last)
        chance, steps = Random(f"{seed} {target.name}"), Steps(target.watched)
        done = fuzz(check, [*target.given(), *target.grown()], chance, lambda _: time.monotonic() > ends, steps)
        if done.find is not None:
            done.find = smaller(check, done.find)
        tell.send(done)


def _noting(check: Check, last: mmap.mmap) -> Check:
    """Write an input down, where it outlives this process, before it is tried."""

    numbers = count(1)

    def noted(data: bytes) -> None:
        note = _NOTE.pack(next(numbers), len(data)) + data
        last[: len(note)] = note
        check(data)

    return noted
