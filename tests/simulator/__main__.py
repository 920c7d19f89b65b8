"""Play many worlds and tell what they find: `python -m tests.simulator --seeds 20000 --first 0 --jobs 2`."""

import argparse
import gc
import logging
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from multiprocessing import Pool
from types import FrameType

from tests.simulator.bugs import BUGS, Find, first_find, keep, row
from tests.simulator.crashes import Doom, dooms, survive
from tests.simulator.ending import CALM_PASSES
from tests.simulator.events import story
from tests.simulator.oracle import Broken
from tests.simulator.run import Found, play, shortest

# Of the processor; most stories take a fifth of a second.
STORY_SECONDS = 60
# A world is a circle of objects; a few of them are less than Python itself.
STORIES_OF_GARBAGE = 10
_PLAYED = count()
# What people read; more of the same helps nobody.
TOLD = 20


@dataclass(frozen=True, slots=True)
class Played:
    """What became of one world: which one, what it broke, and how many passes it took to settle without faults."""

    task: int | Doom
    found: Found | None
    calm: int


def _bugs(seeds: range, jobs: int) -> int:
    """Search for every planted bug, print the rows of the table in docs/testing.md, and keep what was found.

    Returns 1 when a bug hides from all seeds.
    """
    finds = dict[str, Found | None]()
    with Pool(jobs, _begin) as pool:
        for bug, found in zip(BUGS, pool.imap(partial(_first, seeds), range(len(BUGS))), strict=True):
            finds[bug.__name__] = found
            sys.stdout.write(row(bug, None if found is None else Find(found.seed, found.promise)) + "\n")
            sys.stdout.flush()
    if None in finds.values():
        return 1
    keep({name: Find(found.seed, found.promise) for name, found in finds.items() if found is not None})
    return 0


def _first(seeds: range, number: int) -> Found | None:
    return first_find(BUGS[number], seeds)


def main() -> int:
    """Return 1 when any promise was broken; the first find is told by the shortest story found."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulator")
    parser.add_argument("--seeds", type=int, default=2000, help="how many worlds to play")
    parser.add_argument("--first", type=int, default=0, help="the seed to begin with")
    parser.add_argument("--jobs", type=int, default=2, help="how many to play at once")
    parser.add_argument(
        "--crashes",
        choices=("none", "most", "all"),
        default="none",
        help="also let the daemon die in most or all moments of one story",
    )
    parser.add_argument("--log", action="store_true", help="tell everything that happens in the first seed")
    parser.add_argument(
        "--bugs", action="store_true", help="search for each planted bug, and keep which seed finds it first"
    )
    asked = parser.parse_args()
    if asked.bugs:
        return _bugs(range(asked.first, asked.first + asked.seeds), asked.jobs)
    if asked.log:
        return _tell(asked.first)
    tasks: list[int | Doom] = list(range(asked.first, asked.first + asked.seeds))
    if asked.crashes != "none":
        tasks += dooms(whole=asked.crashes == "all")
    began, played = time.monotonic(), list[Played]()
    try:
        # One by one, so that Ctrl-C keeps what was played.
        played.extend(_all(tasks, asked.jobs))
        stopped = ""
    except KeyboardInterrupt:
        stopped = f" (stopped; {len(tasks)} were asked for)"
    finds, seconds = _told(played), time.monotonic() - began
    calm = max((each.calm for each in played), default=0)
    sys.stdout.write(
        f"{len(played)} worlds played in {seconds:.0f} s{stopped}, {finds} of them broke a promise; "
        f"without faults the slowest settled within {calm} passes of {CALM_PASSES}\n"
    )
    return 130 if stopped else int(finds > 0)


def _tell(seed: int) -> int:
    found, world = play(seed, story(seed))
    sys.stdout.write("\n".join([*world.log, str(found or "every promise holds"), ""]))
    return int(found is not None)


def _all(tasks: Sequence[int | Doom], jobs: int) -> Iterator[Played]:
    if jobs == 1:
        logging.disable(logging.CRITICAL)
        try:
            yield from map(_play, tasks)
        finally:
            logging.disable(logging.NOTSET)
        return
    with Pool(jobs, _begin) as pool:
        yield from pool.imap_unordered(_play, tasks, chunksize=8)


def _begin() -> None:
    """Get a process ready: it leaves Ctrl-C to its parent, and looks for garbage between stories only."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.disable(logging.CRITICAL)
    gc.collect()
    gc.freeze()
    gc.disable()


def _give_up(_: int, __: FrameType | None) -> None:
    raise Broken("I48", f"the story has not ended after {STORY_SECONDS} s of the processor")


def _play(task: int | Doom) -> Played:
    if next(_PLAYED) % STORIES_OF_GARBAGE == 0:
        gc.collect()
    before = signal.signal(signal.SIGVTALRM, _give_up)
    signal.setitimer(signal.ITIMER_VIRTUAL, STORY_SECONDS)
    try:
        found, world = survive(task) if isinstance(task, Doom) else play(task, story(task))
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
    return Played(task, found, world.calm)


def _told(played: Iterable[Played]) -> int:
    """Tell the finds in order, and the one with the fewest events by these; return how many finds there are."""
    finds = [(each.task, each.found) for each in played if each.found is not None]
    finds.sort(key=lambda find: str(find[0]))
    for task, found in finds[:TOLD]:
        who = f"a daemon that {task}" if isinstance(task, Doom) else f"seed {task}"
        sys.stdout.write(f"{who} breaks {found.promise}: {found.what}\n")
    if len(finds) > TOLD:
        sys.stdout.write(f"and {len(finds) - TOLD} more\n")
    if seeds := [found for task, found in finds if not isinstance(task, Doom)]:
        sys.stdout.write(f"\nthe shortest story:\n{shortest(min(seeds, key=_length))}\n")
    return len(finds)


def _length(found: Found) -> int:
    return len(found.events)


if __name__ == "__main__":
    sys.exit(main())
