"""What every job runner does with its attempt, and what a sweep finds: without processes, and with real ones."""

from collections.abc import Iterator
from pathlib import Path
from signal import SIGKILL

import pytest

from tests.contract.machine_lab import ID, FakeMachineLab, MachineLab, RealMachineLab, sweep, until


@pytest.fixture(params=["fake", "node program"])
def lab(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MachineLab]:
    made: MachineLab = FakeMachineLab() if request.param == "fake" else RealMachineLab(tmp_path)
    yield made
    made.close()


def ended(lab: MachineLab, seconds: float = 30) -> str:
    """Wait for the result and return the outcome."""
    until(lab, lambda: lab.read("result") is not None, seconds)
    assert not lab.runs()
    result = lab.read("result")
    assert result is not None
    assert result["submissionId"] == ID
    return str(result["outcome"])


@pytest.mark.parametrize("code", [0, 7])
def test_how_a_program_ended_is_told_exactly(lab: MachineLab, code: int) -> None:
    lab.describe(1, code)
    lab.run()
    assert ended(lab) == "exited"
    result = lab.read("result")
    assert result is not None
    assert (result["exitCode"], result["signal"]) == (code, None)
    until(lab, lambda: lab.code() == code)


def test_a_program_that_a_signal_ended_is_told_with_it(lab: MachineLab) -> None:
    lab.describe()
    lab.run()
    lab.kill_program()
    assert ended(lab) == "exited"
    result = lab.read("result")
    assert result is not None
    assert (result["exitCode"], result["signal"]) == (None, SIGKILL)


def test_a_claimed_attempt_is_never_run_again(lab: MachineLab) -> None:
    lab.describe(1)
    lab.run()
    ended(lab)
    before = lab.read("claim"), lab.read("result")
    lab.run()
    until(lab, lambda: lab.code() == 75)
    assert (lab.read("claim"), lab.read("result")) == before


def test_an_attempt_that_the_daemon_took_is_gone(lab: MachineLab) -> None:
    lab.describe()
    lab.write("claim", {"submissionId": ID, "burnt": True})
    lab.run()
    until(lab, lambda: lab.code() == 75)
    assert not lab.runs()
    assert sweep(lab, end=True) == "gone"


def test_a_stop_gives_the_program_its_grace(lab: MachineLab) -> None:
    lab.describe(stop=1)
    lab.run()
    lab.ask_to_end()
    lab.wait(0.3)
    assert lab.runs()
    assert ended(lab) == "stopped"


def test_a_program_that_ignores_the_stop_is_killed_after_its_grace(lab: MachineLab) -> None:
    lab.describe(stop=600)
    lab.run()
    lab.ask_to_end()
    assert ended(lab) == "stopped"


def test_the_attempt_limit_ends_the_program(lab: MachineLab) -> None:
    lab.describe(attemptLimitSeconds=1)
    lab.run()
    assert ended(lab) == "timed-out"


def test_what_outlived_its_runner_counts_as_alive(lab: MachineLab) -> None:
    lab.describe()
    lab.run()
    lab.kill_runner()
    lab.wait(1)
    assert lab.runs()
    assert sweep(lab) == "alive"
    assert sweep(lab, end=True) == "gone"
    assert not lab.runs()
    assert lab.read("result") is None


def test_a_bad_description_runs_nothing_and_says_so(lab: MachineLab) -> None:
    lab.run()
    until(lab, lambda: lab.code() == 78)
    assert ended(lab) == "not-started"


def test_a_machine_that_lacks_something_is_not_the_jobs_fault(lab: MachineLab) -> None:
    lab.exhaust()
    lab.describe()
    lab.run()
    until(lab, lambda: lab.code() == 127)
    assert ended(lab) == "hindered"


def test_a_description_that_somebody_changed_runs_nothing(lab: MachineLab) -> None:
    lab.describe()
    description = lab.read("config/attempt")
    assert description is not None
    lab.write("config/attempt", {**description, "graceSeconds": 3})
    lab.run()
    until(lab, lambda: lab.code() == 78)
    assert ended(lab) == "not-started"


@pytest.mark.parametrize(("signed", "outcome"), [(True, "fenced"), (False, "exited")])
def test_an_attempt_of_an_older_head_does_not_begin(lab: MachineLab, signed: bool, outcome: str) -> None:
    lab.publish(4, signed=signed)
    lab.describe(1)
    lab.run()
    assert ended(lab) == outcome


def test_a_newer_head_ends_the_program(lab: MachineLab) -> None:
    lab.publish(3)
    lab.describe()
    lab.run()
    lab.publish(4, signed=False)
    lab.publish(3)
    assert lab.runs()
    lab.publish(4)
    assert ended(lab, 40) == "fenced"


def test_a_sweep_tells_and_ends_what_is_left(lab: MachineLab) -> None:
    assert sweep(lab) == "unclaimed"
    lab.describe()
    lab.run()
    assert sweep(lab) == "alive"
    assert lab.runs()
    assert sweep(lab, end=True) == "gone"
    assert not lab.runs()
    assert ended(lab) == "stopped"


def test_what_ran_before_this_machine_was_started_again_is_gone(lab: MachineLab) -> None:
    lab.describe()
    lab.run()
    lab.restart_machine()
    until(lab, lambda: not lab.runs())
    assert sweep(lab) == "gone"
    assert lab.read("result") is None
