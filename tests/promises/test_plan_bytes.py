"""Promise: the same world gives the same bytes, whatever the order of its parts and of Python's hashes."""

import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model.world import World
from tests.kinds.shorthand import cases_in, world_of
from tests.promises.plans import planned, settled, written
from tests.promises.worlds import shuffled, worlds

ROOT = Path(__file__).parents[2]


@settings(max_examples=60, deadline=None)
@given(worlds(), st.integers(0, 2**16))
def test_the_order_in_which_things_are_found_changes_nothing(world: World, seed: int) -> None:
    assert written(planned(shuffled(world, Random(seed)))) == written(planned(world))


@settings(max_examples=60, deadline=None)
@given(worlds(), st.integers(0, 2**16))
def test_nor_does_it_once_notes_are_taken_in(world: World, seed: int) -> None:
    assert written(settled(shuffled(world, Random(seed)))[0]) == written(settled(world)[0])


def test_the_seed_of_hashes_changes_nothing() -> None:
    digests = {_digest_with_hash_seed(seed) for seed in ("0", "1", "4242")}
    assert digests == {digest_of_all_cases()}


def digest_of_all_cases() -> str:
    """Return one digest of the plans of all case files."""
    folders = sorted((ROOT / "tests" / "kinds").glob("*/cases"))
    plans = [written(planned(world_of(case))) for folder in folders for _, case in cases_in(folder)]
    assert len(plans) > 100
    return sha256(b"\n".join(plans)).hexdigest()


def _digest_with_hash_seed(seed: str) -> str:
    program = "from tests.promises.test_plan_bytes import digest_of_all_cases as d; print(d())"
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    command = [sys.executable, "-c", program]
    return subprocess.run(
        command, env=environment, cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.strip()
