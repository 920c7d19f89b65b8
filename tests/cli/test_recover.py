"""`rayops recover`: what the world still shows becomes a ledger again, and only when somebody says so."""

import json
import shutil
from pathlib import Path

import pytest

from reconciler.cli.exit import Exit
from tests.cli.premises import Premises


@pytest.fixture
def premises(tmp_path: Path) -> Premises:
    """Return an installation that led once and lost its ledger."""
    made = Premises(tmp_path)
    assert made.rayops("once").code == Exit.DONE
    made.lose_ledger()
    return made


def test_recovering_shows_and_changes_nothing(premises: Premises) -> None:
    before = premises.everything()
    said = premises.rayops("recover")
    assert said.code == Exit.DONE
    assert said.lines[-1].startswith("site ")
    assert "0 jobs (0 may run)" in said.lines[-1]
    assert said.err == "nothing was changed; --adopt puts this ledger in force\n"
    after = premises.everything()
    changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    assert {path for path in changed if "mirror" not in path} <= {f"{premises.state}/daemon.lock"}
    assert premises.rayops("once").code == Exit.REFUSED


def test_an_adopted_ledger_is_in_force_for_the_same_site(premises: Premises) -> None:
    site = json.loads((premises.shared / ".rayops/site.json").read_text())["site"]
    said = premises.rayops("recover", "--adopt")
    assert (said.code, said.err) == (Exit.DONE, "this ledger is in force now; start the daemon\n")
    assert f"site {site}: " in said.lines[-1]
    assert premises.rayops("once").code == Exit.DONE
    assert json.loads((premises.shared / ".rayops/site.json").read_text())["site"] == site


def test_an_attempt_that_may_run_is_remembered(premises: Premises) -> None:
    folder = premises.shared / "jobs/rl.ppo-01234567-3/config"
    folder.mkdir(parents=True)
    attempt = {
        "protocol": 1,
        "submissionId": "rl.ppo-01234567-3",
        "cluster": "main",
        "epoch": 1,
        "argv": ["train"],
        "workingDir": None,
        "env": {"RAYOPS_NODES": "h20-01"},
        "graceSeconds": 30,
        "attemptLimitSeconds": None,
    }
    (folder / "attempt.json").write_text(json.dumps(attempt))
    said = premises.rayops("recover")
    assert said.code == Exit.DONE
    assert said.lines[-1].endswith("1 jobs (1 may run), 1 used attempt numbers")


def test_without_desired_state_nothing_is_rebuilt(premises: Premises) -> None:
    shutil.move(premises.repo.root, premises.home / "elsewhere")
    shutil.rmtree(premises.state / "mirror")
    for words in ((), ("--adopt",)):
        said = premises.rayops("recover", *words)
        assert (said.code, said.out) == (Exit.REFUSED, "")
        assert not (premises.state / "ledger").exists()


def test_an_older_ledger_stays_as_a_backup(premises: Premises) -> None:
    shutil.copytree(premises.home / "lost ledger", premises.state / "ledger")
    (current,) = (premises.state / "ledger").glob("journal-*")
    current.write_bytes(b"torn\n" + current.read_bytes())
    assert premises.rayops("once").code == Exit.REFUSED
    torn = current.read_bytes()
    assert premises.rayops("recover", "--adopt").code == Exit.DONE
    assert current.read_bytes() == torn
    assert premises.rayops("once").code == Exit.DONE
