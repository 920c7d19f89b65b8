"""Attacks on the shared directory by who may write there, on the running daemon and on real job runners."""

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.attacks.stage import MACHINES, Stage, document, exchange, job, stage
from tests.e2e.installation import Installation, installation
from tests.gateprogram import packed
from tests.node.jobs import Job
from tests.node.machine import NodeMachine, node_machine, until
from tests.node.signed import HeadKey

MiB = 1 << 20


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage(tmp_path_factory.mktemp("share")) as made:
        yield made


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Path]:
    """A folder outside of the shared directory in which the daemon may write, and must not."""
    folder = tmp_path / "victim"
    (folder / "user").mkdir(parents=True)
    (folder / "user/precious.json").write_text("{}")
    yield folder
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) == ["user", "user/precious.json"]


def test_a_status_folder_that_is_swapped_for_a_link_leads_nowhere(site: Stage, victim: Path) -> None:
    """Somebody swaps `status/` for a link to another folder, over and over, while status is written."""
    link, stop = site.made.shared / "link", threading.Event()
    link.symlink_to(victim)

    def swap() -> None:
        while not stop.is_set():
            exchange(site.made.status, link)

    attacker = threading.Thread(target=swap)
    attacker.start()
    try:
        for number in range(20):
            site.remote.git("read-tree", site.base)
            text = document("User", "alice", f"{{displayName: n{number}}}")
            site.remote.commit({"users/alice.yaml": text.encode()})
            time.sleep(0.1)
    finally:
        stop.set()
        attacker.join()
    if site.made.status.is_symlink():
        exchange(site.made.status, link)
    site.commit({})


def test_a_link_in_the_place_of_the_status_folder_is_not_followed(site: Stage, victim: Path) -> None:
    """Somebody puts a link where `status/` belongs and waits until the daemon is started the next time."""
    made = site.made
    assert made.stop() == 0
    made.status.rename(made.shared / "kept")
    made.status.symlink_to(victim)
    assert "a link or a file stands where a folder belongs" in made.rayops("once", code=5)
    made.status.unlink()
    (made.shared / "kept").rename(made.status)
    made.start()
    until_leader(made)
    site.commit({})


def test_a_spoofed_status_decides_nothing(site: Stage) -> None:
    """Somebody writes that a job has succeeded and that all is as desired; another job waits for the first."""
    files = {
        **MACHINES,
        "teams/a/jobs/first.yaml": job("first"),
        "teams/a/jobs/then.yaml": job("then", "  dependsOn: [first]\n"),
    }
    site.commit(files)
    path = site.made.status / "job/a/first.json"
    honest = json.loads(path.read_text())
    lie = {"state": "Succeeded", "sync": "Synced", "health": "Ready", "reason": "Done", "message": "converged"}
    assert honest["state"] == "Queued"
    path.write_text(json.dumps({**honest, **lie}))
    summary = json.loads((site.made.status / "summary.json").read_text())
    (site.made.status / "summary.json").write_text(json.dumps({**summary, "errors": [], "counts": {}}))
    site.made.stop(signal.SIGKILL)
    site.made.start()
    until_leader(site.made)
    site.commit({**files, "broken.yaml": "a: ["})
    assert "broken.yaml" in site.errors()
    holds = {
        each["object"]: each["reason"]
        for each in json.loads(site.made.rayops("plan", "-o", "json", code=2))["holds"]
    }
    assert holds["job/a/then"] == "WaitsForDependency"
    # What changes is written anew, from what the daemon knows.
    site.commit({**files, "teams/a/jobs/first.yaml": job("first", "  suspend: true\n")})
    assert json.loads(path.read_text())["state"] == "Suspended"


def test_a_term_that_was_deleted_is_written_again(site: Stage) -> None:
    """The term files are deleted under a live daemon, and nobody else is there: it leads on, and says so again."""
    terms = site.made.shared / ".rayops/leader"
    number, before = max(int(path.name) for path in terms.iterdir()), overtaken(site.made)
    for path in terms.iterdir():
        path.unlink()
    site.commit({})
    assert [path.name for path in terms.iterdir()] == [str(number)]
    assert overtaken(site.made) == before


def test_a_changed_node_program_is_run_by_nobody_and_put_right(site: Stage, tmp_path: Path) -> None:
    """A job replaces the program that all machines run, over and over, while the daemon asks a machine."""
    made, evil = site.made, tmp_path / "evil.pyz"
    packed(f"open({str(tmp_path / 'trace')!r}, 'w')", evil)
    (program,) = (made.shared / ".rayops/bin").iterdir()
    good, stop = program.read_bytes(), threading.Event()

    def replace() -> None:
        while not stop.wait(0.002):
            draft = program.with_suffix(".draft")
            draft.write_bytes(evil.read_bytes())
            draft.replace(program)

    attacker = threading.Thread(target=replace)
    attacker.start()
    try:
        site.commit({"cluster.yaml": MACHINES["cluster.yaml"].replace("suspend: true, ", "")})
        made.until_file(made.status / "cluster/main.json", "not the one that the daemon put there")
    finally:
        stop.set()
        attacker.join()
    made.until_file(made.home / "daemon.log", "put right")
    made.until_file(made.status / "cluster/main.json", "no Ray")
    assert program.read_bytes() == good
    assert not (tmp_path / "trace").exists()


def test_what_machines_read_is_put_right_at_the_start(site: Stage) -> None:
    """While the daemon is away, its program becomes a gigabyte, and the key of head files a link."""
    made = site.made
    assert made.stop() == 0
    (program,) = (made.shared / ".rayops/bin").iterdir()
    good, signers = program.read_bytes(), made.shared / ".rayops/allowed_signers"
    key = signers.read_bytes()
    os.truncate(program, 1 << 30)
    signers.unlink()
    signers.symlink_to("/etc/passwd")
    made.start()
    until_leader(made)
    assert (program.read_bytes(), signers.read_bytes(), signers.is_symlink()) == (good, key, False)


@contextmanager
def stopped(made: Installation) -> Iterator[None]:
    """Stop the daemon in its tracks; let it go on when another one leads, and see that it acts no more."""
    first = made.daemon
    assert first is not None
    first.send_signal(signal.SIGSTOP)
    try:
        yield
        made.start()
        until_leader(made)
        before = overtaken(made)
        first.send_signal(signal.SIGCONT)
        until(lambda: overtaken(made), lambda times: times > before, 60)
    finally:
        first.send_signal(signal.SIGCONT)
        first.terminate()
        assert first.wait(30) == 0


def test_a_paused_daemon_whose_lock_is_gone_acts_no_more(site: Stage) -> None:
    """The lock and all terms are deleted under a live daemon, which is stopped until another one has taken over."""
    made = site.made
    with stopped(made):
        locks = [made.home / "state/daemon.lock", made.home / "state/mirror/lock"]
        for path in [*locks, *(made.shared / ".rayops/leader").iterdir()]:
            path.unlink()
    site.commit({})
    assert made.daemon is not None
    assert beat(made)["pid"] == made.daemon.pid


def test_a_daemon_whose_term_was_taken_acts_no_more(site: Stage, tmp_path: Path) -> None:
    """Terms and anchor are forged so that a second daemon, with yesterday's ledger, takes the same term."""
    made = site.made
    assert made.stop() == 0
    yesterday = tmp_path / "yesterday"
    subprocess.run(["cp", "-a", made.home / "state", yesterday], check=True)
    anchor = (made.shared / ".rayops/site.json").read_bytes()
    made.start()
    until_leader(made)
    site.commit({})
    with stopped(made):
        for path in (made.shared / ".rayops/leader").iterdir():
            path.unlink()
        (made.shared / ".rayops/site.json").write_bytes(anchor)
        settings = made.home / "rayops.toml"
        settings.write_text(settings.read_text().replace(f"{made.home}/state", str(yesterday)))
    site.commit({})
    assert made.daemon is not None
    assert beat(made)["pid"] == made.daemon.pid


def beat(made: Installation) -> dict[str, object]:
    """Return what the daemon said last about itself."""
    return made.object("heartbeat") or {}


def overtaken(made: Installation) -> int:
    """Return how often a daemon has said that another one leads."""
    return (made.home / "daemon.log").read_text().count("overtaken")


def until_leader(made: Installation) -> None:
    """Wait until the daemon that was started last says that it leads."""
    assert made.daemon is not None
    pid = made.daemon.pid
    until(lambda: beat(made).get("pid"), lambda found: found == pid, 60)


@contextmanager
def small(folder: Path) -> Iterator[None]:
    """Put a file system of two megabytes in the place of a folder."""
    if os.geteuid() != 0:
        pytest.skip("mounting a tmpfs needs root")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], check=False).returncode:
        pytest.skip("this container may not mount")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def test_a_share_that_a_tenant_fills_stops_nothing_but_status(tmp_path: Path) -> None:
    """A tenant fills the shared file system: the daemon goes on, stops safely, and tells all once there is room."""
    with installation() as made, small(made.shared):
        made.commit("Add alice", {"alice.yaml": document("User", "alice", "{}")})
        made.start()
        made.until("user/alice", "Ready")
        fill(made.shared / "hoard")
        made.commit("Add bob", {"bob.yaml": document("User", "bob", "{}")})
        made.until_file(made.home / "daemon.log", "no space is left")
        assert made.object("user/bob") is None
        assert made.stop() == 0
        said = made.rayops("once", code=6)
        assert "no space is left" in said
        (made.shared / "hoard").unlink()
        made.start()
        made.until("user/bob", "Ready")
        assert made.stop() == 0


def fill(path: Path) -> None:
    """Write until nothing more fits."""
    with path.open("wb", buffering=0) as hoard, suppress(OSError):
        for size in (1 << 16, 1 << 12, 1):
            with suppress(OSError):
                while hoard.write(b"x" * size):
                    pass


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[NodeMachine]:
    with node_machine(tmp_path) as made:
        yield made


@pytest.fixture
def runner(tmp_path: Path, machine: NodeMachine) -> Iterator[Job]:
    """An attempt of epoch 3 whose runner begins, once a head file says what is in force."""
    made = Job(tmp_path / "jobs/a.x-0123abcd-1", machine.program)
    made.folder.mkdir(parents=True)
    yield made
    made.close()


def unsigned(key: HeadKey) -> None:
    key.publish(epoch=9, signed=False)


def of_another_cluster(key: HeadKey) -> None:
    key.publish(epoch=9, cluster="other")


def old(key: HeadKey) -> None:
    key.publish(epoch=2)


def linked(key: HeadKey) -> None:
    key.publish(epoch=9)
    key.head_file.rename(key.folder / "real")
    key.head_file.symlink_to(key.folder / "real")


def pipe(key: HeadKey) -> None:
    os.mkfifo(key.head_file)


def huge(key: HeadKey) -> None:
    key.publish(epoch=9)
    os.truncate(key.head_file, 1 << 30)


def everybodys(key: HeadKey) -> None:
    key.publish(epoch=9)
    key.head_file.chmod(0o664)


def of_another_key(key: HeadKey) -> None:
    HeadKey(key.folder, "rogue").publish(epoch=9)


@pytest.mark.parametrize(
    "forge", [unsigned, of_another_cluster, old, linked, pipe, huge, everybodys, of_another_key]
)
def test_a_rogue_head_file_ends_no_job(runner: Job, forge: Callable[[HeadKey], None]) -> None:
    """Whoever writes to the share publishes another head: without signature, old, as a link, a pipe, with a GB.

    The runner looks at it before the start, and many times while the program runs.
    """
    key = HeadKey(runner.folder.parent)
    key.allow()
    runner.write(["sh", "-c", "for each in $(seq 60); do sleep 0.02; done; echo ran"])
    forge(key)
    assert runner.start(command=runner.hasty_command).wait(30) == 0
    assert runner.log == "ran\n"


def test_an_attempt_that_was_changed_after_its_submission_runs_nothing(runner: Job) -> None:
    """A job changes what another one, that waits for its runner, is to run."""
    runner.write(["sh", "-c", "echo honest"])
    submitted = runner.digest
    runner.write(["sh", "-c", "echo changed"])
    runner.digest = submitted
    assert runner.start().wait(30) == 78
    assert (runner.log, runner.result["outcome"]) == ("", "not-started")
    assert "changed after its submission" in runner.result["message"]
