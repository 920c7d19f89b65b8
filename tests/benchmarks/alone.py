"""Figures that need nothing but this process: loading and planning."""

import cProfile
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

    def load(state: Path) -> Loader:
        loader = Loader(DiskFiles(state))
        desired = loader.load(snapshot, lambda ids: {each: contents[each] for each in ids})
        assert not desired.errors
        return loader

    def events() -> None:
        for data in contents.values():
            parser = CParser(data)
            while parser.check_event():
                parser.get_event()

    pairs, starts, kept = [], [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(prefix="bench-load-") as folder:
            state = Path(folder)
            gc.collect()
            first, floor = seconds(lambda state=state: load(state)), seconds(events)  # type: ignore[misc]  # bound now
            # The daemon remembers it later, once the ledger knows of it.
            kept.append(seconds(load(state).keep))
            gc.collect()
            pairs.append((first, floor))
            starts.append((seconds(lambda state=state: load(state)), first))  # type: ignore[misc]  # bound now
    said = f"remembered in {min(kept) * 1e3:.0f} ms more"
    yield compared(f"first load of {jobs} files / libyaml events", 1.6, iter(pairs), said)
    yield compared("second start / first load", 0.25, iter(starts))


def planning(jobs: int, rounds: int) -> Iterator[Figure]:
    """From scratch, and whether four times the site is four times the work."""
    whole, quarter = world(usual(jobs)), world(usual(jobs // 4))
    took, least = _from_scratch(whole, rounds), _from_scratch(quarter, rounds)
    yield amount(f"planning {jobs} jobs on {jobs // 10} nodes", took * 1e3, 2000, "ms", "everyday mix")
    # Time grows a little faster than the work, as less and less of a site fits into the processor's caches.
    said = f"in time: {took / least:.1f}"
    yield amount("calls of that / of a quarter of the site", calls(whole) / calls(quarter), 4.1, "x", said)
    waiting = world(Size(jobs, jobs // 10, running=jobs // 20, waiting=jobs - jobs // 20))
    busiest = _from_scratch(waiting, rounds) * 1e3
    yield amount(f"planning {jobs} jobs of which none has ended", busiest, 2000, "ms", "worst mix")


def calls(seen: World) -> int:
    """Return how many functions a plan from scratch calls: unlike its time, the same on every machine."""
    _forget()
    profile = cProfile.Profile()
    profile.runcall(settled_plan, seen, ALL)
    return sum(entry.callcount for entry in profile.getstats())


def _from_scratch(seen: World, rounds: int) -> float:
    """Return the time of a plan by a daemon that knew nothing of this site."""

    def once() -> float:
        _forget()
        return seconds(lambda: settled_plan(seen, ALL))

    return min(once() for _ in range(rounds))


def _forget() -> None:
    """Let the memories that plans share be of no use to the next one."""
    settled_plan(World(Desired("", {}), Observed(), Ledger(Meta("site")), NOW), ALL)
