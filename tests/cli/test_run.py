"""`rayops run`, `once`, `sync` and `accept`: one daemon per state directory, and none without a usable ledger."""

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from reconciler.app import daemon_pid
from reconciler.app.parts import only_user
from reconciler.cli.exit import Exit
from reconciler.clock import SystemClock
from reconciler.config import read_settings
from tests.cli.premises import Premises
from tests.cli.site import call

QUICK = '[daemon]\nresync = "1s"\nheartbeat = "1s"\n'
# A start takes two seconds on a quiet machine, and was seen to take 30 on one that stood still.
PATIENCE_SECONDS = 120.0
DRIVING = ("run", "once", "sync", "plan", "recover")


@pytest.fixture
def premises(tmp_path: Path) -> Premises:
    return Premises(tmp_path, QUICK)


class Daemon:
    """`rayops run` as its own process."""

    def __init__(self, premises: Premises) -> None:
        self.log = premises.home / "daemon.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "reconciler", "--config", premises.file, "run"],
                cwd=Path(__file__).parents[2],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def until(self, happens: Callable[[], bool]) -> None:
        """Wait until the daemon, which is a process of its own and has its own clock, has done something."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not happens():
            assert self.process.poll() is None, f"ended with {self.process.returncode}\n{self.log.read_text()}"
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=30)


@contextmanager
def running(premises: Premises) -> Iterator[Daemon]:
    started = Daemon(premises)
    try:
        yield started
    finally:
        if started.process.poll() is None:
            started.process.kill()
        started.process.wait(timeout=30)


@pytest.fixture
def daemon(premises: Premises) -> Iterator[Daemon]:
    with running(premises) as started:
        yield started


def is_read_only(premises: Premises) -> bool:
    """Say whether readers are told that the daemon touches nothing."""
    try:
        summary = json.loads((premises.status / "summary.json").read_text())
    except FileNotFoundError:
        return False
    return summary["readOnly"] is not None


def leads(premises: Premises) -> Callable[[], bool]:
    return (premises.status / "job/rl/ppo.json").exists


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_daemon_between_two_passes(premises: Premises, daemon: Daemon, number: int) -> None:
    daemon.until(leads(premises))
    assert daemon.end(number) == 0
    assert "stopped between two passes" in daemon.log.read_text()
    assert daemon_pid(read_settings(premises.file)) is None
    # Nothing is half written: the next one leads at once.
    assert premises.rayops("once").code == Exit.DONE


def test_a_second_daemon_is_refused_and_the_first_goes_on(premises: Premises, daemon: Daemon) -> None:
    daemon.until(leads(premises))
    for verb in ("run", "once", "recover"):
        said = premises.rayops(verb)
        assert said.code == Exit.REFUSED
        assert said.err == f"another daemon (pid {daemon.process.pid}) uses {premises.state}; stop it first\n"
    # Looking needs no lead.
    assert premises.rayops("plan").code == Exit.DONE
    assert daemon.end() == 0


def test_only_a_daemon_is_signalled(premises: Premises) -> None:
    premises.state.mkdir()
    heard = list[int]()
    before = signal.signal(signal.SIGUSR1, lambda number, _: heard.append(number))
    try:
        with only_user(read_settings(premises.file), "once"):
            assert premises.rayops("sync").code == Exit.UNREACHABLE
            assert premises.rayops("accept", "a" * 40).code == Exit.DONE
            said = premises.rayops("run").err
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert said == f"`rayops once` (pid {os.getpid()}) uses {premises.state}; wait until it has ended\n"
    assert heard == []


def test_sync_makes_the_daemon_look_at_its_source(premises: Premises, daemon: Daemon) -> None:
    daemon.until(leads(premises))
    bob = "apiVersion: rayops/v1\nkind: User\nmetadata: {name: bob}\nspec: {}\n"
    premises.commit({"users/bob.yaml": bob})
    said = premises.rayops("sync")
    assert (said.code, said.err) == (Exit.DONE, f"daemon {daemon.process.pid} looks at its source now\n")
    daemon.until((premises.status / "user/bob.json").exists)


def test_a_daemon_without_its_ledger_waits_read_only_until_it_is_back(premises: Premises) -> None:
    premises.rayops("once")
    kept = premises.lose_ledger()
    daemon = Daemon(premises)
    try:
        daemon.until(lambda: is_read_only(premises))
        beat = premises.status / "heartbeat.json"
        before = json.loads(beat.read_text())["at"]
        daemon.until(lambda: json.loads(beat.read_text())["at"] > before)
        assert not (premises.state / "ledger").exists()
        events = [path.read_text() for path in (premises.status / "history").iterdir()]
        assert "".join(events).count("holds no ledger") == 1
        shutil.move(kept, premises.state / "ledger")
        daemon.until(lambda: not is_read_only(premises))
        assert daemon.end() == 0
    finally:
        daemon.process.kill()
        daemon.process.wait(timeout=30)


def test_a_daemon_that_finds_its_share_unmounted_says_so_and_goes_on_once_it_is_mounted(premises: Premises) -> None:
    premises.file.write_text(
        premises.file.read_text().replace(str(premises.status), str(premises.shared / "status"))
    )
    premises.rayops("once")
    share, point = premises.home / "share", premises.shared
    shutil.move(point, share)
    point.mkdir()
    premises.status = point / "status"
    daemon = Daemon(premises)
    try:
        daemon.until(lambda: is_read_only(premises))
        assert "NoAnchor" in (premises.status / "summary.json").read_text()
        assert not (point / ".rayops").exists()
        shutil.move(point, premises.home / "under the mount")
        shutil.move(share, point)
        daemon.until(lambda: "leading" in daemon.log.read_text())
        beat = premises.status / "heartbeat.json"
        daemon.until(lambda: json.loads(beat.read_text())["pid"] == daemon.process.pid)
        assert not is_read_only(premises)
        assert (premises.status / "job/rl/ppo.json").exists()
        assert daemon.end() == 0
    finally:
        daemon.process.kill()
        daemon.process.wait(timeout=30)


def test_a_daemon_that_waits_read_only_ends_when_it_is_told(premises: Premises) -> None:
    premises.rayops("once")
    premises.lose_ledger()
    daemon = Daemon(premises)
    try:
        daemon.until(lambda: is_read_only(premises))
        assert daemon.end() == 0
    finally:
        daemon.process.kill()
        daemon.process.wait(timeout=30)


def test_one_pass_without_a_ledger_is_refused_and_told(premises: Premises) -> None:
    premises.rayops("once")
    premises.lose_ledger()
    said = premises.rayops("once")
    assert (said.code, said.out) == (Exit.REFUSED, "")
    assert "recover" in said.err
    assert is_read_only(premises)
    assert not (premises.state / "ledger").exists()


@pytest.fixture
def lost(premises: Premises, tmp_path: Path) -> Premises:
    """Give the same site to an operator whose settings name another state directory, an empty one."""
    made = copy(premises)
    made.state, made.home = tmp_path / "elsewhere", tmp_path / "lost"
    made.home.mkdir()
    made.file = made.home / "rayops.toml"
    made.file.write_text(premises.file.read_text().replace(f'"{premises.state}"', f'"{made.state}"'))
    return made


def told(premises: Premises) -> str:
    """Return all that readers can read of whether the daemon acts."""
    events = [path.read_text() for path in sorted((premises.status / "history").iterdir())]
    return (premises.status / "summary.json").read_text() + "".join(events)


def beat(premises: Premises) -> Mapping[str, Any]:
    """Return who spoke last, and when."""
    said: Mapping[str, Any] = json.loads((premises.status / "heartbeat.json").read_text())
    return said


def speaks(premises: Premises, daemon: Daemon) -> Callable[[], bool]:
    """Return whether a daemon is heard, a second or more from now."""
    begin = datetime.now(UTC)
    return lambda: (
        beat(premises)["pid"] == daemon.process.pid and datetime.fromisoformat(beat(premises)["at"]) > begin
    )


def test_a_daemon_that_may_not_act_says_nothing_to_the_readers_of_a_living_leader(
    premises: Premises, daemon: Daemon, lost: Premises
) -> None:
    daemon.until((premises.status / "heartbeat.json").exists)
    said = lost.rayops("once")
    assert said.code == Exit.REFUSED
    assert re.search(rf"holds no ledger.*:{daemon.process.pid} leads this site", said.err)
    said = lost.rayops("recover", "--adopt")
    assert (said.code, said.out) == (Exit.REFUSED, "")
    assert re.search(rf":{daemon.process.pid} leads this site .* stop it first", said.err)
    assert not (lost.state / "ledger").exists()
    with running(lost) as refused:
        refused.until(lambda: "holds no ledger" in refused.log.read_text())
        # It looks again at every heartbeat of a second.
        for _ in range(3):
            daemon.until(speaks(premises, daemon))
        assert refused.log.read_text().count("holds no ledger") == 1
    assert "holds no ledger" not in told(premises)


def test_a_daemon_that_may_not_act_tells_readers_once_the_leader_has_stopped_until_the_next_one_leads(
    premises: Premises, daemon: Daemon, lost: Premises
) -> None:
    daemon.until((premises.status / "heartbeat.json").exists)
    with running(lost) as refused:
        refused.until(lambda: "holds no ledger" in refused.log.read_text())
        assert daemon.end() == 0
        refused.until(lambda: is_read_only(premises))
        refused.until(speaks(premises, refused))
        with running(premises) as following:
            following.until(speaks(premises, following))
            following.until(lambda: not is_read_only(premises))
            following.until(speaks(premises, following))
            assert not is_read_only(premises)
    assert told(premises).count("holds no ledger") == 1


def test_one_pass_says_what_it_did(premises: Premises) -> None:
    said = premises.rayops("once")
    assert said.code == Exit.DONE
    assert any(line.startswith(". job/rl/ppo  ClusterNotReady: ") for line in said.lines), said.out
    assert (premises.status / "job/rl/ppo.json").exists()


def test_one_pass_without_a_source_is_the_answer_no(premises: Premises) -> None:
    shutil.move(premises.repo.root, premises.home / "elsewhere")
    said = premises.rayops("once")
    assert (said.code, said.out) == (Exit.NO, "! the source has not given any revision yet\n")


def test_sync_without_a_daemon_says_so(premises: Premises) -> None:
    for _ in range(2):
        said = premises.rayops("sync")
        message = "no daemon runs on this machine for this state directory\n"
        assert (said.code, said.err) == (Exit.UNREACHABLE, message)
        premises.rayops("once")


def test_a_daemon_that_cannot_be_signalled_is_no_bug(premises: Premises) -> None:
    premises.state.mkdir()
    # Process numbers end far below: whoever wrote this is gone, or lives where we cannot see him.
    (premises.state / "daemon.lock").write_text(f"{2**22 + 1}\n")
    descriptor = os.open(premises.state / "daemon.lock", os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        said = premises.rayops("sync")
    finally:
        os.close(descriptor)
    assert said.code == Exit.REFUSED
    assert "cannot be signalled from here: No such process" in said.err


@pytest.mark.parametrize("verb", DRIVING)
def test_without_settings_nothing_is_driven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    monkeypatch.chdir(tmp_path)
    if Path("/etc/rayops/rayops.toml").exists():
        pytest.skip("this machine has settings in /etc")
    said = call(verb, clock=SystemClock())
    assert (said.code, said.out) == (Exit.USAGE, "")
    assert "no settings file" in said.err


@pytest.mark.parametrize("verb", DRIVING)
def test_wrong_settings_are_named_all_at_once(premises: Premises, verb: str) -> None:
    text = premises.file.read_text().replace("transport", "transprt").replace("1s", "soon", 1)
    premises.file.write_text(text)
    said = premises.rayops(verb)
    assert (said.code, len(said.err.splitlines())) == (Exit.USAGE, 2)
    assert "machines.transprt: no such setting (did you mean transport?)" in said.err
    assert "daemon.resync: expected a length of time" in said.err
    assert not premises.state.exists()


@pytest.mark.parametrize("verb", ["run", "once", "plan", "recover"])
def test_a_share_that_is_not_mounted_is_named(premises: Premises, verb: str) -> None:
    premises.shared.rmdir()
    said = premises.rayops(verb)
    assert (said.code, said.out) == (Exit.UNREACHABLE, "")
    assert str(premises.shared) in said.err
    assert not premises.shared.exists()


@pytest.mark.parametrize("verb", DRIVING)
def test_a_state_directory_that_cannot_be_one_is_named(premises: Premises, verb: str) -> None:
    premises.state.write_text("a file")
    said = premises.rayops(verb)
    assert said.code == Exit.REFUSED
    assert f"{premises.state} cannot be used as the state directory" in said.err


@pytest.mark.parametrize(
    ("setting", "wrong"),
    [('transport = "local"', 'transport = "ssh"'), ("[paths]", 'branch = "--upload-pack"\n\n[paths]')],
)
def test_a_daemon_that_cannot_lead_makes_nobody_stand_down(premises: Premises, setting: str, wrong: str) -> None:
    premises.rayops("once")
    leaders = sorted((premises.shared / ".rayops/leader").iterdir())
    premises.file.write_text(premises.file.read_text().replace(setting, wrong))
    assert premises.rayops("once").code == Exit.REFUSED
    assert sorted((premises.shared / ".rayops/leader").iterdir()) == leaders


def test_an_operator_accepts_one_whole_revision(premises: Premises) -> None:
    assert premises.rayops("accept", "4f2c9d1").code == Exit.USAGE
    assert premises.rayops("accept", "../" * 13 + "x").code == Exit.USAGE
    said = premises.rayops("accept", "4f" * 20)
    assert (said.code, said.err) == (Exit.DONE, f"{'4f' * 20} may be applied now\n")
    assert [path.name for path in (premises.state / "accepted").iterdir()] == ["4f" * 20]
