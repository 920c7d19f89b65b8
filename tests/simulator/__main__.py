"""Play many seeds and tell what they find: `python -m tests.simulator --seeds 20000 --first 0 --jobs 2`."""

import argparse
import logging
import sys
from functools import partial
from multiprocessing import Pool

from tests.simulator.bugs import BUGS, first_find
from tests.simulator.events import story
from tests.simulator.run import Found, play, shortest


def _play(seed: int) -> Found | None:
    logging.disable(logging.CRITICAL)
    return play(seed, story(seed))[0]


def _bugs(seeds: range, jobs: int) -> int:
    """Print the rows of the table in docs/testing.md; return 1 when a bug hides from all seeds."""
    hidden = 0
    with Pool(jobs) as pool:
        for number, found in enumerate(pool.imap(partial(_first, seeds), range(len(BUGS)))):
            bug = BUGS[number]
            told = f"{found.seed} | {found.promise}" if found is not None else "- | none"
            sys.stdout.write(f"| `{bug.__name__}` | {(bug.__doc__ or '').strip()} | {told} |\n")
            sys.stdout.flush()
            hidden += found is None
    return bool(hidden)


def _first(seeds: range, number: int) -> Found | None:
    logging.disable(logging.CRITICAL)
    return first_find(BUGS[number], seeds)


def main() -> int:
    """Return 1 when any promise was broken; the first find is told by its shortest story."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulator")
    parser.add_argument("--seeds", type=int, default=2000, help="how many worlds to play")
    parser.add_argument("--first", type=int, default=0, help="the seed to begin with")
    parser.add_argument("--jobs", type=int, default=2, help="how many to play at once")
    parser.add_argument("--log", action="store_true", help="tell everything that happens in the first seed")
    parser.add_argument("--bugs", action="store_true", help="tell for each planted bug which seed finds it first")
    asked = parser.parse_args()
    if asked.bugs:
        return _bugs(range(asked.first, asked.first + asked.seeds), asked.jobs)
    if asked.log:
        found, world = play(asked.first, story(asked.first))
        sys.stdout.write("\n".join([*world.log, str(found or "every promise holds"), ""]))
        return found is not None
    with Pool(asked.jobs) as pool:
        played = pool.imap_unordered(_play, range(asked.first, asked.first + asked.seeds), chunksize=8)
        finds = [found for found in played if found is not None]
    for found in sorted(finds, key=lambda each: each.seed):
        sys.stdout.write(f"seed {found.seed} breaks {found.promise}: {found.what}\n")
    if finds:
        sys.stdout.write(f"\nthe shortest story:\n{shortest(min(finds, key=lambda each: len(each.events)))}\n")
    sys.stdout.write(f"{asked.seeds} worlds played, {len(finds)} of them broke a promise\n")
    return bool(finds)


if __name__ == "__main__":
    sys.exit(main())
