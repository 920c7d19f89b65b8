"""Disks that are full or read-only: jobs run on, the daemon says what it waits for, and goes on by itself."""

import re
import signal
from functools import partial

import pytest

from tests.crashes.disks import Fault, full, no_names, read_only, unmounted
from tests.crashes.mortal import Mortal, may_mount

pytestmark = pytest.mark.real

# The words of the daemon, and those of git.
NO_SPACE = r"no space (is )?left"
SAYS: dict[Fault, str] = {
    full: NO_SPACE,
    no_names: NO_SPACE,
    read_only: "read-only file system|system is read-only",
}
FAULTS = pytest.mark.parametrize("fault", SAYS, ids=lambda fault: fault.__name__)


@pytest.fixture
def mounted(site: Mortal) -> Mortal:
    if why := may_mount():
        pytest.skip(why)
    site.up()
    site.hear_out()
    return site


@FAULTS
@pytest.mark.parametrize("disk", ["state", "shared"])
def test_a_disk_that_fails_costs_no_job_and_the_daemon_goes_on_by_itself(
    mounted: Mortal, disk: str, fault: Fault
) -> None:
    site, name = mounted, f"{disk}-{fault.__name__}".replace("_", "-")
    gate = site.home / f"{name}.go"
    site.commit("Add a job", site.counted(f"during-{name}", f"until [ -e {gate} ]; do sleep 0.1; done"))
    site.wait_run(f"during-{name}")
    with fault(getattr(site, disk)):
        site.commit("Add another", site.counted(f"after-{name}"))
        site.wait(partial(tells, site, SAYS[fault]), f"it tells that {SAYS[fault]}")
        assert site.is_calm(), "what cannot be done is not tried all the time"
        gate.touch()
        # How it ends was given its room when it began; a share that takes nothing at all takes that neither.
        if (disk, fault) != ("shared", read_only):
            site.wait(partial(result_of, site, f"during-{name}"), "the job ends, and that is written")
        # The ledger grows without a new name, and where its last block has room also without a new block.
        if disk == "shared" or fault is read_only:
            site.wait(partial(tells, site, "the ledger cannot be written"), "it tells why it does nothing")
        # One that starts now finds no room either: it waits, too.
        site.stop(signal.SIGKILL)
        site.hear_out()
        site.start()
        site.wait(lambda: re.search(SAYS[fault], site.said(), re.IGNORECASE), f"it says that {SAYS[fault]}")
        site.nothing_is_torn()
        assert not site.runs(f"after-{name}")
    site.wait(partial(is_over, site, f"job/rl/during-{name}"), "what ran is over")
    site.wait_for(f"job/rl/after-{name}", "Succeeded")
    assert (site.runs(f"during-{name}"), site.runs(f"after-{name}")) == ({"1": 1}, {"1": 1})
    assert site.summary()["readOnly"] is None
    assert "bug" not in site.said()


@FAULTS
def test_a_status_directory_that_fails_costs_freshness_and_nothing_else(mounted: Mortal, fault: Fault) -> None:
    site, name = mounted, f"status-{fault.__name__}".replace("_", "-")
    with fault(site.status):
        site.commit("Add a job", site.counted(name))
        site.wait(partial(site.runs, name), "it runs, unseen")
        site.wait(lambda: re.search(SAYS[fault], site.said(), re.IGNORECASE), f"it says that {SAYS[fault]}")
        site.nothing_is_torn()
    site.wait_for(f"job/rl/{name}", "Succeeded")
    assert site.runs(name) == {"1": 1}


def test_an_unmounted_share_is_not_taken_for_an_empty_one(mounted: Mortal) -> None:
    site = mounted
    gate = site.home / "unmounted.go"
    site.commit("Add a job", site.counted("on-a-share", f"until [ -e {gate} ]; do sleep 0.1; done"))
    site.wait_run("on-a-share")
    head, nodes = site.sessions(), len(site.look().nodes)
    with unmounted(site.shared):
        site.wait(partial(tells, site, "mount the share again"), "it tells that the share is gone")
        # One that starts now finds a share without its site, and does not take it for a new one.
        site.stop(signal.SIGKILL)
        site.start()
        site.wait(partial(tells, site, "NoAnchor"), "it tells that the share is not the one")
        assert not list(site.shared.iterdir())
    gate.touch()
    site.wait_for("job/rl/on-a-share", "Succeeded")
    assert site.runs("on-a-share") == {"1": 1}
    assert (site.sessions(), len(site.look().nodes)) == (head, nodes)


def tells(site: Mortal, text: str) -> bool:
    """Say whether people read so, on the page of the site."""
    summary = site.summary()
    return re.search(text, f"{summary.get('source')} {summary.get('readOnly')}", re.IGNORECASE) is not None


def result_of(site: Mortal, name: str) -> bool:
    """Say whether the runner of a job has written how it ended."""
    return any(site.shared.glob(f"jobs/rl.{name}-*/result.json"))


def is_over(site: Mortal, path: str) -> bool:
    """Say whether a job has ended, one way or another."""
    return site.state_of(path) in {"Succeeded", "Failed", "Lost", "Stopped"}
