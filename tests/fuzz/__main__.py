"""Fuzz the readers of foreign bytes: `python -m tests.fuzz [TARGET...] [--seconds N] [--seed N] [--keep]`."""

import argparse
import secrets
import sys

from tests.fuzz.run import keep, run
from tests.fuzz.targets import ALL


def main() -> int:
    """Return 1 when any input breaks a promise."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"{', '.join(ALL)}; all, if none is named")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long to fuzz each target")
    parser.add_argument("--seed", type=int, help="to do the same again: the number that an earlier run printed")
    parser.add_argument("--jobs", type=int, default=2, help="how many targets to fuzz at once")
    parser.add_argument("--keep", action="store_true", help="keep what led further, for later runs to begin with")
    asked = parser.parse_args()
    if unknown := set(asked.targets) - set(ALL):
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    seed = asked.seed if asked.seed is not None else secrets.randbelow(1 << 32)
    sys.stdout.write(f"seed {seed}\n")
    outcomes = []
    for outcome in run([ALL[name] for name in asked.targets or ALL], asked.seconds, seed, asked.jobs):
        sys.stdout.write(f"{outcome}\n")
        sys.stdout.flush()
        outcomes.append(outcome)
    well = [outcome for outcome in outcomes if outcome.fuzzed.find is None]
    if asked.keep:
        keep(well, asked.jobs)
    return len(well) < len(outcomes)


if __name__ == "__main__":
    sys.exit(main())
