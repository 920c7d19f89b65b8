"""A small coverage-guided fuzzer: what takes new steps through our code is kept and changed further.

Steps are pairs of lines that run one after the other, with how often, by `sys.settrace`: no package, any Python.
"""

import resource
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import CodeType, FrameType
from typing import Any

from tests.fuzz.mutate import Mutator

CODE = str(Path(__file__).parents[2] / "reconciler")
# Inputs have a few KiB and are read in milliseconds; with tracing that takes about five times as long.
MOST_SECONDS = 2.0
MOST_MEMORY = 128 << 20

Check = Callable[[bytes], object]


class Broken(Exception):
    """A promise that is not kept."""


@dataclass(frozen=True, slots=True)
class Find:
    """An input that breaks a promise, how, and where: two finds with one `mark` are the same."""

    data: bytes
    what: str
    mark: str


@dataclass(slots=True)
class Fuzzed:
    """What a run did: inputs tried, inputs that took new steps, steps seen, and the first find if any."""

    tried: int = 0
    corpus: list[bytes] = field(default_factory=list)
    steps: int = 0
    find: Find | None = None


class Steps:
    """Notes which steps code takes while it runs: the files whose names begin with one of `watched`."""

    def __init__(self, watched: tuple[str, ...]) -> None:
        self._watched = watched
        self._bases: dict[CodeType, int] = {}
        self._tracers: dict[CodeType, Any] = {}
        self._taken: dict[int, int] = {}
        self._seen: set[int] = set()

    def __len__(self) -> int:
        return len(self._seen)

    def run(self, check: Check, data: bytes) -> bool:
        """Check an input; say whether it took steps that no input took before. Raises what the check raises."""
        self._taken.clear()
        before = sys.gettrace()
        sys.settrace(self._call)
        try:
            check(data)
        finally:
            sys.settrace(before)
        # Once, twice, 4, 8, … times: a loop that turns once more is nothing new.
        taken = {step << 6 | count.bit_length() for step, count in self._taken.items()}
        is_new = not taken <= self._seen
        self._seen |= taken
        return is_new

    def _call(self, frame: FrameType, event: str, arg: object) -> Any:
        code = frame.f_code
        if code not in self._tracers:
            self._tracers[code] = self._tracer(code) if code.co_filename.startswith(self._watched) else None
        return self._tracers[code]

    def _tracer(self, code: CodeType) -> Any:
        # Lines of all functions count on from each other, so that every step is one small number.
        base = sum(1 + len(list(each.co_lines())) for each in self._bases)
        self._bases[code] = base
        numbers = {line: base + n for n, (_, _, line) in enumerate(code.co_lines()) if line is not None}
        taken, last = self._taken, base

        def step(frame: FrameType, event: str, arg: object) -> Any:
            nonlocal last
            if event == "line":
                here = numbers.get(frame.f_lineno, base)
                pair = last << 24 | here
                taken[pair] = taken.get(pair, 0) + 1
                last = here
            return step

        return step


def tried(check: Check, data: bytes) -> Find | None:
    """Check one input as it is; return how it breaks its promise, if it does."""
    began = time.process_time()
    try:
        check(data)
    except Exception as error:  # noqa: BLE001 - anything that comes out is a find
        return _find(data, error)
    if (seconds := time.process_time() - began) > MOST_SECONDS:
        return Find(data, f"it takes {seconds:.1f} s", "slow")
    return None


def fuzz(
    check: Check, seeds: Sequence[bytes], chance: Random, until: Callable[[int], bool], steps: Steps
) -> Fuzzed:
    """Replay the seeds, then try changed inputs until a find or `until`, which is told how many were tried."""
    done = Fuzzed()
    mutator = Mutator(chance, seeds)
    waiting = list(reversed(seeds))
    while waiting or not until(done.tried):
        data = waiting.pop() if waiting else mutator.change(_one_of(done.corpus, chance), done.corpus)
        done.tried += 1
        is_new, done.find = _looked_at(steps, check, data)
        if done.find is not None:
            break
        if is_new or not done.corpus:
            done.corpus.append(data)
    done.steps = len(steps)
    return done


def _looked_at(steps: Steps, check: Check, data: bytes) -> tuple[bool, Find | None]:
    """Say whether an input takes new steps, and whether it breaks its promise also when nobody counts them."""
    memory, began = _peak(), time.process_time()
    try:
        is_new = steps.run(check, data)
    except Exception:  # noqa: BLE001 - whatever it is, it is raised again and told there
        return False, tried(check, data)
    if (grown := _peak() - memory) > MOST_MEMORY:
        return False, Find(data, f"it takes {grown >> 20} MiB", "large")
    if time.process_time() - began > MOST_SECONDS:
        return is_new, tried(check, data)
    return is_new, None


def smaller(check: Check, find: Find) -> Find:
    """Leave out parts of an input as long as it breaks the same promise: halves first, then single bytes."""
    if tried(check, find.data) is None:
        return find  # memory is taken once, and what died took its process along
    size = max(1, len(find.data) // 2)
    ends = time.process_time() + 10 * MOST_SECONDS
    while size and time.process_time() < ends:
        at, shrunk = 0, False
        while at < len(find.data):
            again = tried(check, find.data[:at] + find.data[at + size :])
            if again is not None and again.mark == find.mark:
                find, shrunk = again, True
            else:
                at += size
        size = size if shrunk and size == 1 else size // 2
    return find


def _one_of(corpus: Sequence[bytes], chance: Random) -> bytes:
    # What took new steps lately is half as likely to have been looked at enough.
    return chance.choice(corpus[-32:] if chance.random() < 0.5 else corpus)


def _find(data: bytes, error: Exception) -> Find:
    if isinstance(error, Broken):
        return Find(data, str(error), str(error).partition(":")[0])
    frames = [each for each in traceback.extract_tb(error.__traceback__) if each.filename.startswith(CODE)]
    place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "outside our code"
    return Find(data, f"{type(error).__name__} at {place}: {error}", f"{type(error).__name__} {place}")


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
