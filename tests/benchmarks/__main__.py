"""Measure against floors of the same run: `python -m tests.benchmarks [NAME...] [--quick] [--json]`."""

import argparse
import json
import os
from collections.abc import Callable, Iterator

from tests.benchmarks.alone import loading, planning
from tests.benchmarks.endurance import endurance
from tests.benchmarks.figures import Figure
from tests.benchmarks.hosts import hosts
from tests.benchmarks.passes import passes
from tests.benchmarks.reaction import polled, reaction

GROUPS: dict[str, Callable[[int, int], Iterator[Figure]]] = {
    "loading": loading,
    "planning": planning,
    "passes": passes,
    "reaction": reaction,
    "polled": polled,
    "hosts": hosts,
    "endurance": endurance,
}


def main() -> None:
    """Print the figures of the named groups, of all if none is named; one over its bound is no failure."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *GROUPS], metavar="NAME", help=", ".join(GROUPS))
    parser.add_argument(
        "--quick", action="store_true", help="a tenth of the size, few rounds: to see that it works"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document per line")
    given = parser.parse_args()
    jobs, rounds = (1000, 3) if given.quick else (10_000, 7)
    if not given.json:
        print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; ours / floor = ratio (least to most)")
    for name in given.names or GROUPS:
        for figure in GROUPS[name](jobs, rounds):
            print(json.dumps(figure.document()) if given.json else figure, flush=True)


if __name__ == "__main__":
    main()
