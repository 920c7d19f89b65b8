"""Machines that fall ill, each with a real sshd: they delay only themselves, say why, and come back."""

import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from tests import netns
from tests.outages.scene import CALL_SECONDS, Scene, Work, pool

pytestmark = [pytest.mark.real, pytest.mark.skipif(bool(netns.missing()), reason=netns.missing())]


@dataclass
class Illness:
    """What is wrong with a machine, what people read about it, and how it ends."""

    begins: Callable[[Scene, netns.Host], None]
    said: str
    ends: Callable[[Scene, netns.Host], None]


def restarted(*options: str, key: str = "", before: str = ":") -> Callable[[Scene, netns.Host], None]:
    def restart(site: Scene, host: netns.Host) -> None:
        host.stop_sshd()
        other = host.folder / key if key else None
        if other is not None and not other.exists():
            netns.keygen(other)
        host.start_sshd(key=other, options=options, before=before.format(home=site.site.home))

    return restart


def signalled(number: signal.Signals) -> Callable[[Scene, netns.Host], None]:
    def tell(_: Scene, host: netns.Host) -> None:
        assert host.sshd is not None
        host.sshd.send_signal(number)

    return tell


WELL = restarted()
NO_KEYS = ("AuthorizedKeysFile none", "AuthorizedKeysCommand /bin/sleep 60", "AuthorizedKeysCommandUser root")
# A disk for the gate's own files on which not one more page is free.
FULL = "mount -t tmpfs -o size=4k,mode=700 none {home}/node && head -c 4096 /dev/zero >{home}/node/full"
ILLNESSES = {
    "banner": Illness(signalled(signal.SIGSTOP), "no ssh session", signalled(signal.SIGCONT)),
    "login": Illness(restarted(*NO_KEYS), "no ssh session", WELL),
    "command": Illness(restarted("ForceCommand sleep 60"), "no answer within the time limit", WELL),
    "key": Illness(restarted(key="other_key"), "its host key has changed", WELL),
    "disk": Illness(restarted(before=FULL), "No space left on device", WELL),
}


@dataclass
class Ward:
    """A site whose far pool is ill, the job that was asked for at the same time, and when that was."""

    site: Scene
    work: Work
    since: datetime


@pytest.fixture(scope="module")
def ward(shared: Scene) -> Iterator[Ward]:
    shared.is_well()
    for name, illness in ILLNESSES.items():
        illness.begins(shared, shared.host(name))
    work = Work(shared.site, "meanwhile")
    nodes = [shared.node(f"node-{name}", name) for name in ILLNESSES]
    shared.site.commit("Ask for nodes and for a job", {**pool("far", *nodes), **work.files()})
    yield Ward(shared, work, datetime.now(UTC))
    work.ends()


def row(site: Scene, name: str) -> dict[str, str]:
    """Return what people read about a node of the far pool."""
    rows = (site.site.object("nodepool/far") or {"detail": {"nodes": []}})["detail"]["nodes"]
    return next(
        (each for each in rows if each["name"] == f"node-{name}"), {"message": "", "reason": "", "state": ""}
    )


@pytest.mark.parametrize("name", ILLNESSES)
def test_an_ill_machine_is_named_with_what_is_wrong(ward: Ward, name: str) -> None:
    said = ILLNESSES[name].said
    ward.site.until(lambda: said in row(ward.site, name)["message"], f"{name}: {said}")
    assert row(ward.site, name)["reason"] == "MachineUnreachable"


def test_other_machines_work_goes_on_meanwhile(ward: Ward) -> None:
    ward.work.begins()
    (submitted,) = [event for event in ward.site.site.events(ward.work.path) if event["type"] == "Action"]
    waited = datetime.fromisoformat(submitted["at"]) - ward.since
    assert waited.total_seconds() < CALL_SECONDS, "it did not wait for a machine that hangs"
    ward.work.ends()
    assert ward.work.lives() == ["began 1", "ended 1"]
    assert all(row(ward.site, name)["reason"] == "MachineUnreachable" for name in ILLNESSES)
    assert ward.site.cluster["state"] == "Ready"


def test_each_is_used_by_itself_once_it_is_well(ward: Ward) -> None:
    for name, illness in ILLNESSES.items():
        illness.ends(ward.site, ward.site.host(name))
    for name in ILLNESSES:
        ward.site.until(partial(is_answering, ward.site, name), f"{name} is asked again")
    ward.site.site.commit("They are not needed after all", {"nodepools/far.yaml": None})
    ward.site.site.until_gone("nodepool/far")
    ward.site.is_well()


def is_answering(site: Scene, name: str) -> bool:
    return row(site, name)["reason"] != "MachineUnreachable"


def test_a_link_that_is_cut_in_the_middle_of_a_start_is_settled_by_looking(site: Scene) -> None:
    host, mark = site.host("link"), site.site.home / "began"
    # The gate does what it is asked to; only its answer to a start never arrives.
    carry_out = (
        f'cat >{mark}.asked; sh -c "$SSH_ORIGINAL_COMMAND" <{mark}.asked >{mark}.said; '
        f"grep -q start-worker {mark}.asked || exec cat {mark}.said; echo start >>{mark}; sleep 60"
    )
    program = site.site.home / "gate-of-link"
    program.write_text(f"#!/bin/sh\n{carry_out}\n")
    program.chmod(0o755)
    restarted(f"ForceCommand {program}")(site, host)
    site.site.commit("Ask for one more", pool("far", site.node("node-link", "link")))
    site.until(mark.exists, "the start has reached the machine")
    host.cut()
    site.until(lambda: "Unknown" in told(site), "nobody can say what became of the start")
    host.mend()
    site.site.until("nodepool/far", "Ready")
    assert mark.read_text().splitlines() == ["start"], "it was started once"
    assert len(raylets(host)) == 1
    site.site.commit("It is not needed any more", {"nodepools/far.yaml": None})
    site.site.until_gone("nodepool/far")
    assert raylets(host) == []


def told(site: Scene) -> set[str]:
    """Return the sorts of what was told about the far pool."""
    return {event["type"] for event in site.site.events("nodepool/far")}


def raylets(host: netns.Host) -> list[int]:
    found = []
    for pid in host.pids():
        with suppress(OSError):
            if Path(f"/proc/{pid}/comm").read_text().strip() == "raylet":
                found.append(pid)
    return found
