"""The gate as a child process: ended with its deadline, bare environment, told apart from the remote one."""

import os
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from reconciler.clock import SystemClock
from reconciler.model.machine import Machine
from reconciler.model.outcome import Done, FailureKind, NotDone, Outcome, Unknown
from reconciler.remote.local import LocalGate
from tests.gateprogram import gate_command

HERE = Machine("node-1", "ray")
AMPLE = timedelta(seconds=30)
SHORT = timedelta(seconds=1)


def call(verb: str, timeout: timedelta = AMPLE, python: str = sys.executable, **args: Any) -> Outcome:
    gate = LocalGate(gate_command(python), SystemClock())
    request = {"protocol": 1, "verb": verb, "site": "ab12", "term": 1, "nodeDir": "~/.rayops", "args": args}
    return gate.call(HERE, request, timeout)


def test_a_hung_gate_is_killed_with_its_deadline(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    assert isinstance(call("hang", SHORT, mark=str(mark)), Unknown)
    assert not Path(f"/proc/{mark.read_text()}").exists()


def test_a_gate_that_drips_for_ever_is_killed_with_its_deadline() -> None:
    assert isinstance(call("drip", SHORT), Unknown)


def test_a_process_that_the_gate_leaves_behind_delays_no_answer() -> None:
    clock = SystemClock()
    start = clock.now()
    assert call("keep", seconds=5) == Done({})
    assert clock.now().since(start) < timedelta(seconds=4)


@pytest.mark.parametrize(
    ("verb", "why"), [("complain", "status 3: last words [31mNone"), ("kill-itself", "status -9")]
)
def test_a_gate_that_fails_after_its_answer_is_unknown(verb: str, why: str) -> None:
    outcome = call(verb)
    assert isinstance(outcome, Unknown)
    assert why in outcome.message


@pytest.mark.parametrize("python", ["no-such-python", "/etc/passwd"])
def test_a_python_that_cannot_be_run_is_refused(python: str) -> None:
    outcome = call("echo", python=python)
    assert isinstance(outcome, NotDone)
    assert outcome.kind is FailureKind.REFUSED


def test_no_variable_of_ours_reaches_the_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_CONNECTION", "canary")
    outcome = call("echo")
    assert isinstance(outcome, Done)
    assert outcome.result["via"] is None


def test_calls_leave_no_descriptor_process_or_thread_behind() -> None:
    def counts() -> tuple[int, int]:
        return len(list(Path("/proc/self/fd").iterdir())), threading.active_count()

    before = counts()
    for verb in ("echo", "huge", "complain", "kill-itself"):
        call(verb)
    call("drip", SHORT)
    assert counts() == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_the_deadline_holds_on_the_boot_clock() -> None:
    start = time.clock_gettime(time.CLOCK_BOOTTIME)
    call("drip", SHORT)
    assert 1.0 <= time.clock_gettime(time.CLOCK_BOOTTIME) - start < 3.0
