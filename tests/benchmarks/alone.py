"""Figures that need nothing but this process: loading and planning."""

import gc
import tempfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from _ruamel_yaml import CParser

from reconciler.desired.load import Loader
from reconciler.kinds import ALL
from reconciler.loop import settled_plan
from reconciler.model.desired import Desired
from reconciler.model.ledger import Ledger, Meta
from reconciler.model.snapshot import Snapshot
from reconciler.model.world import Observed, World
from reconciler.remote.disk import DiskFiles
from tests.benchmarks.figures import Figure, amount, compared, seconds
from tests.benchmarks.scene import NOW, Size, files, usual, world


def loading(jobs: int, rounds: int) -> Iterator[Figure]:
    """First load against libyaml's events of the same bytes, and the second start against the first."""
    contents = {sha256(data).hexdigest(): data for data in files(usual(jobs)).values()}
    snapshot = Snapshot("r1", {path: sha256(data).hexdigest() for path, data in files(usual(jobs)).items()})

    def load(state: Path) -> None:
        loader = Loader(DiskFiles(state))
        desired = loader.load(snapshot, lambda ids: {each: contents[each] for each in ids})
        assert not desired.errors

    def events() -> None:
        for data in contents.values():
            parser = CParser(data)
            while parser.check_event():
                parser.get_event()

    pairs, starts = [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(prefix="bench-load-") as folder:
            state = Path(folder)
            gc.collect()
            first, floor = seconds(lambda state=state: load(state)), seconds(events)  # type: ignore[misc]  # bound now
            gc.collect()
            pairs.append((first, floor))
            starts.append((seconds(lambda state=state: load(state)), first))  # type: ignore[misc]  # bound now
    yield compared(f"first load of {jobs} files / libyaml events", 1.6, iter(pairs))
    yield compared("second start / first load", 0.25, iter(starts))


def planning(jobs: int, rounds: int) -> Iterator[Figure]:
    """From scratch, and whether twice the site takes twice the time."""
    times = {}
    for part in (4, 2, 1):
        size = usual(jobs // part)
        seen = world(size)
        times[part] = _from_scratch(seen, rounds)
    yield amount(f"planning {jobs} jobs on {jobs // 10} nodes", times[1] * 1e3, 2000, "ms", "everyday mix")
    # Two doublings: linear is 4, and sorting adds its logarithm.
    yield amount(
        "the same / a quarter of the site", times[1] / times[4], 4.6, "x", f"half: {times[2] * 1e3:.0f} ms"
    )
    waiting = world(Size(jobs, jobs // 10, running=jobs // 20, waiting=jobs - jobs // 20))
    busiest = _from_scratch(waiting, rounds) * 1e3
    yield amount(f"planning {jobs} jobs of which none has ended", busiest, 2000, "ms", "worst mix")


def _from_scratch(seen: World, rounds: int) -> float:
    """Return the time of a plan by a daemon that knew nothing of this site."""
    nothing = World(Desired("", {}), Observed(), Ledger(Meta("site")), NOW)

    def once() -> float:
        settled_plan(nothing, ALL)
        return seconds(lambda: settled_plan(seen, ALL))

    return min(once() for _ in range(rounds))
