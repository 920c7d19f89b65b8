"""A seed is a whole world: the same log every time, whatever order Python's sets and dicts have."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import logging
logging.disable(logging.CRITICAL)
from tests.simulator.events import story
from tests.simulator.run import play
print([play(seed, story(seed))[1].log_hash for seed in range(3, 9)])
"""


@pytest.fixture(scope="module")
def log_hashes() -> str:
    return _hashes("0")


@pytest.mark.parametrize("hash_seed", ["1", "12345"])
def test_a_seed_gives_the_same_log_whatever_the_hash_seed(hash_seed: str, log_hashes: str) -> None:
    assert _hashes(hash_seed) == log_hashes


def _hashes(hash_seed: str) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, timeout=120, check=True
    )
    return done.stdout
