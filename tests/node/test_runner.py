"""The job runner with real programs: at most once, nothing survives it, and it always says how it ended."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model.duration import read_duration
from reconciler.node import processes
from tests.node.jobs import Job, sweep
from tests.node.machine import SITE, NodeMachine, kill, until
from tests.node.signed import HeadKey


def sh(text: str) -> list[str]:
    return ["/bin/sh", "-c", text]


@pytest.mark.parametrize(
    ("argv", "code", "result"),
    [
        (["true"], 0, {"outcome": "exited", "exitCode": 0, "signal": None}),
        (sh("exit 7"), 7, {"outcome": "exited", "exitCode": 7, "signal": None}),
        (sh("kill -9 $$"), 137, {"outcome": "exited", "exitCode": None, "signal": 9}),
        (["no-such-program"], 127, {"outcome": "not-started", "exitCode": 127}),
    ],
    ids=["success", "exit code", "signal", "no program"],
)
def test_how_a_program_ended_is_told_exactly(job: Job, argv: list[str], code: int, result: dict[str, Any]) -> None:
    assert job.run(argv) == code
    assert job.result.items() >= {"protocol": 1, "submissionId": job.folder.name, **result}.items()
    assert job.living() == []


def test_a_program_gets_its_arguments_unchanged_and_its_environment(job: Job) -> None:
    hostile = ["$(id)", "a b;c", "'\"", "\n", "-x", ""]
    code = "import os, sys; print(ascii(sys.argv[1:]), os.environ['A'], os.getcwd(), os.getsid(0) == os.getpid())"
    job.run([sys.executable, "-c", code, *hostile], env={"A": "$HOME"}, workingDir="/usr")
    assert job.log == f"{hostile!a} $HOME /usr True\n"


def test_checkpoints_outlive_the_attempt_and_are_shown_in_its_directory(job: Job) -> None:
    target = job.folder.parent / "users/alice/checkpoints/rl/ppo"
    assert (
        job.run(["sh", "-c", "echo 1 > checkpoints/step-1"], workingDir=str(job.folder), checkpoints=str(target))
        == 0
    )
    assert (target / "step-1").read_text() == "1\n"
    assert (job.folder / "checkpoints").readlink() == target


def test_output_goes_to_the_log_and_to_ray(job: Job) -> None:
    job.write(sh("echo out; echo err >&2"))
    runner = job.start(subprocess.PIPE)
    out, _ = runner.communicate(timeout=30)
    assert out.decode() == job.log == "out\nerr\n"


@pytest.mark.parametrize("reader", ["deaf", "gone"])
def test_a_reader_that_does_not_read_never_holds_the_program(job: Job, reader: str) -> None:
    job.write(sh("head -c 1000000 /dev/zero | tr '\\0' x; echo end"))
    ours, theirs = os.pipe()
    if reader == "gone":
        os.close(ours)
    runner = job.start(theirs)
    os.close(theirs)
    assert runner.wait(30) == 0
    assert len(job.log) == 1_000_004
    if reader == "deaf":
        os.close(ours)


def test_a_claimed_attempt_is_never_run_again(job: Job) -> None:
    assert job.run(sh("echo once")) == 0
    before = {path: path.read_bytes() for path in job.folder.rglob("*") if path.is_file()}
    assert job.start().wait(30) == 75
    assert {path: path.read_bytes() for path in job.folder.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("claim", [b"", b"{", b'{"by": "the daemon"}'])
def test_a_claim_of_any_content_is_a_claim(job: Job, claim: bytes) -> None:
    job.write(sh("echo ran"))
    (job.folder / "claim.json").write_bytes(claim)
    assert job.start().wait(30) == 75
    assert job.log == ""
    assert not (job.folder / "result.json").exists()


@settings(max_examples=5, deadline=None)
@given(count=st.integers(2, 8))
def test_of_many_runners_at_once_exactly_one_runs(count: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    machine = NodeMachine(tmp_path_factory.mktemp("m"))
    job = Job(machine.home / "race", machine.program)
    job.write(sh("echo ran"))
    for _ in range(count):
        job.start()
    codes = sorted(runner.wait(60) for runner in job.runners)
    assert codes == [0] + [75] * (count - 1)
    assert job.log == "ran\n"
    shutil.rmtree(machine.home)


def test_a_stop_gives_the_program_its_grace(job: Job) -> None:
    job.write(sh("trap 'echo saved; exit 3' TERM; echo ready; while :; do sleep 0.1; done"))
    runner = job.start()
    job.wait_for_log("ready")
    runner.terminate()
    assert runner.wait(30) == 3
    assert job.log.endswith("saved\n")
    assert job.result["outcome"] == "stopped"


def test_a_program_that_ignores_the_stop_is_killed_after_its_grace(job: Job) -> None:
    job.write(sh("trap '' TERM; echo ready; while :; do sleep 0.1; done"), graceSeconds=1)
    runner = job.start()
    job.wait_for_log("ready")
    began = time.monotonic()
    runner.terminate()
    assert runner.wait(30) == 137
    assert 0.9 < time.monotonic() - began < 5
    assert job.result.items() >= {"outcome": "stopped", "signal": 9}.items()
    assert job.living() == []


def test_rays_own_stop_is_not_doubled(job: Job) -> None:
    # This test stands where Ray's supervisor does: parent of the runner, telling everybody below by itself.
    program = "trap 'echo told' TERM; echo ready; for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0.1; done; exit 0"
    job.write(sh(program))
    runner = job.start(RAY_JOB_CONFIG_JSON_ENV_VAR="{}")
    job.wait_for_log("ready")
    everybody = [each.pid for each in processes.descendants([runner.pid], processes.table())]
    for pid in [runner.pid, *everybody]:
        kill(pid, signal.SIGTERM)
    runner.wait(30)
    assert job.log.count("told") == 1
    assert job.result["outcome"] == "stopped"


def test_the_attempt_limit_ends_the_program(job: Job) -> None:
    assert job.run(["sleep", "60"], attemptLimitSeconds=1) == 143
    assert job.result.items() >= {"outcome": "timed-out", "signal": 15}.items()
    assert 1 <= job.result["seconds"] < 10


def test_an_attempt_limit_may_be_as_long_as_any_in_a_file(job: Job) -> None:
    longest = read_duration("99999d999999h9999999m99999999s")
    assert job.run(["true"], attemptLimitSeconds=int(longest.total_seconds())) == 0


@pytest.mark.parametrize(
    "escape",
    [
        "setsid nohup sleep 1000 >/dev/null 2>&1 &",
        "(setsid sh -c 'trap \"\" TERM; while :; do sleep 1; done' &)",
        "sleep 1000 & sleep 1000 &",
    ],
    ids=["daemon", "stubborn double fork", "background"],
)
def test_nothing_that_a_program_started_outlives_it(job: Job, escape: str) -> None:
    assert job.run(sh(f"{escape}\nsleep 0.3; exit 4")) == 4
    assert job.living() == []
    assert job.result["exitCode"] == 4


# A process that waits for a dead disk cannot be made to order; one that may not be signalled lives on as well.
UNKILLABLE = "setpriv --reuid 65534 --clear-groups sleep 1000"


@pytest.mark.parametrize(
    ("program", "change", "outcome", "code"),
    [
        (f"{UNKILLABLE} & echo ready; sleep 0.5; exit 4", {}, "exited", 4),
        (f"echo ready; {UNKILLABLE}; exit 4", {"attemptLimitSeconds": 1}, "timed-out", 143),
    ],
    ids=["ended by itself", "its limit has passed"],
)
def test_no_result_is_written_while_anything_lives(
    job: Job, program: str, change: dict[str, Any], outcome: str, code: int
) -> None:
    if os.getuid() != 0:
        pytest.skip("needs root: a process that its runner may not signal")
    job.write(sh(program), graceSeconds=0, **change)
    runner = job.start(command=job.helpless_command)
    job.wait_for_log("ready")
    (left,) = until(lambda: owned_by(job, 65534), lambda found: len(found) == 1)
    until(job.living, lambda living: living == [left])
    # Twice as long as a killing takes, with a stop in between: it beats on, and says nothing about the end.
    job.wait_for_beats(10)
    runner.terminate()
    job.wait_for_beats(10)
    assert processes.alive(left)
    assert not (job.folder / "result.json").exists()
    kill(left.pid)
    assert runner.wait(30) == code
    assert (job.result["outcome"], job.living()) == (outcome, [])


def owned_by(job: Job, user: int) -> list[processes.Process]:
    return [each for each in job.living() if Path(f"/proc/{each.pid}").stat().st_uid == user]


def test_a_killed_runner_takes_its_program_along(job: Job) -> None:
    job.write(["sleep", "1000"])
    runner = job.start()
    until(job.living, bool)
    runner.kill()
    until(job.living, lambda living: not living)
    assert not (job.folder / "result.json").exists()


BAD: list[dict[str, Any]] = [
    {"argv": []},
    {"argv": "true"},
    {"argv": ["a\0b"]},
    {"graceSeconds": "5"},
    {"submissionId": "other"},
    {"workingDir": "../x"},
    {"env": {"A=B": "x"}},
    {"surplus": 1},
]


@pytest.mark.parametrize("change", BAD, ids=[str(each) for each in BAD])
def test_a_bad_description_runs_nothing_and_says_so(job: Job, change: dict[str, Any]) -> None:
    job.write(**{"argv": ["true"], **change})
    assert job.start().wait(30) == 78
    assert job.result["outcome"] == "not-started"
    assert not (job.folder / "logs").exists()


def not_there(job: Job) -> None:
    job.write(["/nowhere/program"])


def not_a_folder(job: Job) -> None:
    job.write(["true"], workingDir="/dev/null")


def not_executable(job: Job) -> None:
    job.write(["/etc/passwd"])


def no_program(job: Job) -> None:
    path = job.folder / "program"
    path.write_bytes(b"\x7fELF, but not really")
    path.chmod(0o755)
    job.write([str(path)])


def too_long(job: Job) -> None:
    job.write(["true", "x" * (1 << 17)])


@pytest.mark.parametrize("mistake", [not_there, not_a_folder, not_executable, no_program, too_long])
def test_a_program_that_can_never_be_started_is_the_jobs_own_fault(
    job: Job, mistake: Callable[[Job], None]
) -> None:
    mistake(job)
    assert job.start().wait(30) == 127
    assert job.result["outcome"] == "not-started"


def test_a_machine_that_lacks_something_is_not_the_jobs_fault(job: Job) -> None:
    job.write(["true"])
    assert job.start(command=job.poor_command).wait(30) == 127
    assert job.result.items() >= {"outcome": "hindered", "message": "the program: Too many open files"}.items()


def test_a_full_share_at_the_start_is_not_the_jobs_fault(job: Job, tmp_path: Path) -> None:
    share = tmp_path / "share"
    share.mkdir()
    with small(share, "4k,nr_inodes=2"):
        assert job.run(["true"], checkpoints=str(share / "users/alice/checkpoints/rl/ppo")) == 127
    assert job.result["outcome"] == "hindered"
    assert job.result["message"].endswith(": No space left on device")


@contextmanager
def small(folder: Path, size: str) -> Iterator[None]:
    """Put a small file system in the place of a folder."""
    if os.getuid() != 0:
        pytest.skip("needs root: a small file system is mounted")
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=False)
    if mount.returncode != 0:
        pytest.skip("this machine lets nobody mount a small file system")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_loses_output_but_neither_the_job_nor_its_result(job: Job) -> None:
    with small(job.folder, "128k"):
        # The folder must be full before the program ends, and stay so until the result is written.
        assert job.run(sh("head -c 1000000 /dev/zero; exit 5")) == 5
        assert job.result.items() >= {"exitCode": 5, "message": "output was lost: No space left on device"}.items()


def test_a_newer_head_ends_the_program(job: Job) -> None:
    key = HeadKey(job.folder.parent)
    key.publish(epoch=3)
    job.write(["sleep", "1000"])
    runner = job.start()
    until(job.living, bool)
    key.publish(epoch=4)
    assert runner.wait(40) == 143
    assert job.result["outcome"] == "fenced"


def test_an_attempt_of_an_older_head_does_not_begin(job: Job) -> None:
    HeadKey(job.folder.parent).publish(epoch=4)
    job.write(sh("echo ran"))
    assert job.start().wait(30) == 127
    assert (job.log, job.result["outcome"]) == ("", "fenced")


def unsigned(key: HeadKey) -> None:
    key.publish(epoch=9, signed=False)


def signed_by_another_key(key: HeadKey) -> None:
    rogue = HeadKey(key.folder, "rogue")
    key.head_file.write_bytes(rogue.document(epoch=9))


@pytest.mark.parametrize("moment", ["before the start", "while it runs"])
@pytest.mark.parametrize("forge", [unsigned, signed_by_another_key])
def test_a_newer_head_that_the_site_did_not_sign_ends_nothing(
    job: Job, forge: Callable[[HeadKey], None], moment: str
) -> None:
    key = HeadKey(job.folder.parent)
    key.publish(epoch=3)
    job.write(sh("trap 'exit 5' USR1; echo ready; while :; do sleep 0.02; done"))
    if moment == "before the start":
        forge(key)
    runner = job.start(command=job.hasty_command)
    job.wait_for_log("ready")
    if moment == "while it runs":
        forge(key)
    # Each look is a child that ends beside the program and its children, whose ends the runner waits for.
    job.wait_for_beats(25)
    for process in job.living():
        if process.pid != runner.pid:
            kill(process.pid, signal.SIGUSR1)
    assert runner.wait(30) == 5
    assert job.result["outcome"] == "exited"


def test_a_newer_head_ends_the_program_whatever_else_ends_beside_it(job: Job) -> None:
    key = HeadKey(job.folder.parent)
    key.publish(epoch=3)
    job.write(sh("echo ready; while :; do sleep 0.02; done"))
    runner = job.start(command=job.hasty_command)
    job.wait_for_log("ready")
    key.publish(epoch=4)
    assert runner.wait(30) == 143
    assert job.result["outcome"] == "fenced"


@pytest.mark.parametrize(("code", "outcome"), [(0, "exited"), (7, "fenced")])
def test_a_newer_head_while_leftovers_end_takes_no_success_away(job: Job, code: int, outcome: str) -> None:
    key = HeadKey(job.folder.parent)
    key.publish(epoch=3)
    job.write(sh(f"trap '' TERM; sleep 1000 & echo ready $!; exit {code}"))
    runner = job.start(command=job.patient_command)
    job.wait_for_log("ready")
    left = int(job.log.split()[1])
    until(lambda: [each.pid for each in job.living()], lambda living: living == [left])
    key.publish(epoch=4)
    job.wait_for_beats(3)
    kill(left)
    assert runner.wait(30) == code
    assert job.result.items() >= {"outcome": outcome, "exitCode": code}.items()


def test_a_newer_head_noticed_at_the_end_of_the_program_takes_no_success_away(job: Job) -> None:
    key = HeadKey(job.folder.parent)
    key.publish(epoch=3)
    job.write(sh("trap 'echo asked' TERM; trap 'exit 0' USR1; echo $$ ready; while :; do sleep 0.02; done"))
    runner = job.start(command=job.patient_command)
    job.wait_for_log("ready")
    key.publish(epoch=4)
    job.wait_for_beats(3)
    kill(int(job.log.split()[0]), signal.SIGUSR1)
    assert runner.wait(30) == 0
    # The pulse rarely sets its flag before the runner has looked about after the check of the signature.
    assert job.result["outcome"] == ("fenced" if "asked" in job.log else "exited")


@pytest.mark.parametrize(("limit", "outcome"), [(None, "stopped"), (1, "timed-out")])
def test_a_newer_head_changes_nothing_about_why_a_program_was_asked_to_end(
    job: Job, limit: int | None, outcome: str
) -> None:
    key = HeadKey(job.folder.parent)
    key.publish(epoch=3)
    program = "trap 'echo asked' TERM; trap 'exit 5' USR1; echo $$ ready; while :; do sleep 0.02; done"
    job.write(sh(program), graceSeconds=60, attemptLimitSeconds=limit)
    runner = job.start(command=job.hasty_command)
    job.wait_for_log("ready")
    if limit is None:
        runner.terminate()
    job.wait_for_log("asked")
    key.publish(epoch=4)
    job.wait_for_beats(3)
    kill(int(job.log.split()[0]), signal.SIGUSR1)
    assert runner.wait(30) == 5
    assert job.result.items() >= {"outcome": outcome, "exitCode": 5}.items()


def test_the_heartbeat_says_who_runs(job: Job) -> None:
    job.write(["sleep", "1000"])
    runner = job.start()
    path = job.folder / "heartbeat.json"
    until(path.exists, bool)
    beat = json.loads(path.read_text())
    assert (beat["pid"], beat["submissionId"]) == (runner.pid, job.folder.name)


def test_a_sweep_tells_and_ends_what_is_left(machine: NodeMachine, job: Job) -> None:
    assert sweep(machine, job) == "unclaimed"
    job.write(["sleep", "1000"])
    runner = job.start()
    until(job.living, bool)
    assert sweep(machine, job) == "alive"
    assert sweep(machine, job, end=True) == "gone"
    assert runner.wait(10) == 143
    assert job.living() == []
    assert job.result["outcome"] == "stopped"


def test_what_outlived_its_runner_counts_as_alive(machine: NodeMachine, job: Job) -> None:
    job.write(sh("setsid sleep 1000 & echo ready; wait"))
    runner = job.start()
    job.wait_for_log("ready")
    runner.kill()
    runner.wait()
    until(job.living, lambda living: len(living) == 1)
    assert sweep(machine, job) == "alive"
    assert sweep(machine, job, end=True) == "gone"
    assert job.living() == []


def test_a_claim_cannot_point_a_sweep_at_a_stranger(machine: NodeMachine, job: Job) -> None:
    stranger = subprocess.Popen(["sleep", "1000"])
    try:
        row = processes.row(stranger.pid)
        assert row is not None
        claim = {
            "submissionId": job.folder.name,
            "hostName": os.uname().nodename,
            "bootId": processes.boot_id(),
            **row.process.document(),
            "claimedAt": "x",
        }
        (job.folder / "claim.json").write_text(json.dumps(claim))
        assert sweep(machine, job, end=True) == "gone"
        assert stranger.poll() is None
        (job.folder / "claim.json").write_text(json.dumps({**claim, "hostName": "elsewhere"}))
        assert sweep(machine, job, end=True) == "elsewhere"
    finally:
        stranger.kill()
        stranger.wait()


def test_what_ran_before_this_machine_was_started_again_is_gone(machine: NodeMachine, job: Job) -> None:
    claim = {"submissionId": job.folder.name, "hostName": os.uname().nodename, "bootId": "b0.1", "claimedAt": "x"}
    (job.folder / "claim.json").write_text(json.dumps({**claim, "pid": 1, "startTicks": 1}))
    assert sweep(machine, job) == "elsewhere"
    known = machine.node_dir / SITE / ".boots"
    known.mkdir(mode=0o700)
    (known / "b0.1").touch()
    assert sweep(machine, job) == "gone"
    (job.folder / "claim.json").write_text(json.dumps({**claim, "pid": 1, "startTicks": 1, "bootId": "../term"}))
    assert sweep(machine, job) == "elsewhere"


def test_an_attempt_that_the_daemon_took_is_gone(machine: NodeMachine, job: Job) -> None:
    job.folder.mkdir(exist_ok=True)
    (job.folder / "claim.json").write_text(json.dumps({"submissionId": job.folder.name, "burnt": True}))
    assert sweep(machine, job, end=True) == "gone"


def test_a_job_directory_that_cannot_be_written_runs_nothing(job: Job) -> None:
    job.folder.rmdir()
    assert job.start().wait(30) == 74
