"""Figures of whole passes on a real head: nothing new, one changed file, memory."""

import time
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.figures import Figure, amount, compared, in_turn
from tests.benchmarks.scene import Size, job_file
from tests.benchmarks.site import Site, at_work, git, prepared


def passes(jobs: int, rounds: int) -> Iterator[Figure]:
    """Measure passes of a site whose jobs are history, nine of ten, and wait for nodes else."""
    size = Size(jobs, jobs // 10, running=0, waiting=jobs // 10)
    with prepared(size) as place:
        with at_work(place) as site:
            yield _nothing_new(site, rounds, jobs)
            yield _one_file(site, rounds, size)
        place.start()
        yield _memory(place.daemon.pid if place.daemon is not None else 0, place.status, jobs)
        place.stop()


def _nothing_new(site: Site, rounds: int, jobs: int) -> Figure:
    repo, before = str(site.place.repo), site.counters

    def floor() -> None:
        git("ls-remote", repo, "refs/heads/main")
        site.raw_poll()

    pairs = list(in_turn(rounds * 5, site.pass_for_source, floor))
    parsed, written, looked = (after - was for was, after in zip(before, site.counters, strict=True))
    said = f"{parsed} parses, {written} status writes, {looked - rounds * 5} looks but those at the head"
    return compared(f"no-op pass at {jobs} objects", 1.5, iter(pairs), said)


def _one_file(site: Site, rounds: int, size: Size) -> Figure:
    repo, number = site.place.repo, iter(range(10**6))
    mirror = site.place.home / "floor.git"
    git("clone", "--quiet", "--bare", str(repo), str(mirror))

    revisions = [git("-C", str(repo), "rev-parse", "HEAD").strip()]

    def change() -> None:
        seed = next(number)
        path, data = job_file(size.jobs - 1 - seed % size.waiting, size.pools)
        text = data.decode().replace("--seed", f"--edit-{seed}")
        revisions.append(site.place.commit("edit", {path: text}))

    def floor() -> None:
        at = ("-C", str(mirror))
        git(*at, "fetch", "--quiet", "origin", "+refs/heads/main:refs/heads/main")
        line = git(*at, "diff-tree", "-r", *revisions[-2:]).split()
        git(*at, "cat-file", "blob", line[3])
        site.raw_poll()

    def ours() -> None:
        report = site.pass_for_source()
        assert report.plan.notes

    pairs = list(in_turn(rounds, ours, floor, before=change))
    return compared("pass after one changed file", 1.5, iter(pairs), "with its flushes: ledger, cache, status")


def _memory(pid: int, status: Path, jobs: int) -> Figure:
    heartbeat, ends = status / "heartbeat.json", time.monotonic() + 120
    heartbeat.unlink(missing_ok=True)
    while not heartbeat.exists() and time.monotonic() < ends:
        time.sleep(0.1)
    time.sleep(8)  # some passes, among them one that plans anew
    lines = (Path("/proc") / str(pid) / "status").read_text().splitlines()
    resident = next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
    return amount(f"memory at {jobs} jobs and {jobs // 10} nodes", resident / 1024, 300, "MiB", "resident")
