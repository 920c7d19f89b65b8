"""Calls that the kernel refuses in the midst of everything: what was whole stays whole, nothing runs twice."""

import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.crashes.mortal import Mortal

pytestmark = pytest.mark.real

RENAMES, FLUSHES = "rename,renameat,renameat2", "fsync,fdatasync"
# A back-off is one second here, so that a few tries fit; then the disk is well again.
LONG_ENOUGH_SECONDS = 6.0


@pytest.mark.parametrize(
    ("calls", "error", "when"),
    [
        (RENAMES, "EIO", "1+"),
        (RENAMES, "ENOSPC", "2+2"),
        (RENAMES, "EIO", "3"),
        (FLUSHES, "EIO", "1+"),
        (FLUSHES, "ENOSPC", "2+2"),
        (FLUSHES, "EIO", "3"),
    ],
    ids=lambda value: value.partition(",")[0],
)
def test_calls_that_fail_tear_nothing_and_are_made_again(site: Mortal, calls: str, error: str, when: str) -> None:
    site.up()
    site.hear_out()
    name = f"{calls.partition(',')[0]}-{error.lower()}-{when.replace('+', '-')}x"
    head = (site.shared / ".rayops/clusters/main/head.json").read_bytes()
    with failing(site, calls, error, when) as refused:
        site.commit("Add a job", site.counted(name))
        deadline = time.monotonic() + LONG_ENOUGH_SECONDS
        while not (refused() and site.runs(name)) and time.monotonic() < deadline:
            site.nothing_is_torn()
            time.sleep(0.05)
        assert refused(), "no call of the daemon itself has failed"
    assert site.daemon is not None
    site.daemon.send_signal(signal.SIGUSR1)  # git may have met it: the next poll is far away
    site.wait_for(f"job/rl/{name}", "Succeeded")
    assert site.runs(name) == {"1": 1}
    assert (site.shared / ".rayops/clusters/main/head.json").read_bytes() == head
    assert "bug" not in site.said()
    # What a disk refused is not found missing by the next one who reads it.
    site.stop(signal.SIGKILL)
    site.start()
    site.wait_awake()
    assert site.summary()["readOnly"] is None


@contextmanager
def failing(site: Mortal, calls: str, error: str, when: str) -> Iterator[Callable[[], bool]]:
    """Let these calls of the running daemon and its children fail; give what tells whether one of its own did."""
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    assert site.daemon is not None
    pid, traced = site.daemon.pid, site.home / "traced"
    options = [
        "-f",
        "-qq",
        "-o",
        str(traced),
        "-e",
        f"trace={calls}",
        "-e",
        f"inject={calls}:error={error}:when={when}",
    ]
    strace = subprocess.Popen(["strace", *options, "-p", str(pid)], stderr=subprocess.PIPE, text=True)
    threads: set[str] = set()

    def refused() -> bool:
        threads.update(each.name for each in Path(f"/proc/{pid}/task").iterdir())
        return any(
            found in threads for found in re.findall(r"^(\d+) .*\(INJECTED\)$", traced.read_text(), re.MULTILINE)
        )

    try:
        while f"TracerPid:\t{strace.pid}" not in Path(f"/proc/{pid}/status").read_text():
            if strace.poll() is not None:
                pytest.skip(f"strace may not attach here: {strace.stderr.read() if strace.stderr else ''}")
            time.sleep(0.02)
        yield refused
    finally:
        strace.terminate()
        strace.communicate(timeout=30)
