"""A daemon that is paused goes on as if nothing had been, unless another one took over: then it touches nothing."""

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from tests.crashes.mortal import Mortal

pytestmark = pytest.mark.real

# Heartbeats and passes come once a second: in this time an overtaken daemon would do what it must not do.
LOOKING_ON_SECONDS = 2.5


def test_a_daemon_that_was_paused_goes_on(site: Mortal) -> None:
    site.up()
    assert site.daemon is not None
    term = newest_term(site)
    site.daemon.send_signal(signal.SIGSTOP)
    site.commit("Add a job", site.counted("meanwhile"))
    time.sleep(LOOKING_ON_SECONDS)
    assert site.state_of("job/rl/meanwhile") == ""
    site.daemon.send_signal(signal.SIGCONT)
    site.wait_for("job/rl/meanwhile", "Succeeded")
    assert site.runs("meanwhile") == {"1": 1}
    assert newest_term(site) == term


@pytest.mark.parametrize(
    "point",
    ["commit", "anchor", "before:SubmitAttempt", "after:SubmitAttempt", "settle:SubmitAttempt", "status"],
)
def test_a_daemon_that_was_overtaken_in_its_pause_does_and_writes_nothing(site: Mortal, point: str) -> None:
    site.up()
    name = f"passed-on-{point.lower().replace(':', '-')}"
    with paused(site, point, name) as first:
        site.start()
        site.wait_for(f"job/rl/{name}", "Succeeded")
        site.wait(partial(forgotten, site, name), "all is done")
        before, term = at_rest(site), newest_term(site)
        first.send_signal(signal.SIGCONT)
        deadline = time.monotonic() + LOOKING_ON_SECONDS
        while time.monotonic() < deadline:
            assert (site.object("heartbeat") or {})["pid"] != first.pid
            time.sleep(0.01)
        assert not (files := changed(before, seen(site))), f"{files}\n{site.trail()}"
        assert newest_term(site) == term
        assert "overtaken" in site.log.read_text()
    site.commit("Remove it", {f"teams/rl/jobs/{name}.yaml": None})
    site.wait_gone(f"job/rl/{name}")
    assert site.runs(name) == {"1": 1}
    assert not site.look().jobs


@contextmanager
def paused(site: Mortal, point: str, name: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Stop the daemon at a point of a job's life, and let go what keeps a second one out on one machine."""
    site.stop(signal.SIGKILL)
    site.log.write_bytes(b"")
    site.start()
    site.wait_awake()
    site.stop(signal.SIGKILL)
    site.commit("Add a job", site.counted(name))
    site.start({"RAYOPS_FAIL_POINTS": f"stop@{point}"})
    first = site.daemon
    assert first is not None
    site.until_file(site.log, "fail point reached")
    # On another machine, whose server has let the sleeper's locks go.
    for lock in ("daemon.lock", "mirror/lock"):
        (site.state / lock).unlink()
    site.daemon = None
    try:
        yield first
    finally:
        first.kill()
        first.wait(timeout=30)


def forgotten(site: Mortal, name: str) -> bool:
    """Say whether the last thing about a job has happened: Ray knows it no more, and the ledger says so."""
    return any(event["message"] == "DeleteRayRecord: done" for event in site.events(f"job/rl/{name}"))


def changed(before: dict[str, tuple[int, bytes]], after: dict[str, tuple[int, bytes]]) -> list[str]:
    """Return the files that were written again, and what is in them now."""
    return [f"{name}: {after.get(name)!r}" for name in before | after if before.get(name) != after.get(name)]


def seen(site: Mortal) -> dict[str, tuple[int, bytes]]:
    """Return what people read, and which file it is in; the heartbeat is written all the time."""
    files = [path for path in site.status.rglob("*") if path.is_file() and path.name != "heartbeat.json"]
    return {str(path): (path.stat().st_ino, path.read_bytes()) for path in files}


def at_rest(site: Mortal) -> dict[str, tuple[int, bytes]]:
    """Wait until nothing more is written, as a daemon that looks around every second notices the end of things."""
    before = seen(site)
    time.sleep(LOOKING_ON_SECONDS)
    while (after := seen(site)) != before:
        before = after
        time.sleep(LOOKING_ON_SECONDS)
    return after


def newest_term(site: Mortal) -> int:
    """Return who leads."""
    return max(int(each.name) for each in (site.shared / ".rayops/leader").iterdir())
