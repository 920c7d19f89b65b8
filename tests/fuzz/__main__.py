"""Fuzz the readers of foreign bytes: `python -m tests.fuzz [TARGET...] [--seconds N] [--seed N] [--jobs N]`."""

import argparse
import secrets
import sys

from tests.fuzz.run import run
from tests.fuzz.targets import ALL


def main() -> int:
    """Return 1 when any input breaks a promise."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"{', '.join(ALL)}; all, if none is named")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long to fuzz each target")
    parser.add_argument("--seed", type=int, help="to do the same again: the number that an earlier run printed")
    parser.add_argument("--jobs", type=int, default=2, help="how many targets to fuzz at once")
    asked = parser.parse_args()
    if unknown := set(asked.targets) - set(ALL):
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    seed = asked.seed if asked.seed is not None else secrets.randbelow(1 << 32)
    sys.stdout.write(f"seed {seed}\n")
    broken = False
    for outcome in run([ALL[name] for name in asked.targets or ALL], asked.seconds, seed, asked.jobs):
        sys.stdout.write(f"{outcome}\n")
        sys.stdout.flush()
        broken = broken or outcome.fuzzed.find is not None
    return broken


if __name__ == "__main__":
    sys.exit(main())
