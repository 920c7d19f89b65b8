"""The fuzzer finds what blind chance does not, and tells it by a short input."""

import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from tests.fuzz import engine
from tests.fuzz.bugs import BUGS, Bug, planted
from tests.fuzz.engine import Fuzzed, Steps, fuzz, smaller
from tests.fuzz.mutate import LONGEST, Mutator
from tests.fuzz.targets import ALL

ROOT = Path(__file__).parents[2]


def a_door(data: bytes) -> None:
    """Break behind three letters, each of which opens the next door only."""
    if data[:1] != b"x":
        return
    if data[1:2] != b"y":
        return
    if data[2:3] == b"z":
        raise ValueError("open")


def opened(watched: tuple[str, ...], seed: int = 0, most: int = 40_000) -> Fuzzed:
    return fuzz(a_door, [b"a"], Random(seed), lambda tried: tried > most, Steps(watched))


def test_new_steps_lead_on() -> None:
    found = opened((__file__,)).find
    assert found is not None
    assert found.data[:3] == b"xyz"
    assert found.what.startswith("ValueError")
    assert smaller(a_door, found).data == b"xyz"


def test_without_them_chance_does_not_get_there() -> None:
    assert opened(()).find is None


def test_the_same_seed_does_the_same() -> None:
    assert opened((__file__,), 1, 2000) == opened((__file__,), 1, 2000)
    assert opened((__file__,), 1, 2000) != opened((__file__,), 2, 2000)


def test_an_input_that_takes_too_long_is_a_find(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "MOST_SECONDS", 0.05)

    def slow(data: bytes) -> None:
        for _ in range(5_000_000 if b"z" in data else 1):
            pass

    found = fuzz(slow, [b"a", b"wxyz"], Random(1), lambda _: True, Steps(())).find
    assert found is not None
    assert (found.data, found.mark) == (b"wxyz", "slow")
    assert smaller(slow, found).data == b"z"


def test_inputs_stay_short_and_differ() -> None:
    seeds = [b'{"a": [1, {"b": "c"}], "d": null}', b"x: 1\ny: 2\n", b"", b"\xff" * 500]
    mutator = Mutator(Random(1), seeds)
    made = {mutator.change(seeds[n % 4], seeds) for n in range(1000)}
    assert len(made) > 800
    assert max(map(len, made)) <= LONGEST


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_is_found(bug: Bug) -> None:
    target = ALL[bug.target]
    with target.around(), planted(bug):
        done = fuzz(target.check, target.given(), Random(1), lambda tried: tried > 4000, Steps(target.watched))
    found = done.find
    assert found is not None
    assert found.what.startswith(bug.says)


def test_every_target_has_a_planted_bug() -> None:
    assert {bug.target for bug in BUGS} == set(ALL)


DEADLY = """
import os, sys
from tests.fuzz import run
from tests.fuzz.target import Target
def dies(data):
    if data == b"x": os._exit(7)
def hangs(data):
    while data == b"x": pass
def swells(data):
    if data == b"x": globals()["kept"] = b"x" * (300 << 20)
def tell(*checks):
    targets = [Target(each.__name__, "a toy", each, lambda: [b"a", b"x"]) for each in checks]
    for outcome in run.run(targets, 0.0, 1, 3):
        print(outcome.target.name, outcome.fuzzed.find.data, outcome.fuzzed.find.what)
tell(dies, swells)
run.PATIENCE = 10.0  # short, as one waits for it, and long enough to come to the input on a busy machine
tell(hangs)
"""


def test_what_kills_or_hangs_or_swells_its_process_is_a_find() -> None:
    done = subprocess.run([sys.executable, "-c", DEADLY], cwd=ROOT, capture_output=True, text=True, check=False)
    told = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert done.returncode == 0, done.stderr
    assert told["dies"] == "b'x' the process ends with 7"
    assert told["hangs"] == "b'x' it does not come to an end"
    assert told["swells"].startswith("b'x' it takes 3")
