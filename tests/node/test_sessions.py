"""What bears no mark any more, since it set its title or cleaned its environment, is found by its session."""

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from reconciler.node import processes
from reconciler.node.processes import Process
from tests.node.jobs import HIDDEN, Job, sweep
from tests.node.machine import SITE, NodeMachine, kill, until


def notes(machine: NodeMachine) -> list[str]:
    """Return the attempts whose session is written down."""
    return sorted(each.name for each in (machine.node_dir / SITE / ".sessions").iterdir())


def started(machine: NodeMachine, job: Job) -> subprocess.Popen[bytes]:
    """Start a runner as in a slot of the machine."""
    machine.result("probe", {})  # makes the site's folder
    return job.start(RAYOPS_SLOT=str(machine.slot("worker", "w1").folder))


def of(pid: int) -> Process:
    row = processes.row(pid)
    assert row is not None
    return row.process


@pytest.mark.parametrize("argv", HIDDEN.values(), ids=HIDDEN)
def test_what_hides_and_outlives_its_runner_counts_as_alive(
    machine: NodeMachine, job: Job, argv: list[str]
) -> None:
    job.write(argv)
    runner = started(machine, job)
    job.wait_for_log("ready")
    hidden = of(int(job.log.split()[0]))
    try:
        until(job.living, lambda living: hidden not in living)
        runner.kill()
        runner.wait()
        until(job.living, lambda living: not living)
        assert sweep(machine, job) == "alive"
        assert processes.alive(hidden)
        assert notes(machine) == [job.folder.name]
        assert sweep(machine, job, end=True) == "gone"
        assert not processes.alive(hidden)
        assert notes(machine) == []
    finally:
        if processes.alive(hidden):
            kill(hidden.pid)


def test_a_told_end_leaves_no_note_of_the_session(machine: NodeMachine, job: Job) -> None:
    job.write(["true"])
    assert started(machine, job).wait(30) == 0
    assert notes(machine) == []


def test_nothing_is_run_whose_session_cannot_be_written_down(machine: NodeMachine, job: Job) -> None:
    job.write(["sh", "-c", "echo ran"])
    assert job.start(RAYOPS_SLOT=str(machine.home / "no/such/slot")).wait(30) == 127
    assert (job.log, job.result["outcome"]) == ("", "hindered")


@dataclass
class Session:
    """A session whose leader has ended, and the one process that is in it."""

    leader: Process
    member: Process


def orphaned(**env: str) -> Session:
    """Leave a process in a session of its own."""
    with subprocess.Popen(
        ["sh", "-c", "sleep 1000 <&- >&- 2>&- & read go; echo $!"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"PATH": os.environ["PATH"], **env},
        start_new_session=True,
    ) as shell:
        leader = of(shell.pid)
        out, _ = shell.communicate(b"go\n", timeout=30)
    return Session(leader, of(int(out)))


@pytest.fixture
def session() -> Iterator[Session]:
    each = orphaned()
    yield each
    kill(each.member.pid)


def write_down(machine: NodeMachine, job: Job, leader: Process, boot: str = "") -> None:
    """Say of a session that it is the attempt's, as nobody but this user can."""
    machine.result("probe", {})
    folder = machine.node_dir / SITE / ".sessions"
    folder.mkdir(mode=0o700)
    note = {"bootId": boot or processes.boot_id(), **leader.document()}
    (folder / job.folder.name).write_text(json.dumps(note))
    claim = {"hostName": os.uname().nodename, "bootId": processes.boot_id(), "pid": 1, "startTicks": 1}
    (job.folder / "claim.json").write_text(json.dumps({"submissionId": job.folder.name, **claim}))


def test_a_session_is_what_its_note_says(machine: NodeMachine, job: Job, session: Session) -> None:
    write_down(machine, job, session.leader)
    assert sweep(machine, job) == "alive"


def test_what_is_older_than_a_session_is_not_of_it(machine: NodeMachine, job: Job, session: Session) -> None:
    write_down(machine, job, Process(session.leader.pid, session.member.start_ticks + 1))
    assert sweep(machine, job, end=True) == "gone"
    assert processes.alive(session.member)


def test_a_session_of_an_earlier_boot_is_nobodys(machine: NodeMachine, job: Job, session: Session) -> None:
    write_down(machine, job, session.leader, "b0.1")
    assert sweep(machine, job, end=True) == "gone"
    assert processes.alive(session.member)


def test_the_notes_of_an_earlier_boot_go_with_their_attempts(
    machine: NodeMachine, job: Job, session: Session
) -> None:
    write_down(machine, job, session.leader, "b0.1")
    claim = json.loads((job.folder / "claim.json").read_text())
    (job.folder / "claim.json").write_text(json.dumps({**claim, "bootId": "b0.1"}))
    assert (sweep(machine, job), notes(machine)) == ("elsewhere", [job.folder.name])
    known = machine.node_dir / SITE / ".boots"
    known.mkdir(mode=0o700)
    (known / "b0.1").touch()
    assert (sweep(machine, job), notes(machine)) == ("gone", [])


def test_a_session_number_that_went_to_a_stranger_is_no_trace(machine: NodeMachine, job: Job) -> None:
    with subprocess.Popen(["sleep", "1000"], start_new_session=True) as stranger:
        try:
            write_down(machine, job, Process(stranger.pid, of(stranger.pid).start_ticks - 1))
            assert sweep(machine, job, end=True) == "gone"
            with pytest.raises(subprocess.TimeoutExpired):
                stranger.wait(0.2)
        finally:
            stranger.kill()


@pytest.mark.parametrize("mark", ["RAYOPS_JOB_DIR", "RAYOPS_SLOT"])
def test_what_bears_the_mark_of_another_is_never_swept(machine: NodeMachine, job: Job, mark: str) -> None:
    session = orphaned(**{mark: "/of/another"})
    try:
        write_down(machine, job, session.leader)
        assert sweep(machine, job, end=True) == "gone"
        assert processes.alive(session.member)
    finally:
        kill(session.member.pid)


def test_another_users_process_is_never_swept_by_its_session(machine: NodeMachine, job: Job) -> None:
    if os.getuid() != 0:
        pytest.skip("needs root: a process of another user")
    program = "setpriv --reuid 65534 --clear-groups sleep 1000 <&- >&- 2>&- & echo $!"
    shell = subprocess.Popen(["sh", "-c", program], stdout=subprocess.PIPE, start_new_session=True)
    leader = of(shell.pid)
    out, _ = shell.communicate(timeout=30)
    member = of(int(out))
    try:
        until(lambda: Path(f"/proc/{member.pid}").stat().st_uid, lambda user: user == 65534)
        write_down(machine, job, leader)
        assert sweep(machine, job, end=True) == "gone"
        assert processes.alive(member)
    finally:
        kill(member.pid)


def test_what_hides_in_a_slot_is_ended_without_its_keeper_and_ray(machine: NodeMachine) -> None:
    machine.start_head(env={"PRETEND": "unmarked"})
    record = machine.until("running").record
    assert record is not None
    assert record.keeper is not None
    recorded = {record.keeper, *record.core.values()}
    (hidden,) = set(machine.seen().living) - recorded
    for process in [record.keeper, *record.core.values()]:
        kill(process.pid)
    try:
        seen = until(machine.seen, lambda seen: not recorded & set(seen.living))
        assert (seen.state, seen.living) == ("running", (hidden,))
        assert machine.stop()["state"] == "stopped"
        assert not processes.alive(hidden)
    finally:
        if processes.alive(hidden):
            kill(hidden.pid)
