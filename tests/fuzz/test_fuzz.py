"""Foreign bytes are read or refused: kept cases first, then whatever the fuzzer thinks of in half a minute.

A find is printed with the seed, the bytes and how to keep them. Longer: `python -m tests.fuzz --seconds 600`.
"""

import re
import subprocess
import sys
from pathlib import Path

from reconciler.desired.parse import parse
from reconciler.model.desired import Loaded
from tests.fuzz.target import CASES
from tests.fuzz.targets import ALL

ROOT = Path(__file__).parents[2]
# For each of twelve targets, two at a time: a minute of fuzzing in half a minute.
SECONDS = 5.0
# The same inputs each time, as far as the time goes: a change must not fail for what it did not bring. By hand
# every run has a seed of its own.
SEED = 20


def test_no_foreign_bytes_break_a_promise() -> None:
    command = [sys.executable, "-m", "tests.fuzz", "--seconds", str(SECONDS), "--seed", str(SEED), "--jobs", "2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    tried = dict(re.findall(r"^(\w+): (\d+) inputs", done.stdout, re.MULTILINE))
    assert set(tried) == set(ALL)
    assert all(int(number) >= len(ALL[name].given()) for name, number in tried.items()), done.stdout


def test_every_kept_case_belongs_to_a_target() -> None:
    assert {folder.name for folder in CASES.iterdir()} <= set(ALL)
    assert sum(len(target.cases) for target in ALL.values()) == sum(path.is_file() for path in CASES.rglob("*"))


def test_the_seeds_in_full_are_good_documents() -> None:
    paths = sorted(CASES.glob("documents/*-in-full.yaml"))
    assert len(paths) == 4
    for path in paths:
        assert isinstance(parse(path.name, path.read_bytes()), Loaded), path.name
