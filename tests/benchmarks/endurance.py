"""What the daemon holds after many passes, against what it held after the first of them."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.figures import Figure
from tests.benchmarks.scene import Size, job_file
from tests.benchmarks.site import Site, at_work, prepared

SIZE = Size(1000, 100, running=0, waiting=100)
# A job is edited in every so many passes.
EDITED = 100


@dataclass(frozen=True, slots=True)
class Held:
    """What this process holds: resident kilobytes, open files, threads."""

    memory: int
    files: int
    threads: int


def held() -> Held:
    """Look at this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    resident = next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
    return Held(resident, len(list(Path("/proc/self/fd").iterdir())), threading.active_count())


def endurance(jobs: int, _: int) -> Iterator[Figure]:
    """Measure memory, files and threads over 100,000 passes, with --quick 5,000."""
    count = 100_000 if jobs >= 10_000 else 5_000
    with prepared(SIZE) as place, at_work(place) as site:
        _many_passes(site, 0, count // 10)
        before = held()
        _many_passes(site, count // 10, count)
        after = held()
    for name, one, other in (
        ("memory", before.memory / 1024, after.memory / 1024),
        ("open files", before.files, after.files),
        ("threads", before.threads, after.threads),
    ):
        ratio, unit = other / one, "MiB" if name == "memory" else ""
        said = f"after {count // 10} passes, and an edit in every {EDITED}"
        yield Figure(f"{name} after {count} passes", other, one, ratio, ratio, ratio, 1.1, unit, said)


def _many_passes(site: Site, first: int, end: int) -> None:
    for number in range(first, end):
        if number % EDITED:
            site.loop.once()
            continue
        path, data = job_file(SIZE.jobs - 1 - number // EDITED % SIZE.waiting, SIZE.pools)
        site.place.commit("edit", {path: data.decode().replace("--seed", f"--edit-{number}")})
        site.pass_for_source()
