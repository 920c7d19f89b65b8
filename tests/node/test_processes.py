import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.node import processes
from reconciler.node.processes import Process
from tests.node.machine import until


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "1000"], env={"PATH": os.environ["PATH"], "MARK_A": "x=y"})
    yield process
    process.kill()
    process.wait()


def of(child: subprocess.Popen[bytes]) -> Process:
    row = processes.row(child.pid)
    assert row is not None
    return row.process


def test_a_process_is_alive_until_it_ends_and_a_zombie_is_not(child: subprocess.Popen[bytes]) -> None:
    me = of(child)
    assert processes.alive(me)
    child.kill()
    until(lambda: processes.alive(me), lambda alive: not alive)
    assert Path(f"/proc/{child.pid}").exists()  # a zombie still: nobody waited for it


@pytest.fixture(params=["new", "old"])
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "old":
        monkeypatch.delattr(os, "pidfd_open")


@pytest.mark.usefixtures("kernel")
def test_another_start_time_is_another_process(child: subprocess.Popen[bytes]) -> None:
    stranger = Process(child.pid, of(child).start_ticks + 1)
    assert not processes.alive(stranger)
    processes.send(stranger, signal.SIGKILL)
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(0.5)  # it takes a moment to die of a signal


@pytest.mark.usefixtures("kernel")
def test_exactly_this_process_is_signalled(child: subprocess.Popen[bytes]) -> None:
    processes.send(of(child), signal.SIGTERM)
    assert child.wait(10) == -signal.SIGTERM
    processes.send(Process(child.pid, 1), signal.SIGTERM)


# Its first thread ends, and another one works on: the kernel calls the whole process a zombie in its table.
_WITHOUT_FIRST_THREAD = """import ctypes, threading, time
threading.Thread(target=time.sleep, args=(1000,)).start()
print("ready", flush=True)
ctypes.CDLL(None).pthread_exit(None)
"""


def test_a_process_lives_until_its_last_thread_has_ended() -> None:
    program = [sys.executable, "-c", _WITHOUT_FIRST_THREAD]
    environment = {**os.environ, "MARK_A": "threads"}
    with subprocess.Popen(program, stdout=subprocess.PIPE, env=environment) as child:
        try:
            me = of(child)
            until(lambda: Path(f"/proc/{child.pid}/stat").read_text(), lambda text: ") Z " in text)
            assert processes.alive(me)
            assert processes.marks("MARK_A", processes.table())["threads"] == [me]
            assert me in processes.descendants([os.getpid()], processes.table())
            assert processes.end(lambda: [me] if processes.alive(me) else [], 0.2)
            assert child.wait(10) == -signal.SIGTERM
        finally:
            child.kill()


def test_a_hostile_program_name_does_not_confuse_the_table(tmp_path: Path) -> None:
    program = tmp_path / "a) R 1 (b"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([str(program), "1000"]) as child:
        try:
            until(lambda: Path(f"/proc/{child.pid}/comm").read_text(), lambda name: name.startswith("a)"))
            row = processes.row(child.pid)
            assert row is not None
            assert (row.parent, row.living) == (os.getpid(), True)
        finally:
            child.kill()


def test_marks_are_found_by_their_whole_name(child: subprocess.Popen[bytes]) -> None:
    until(lambda: processes.command_line(of(child)), lambda line: line[:1] == ["sleep"])
    rows = processes.table()
    assert processes.marks("MARK_A", rows)["x=y"] == [of(child)]
    assert processes.marks("MARK", rows) == {}
    assert processes.marks("ARK_A", rows) == {}


def test_descendants_are_everything_below() -> None:
    script = "import subprocess, sys; subprocess.run(['sleep', '1000'])"
    with subprocess.Popen([sys.executable, "-c", script]) as child:
        try:
            below = until(
                lambda: processes.descendants([child.pid], processes.table()), lambda found: len(found) == 1
            )
            assert below[0].pid != child.pid
            for each in below:
                processes.send(each, signal.SIGKILL)
        finally:
            child.kill()


def test_ending_kills_what_does_not_end_by_itself() -> None:
    stubborn = ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done"]
    with subprocess.Popen(stubborn, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        me = of(child)
        assert processes.end(lambda: [me] if processes.alive(me) else [], 0.2)
        assert child.wait(10) == -signal.SIGKILL


# Two threads that wait for children, as in the runner: the main one also for orphans, the other one for its own.
_TWO_THREADS = """import subprocess, sys, threading
from reconciler.node import processes
begun, waited = threading.Event(), threading.Event()
codes = []
def own():
    with subprocess.Popen(["sh", "-c", "exit 7"], stdout=subprocess.PIPE) as child:
        child.stdout.read()
        begun.set()
        waited.wait()
        codes.append(child.wait())
thread = threading.Thread(target=own)
thread.start()
begun.wait()
processes.adopt_orphans()
theirs = subprocess.Popen(["sh", "-c", "sh -c 'sleep 0.1; exit 9' & exit 8"], stdout=subprocess.PIPE)
theirs.stdout.read()
found = {}
while not {8, 9} <= set(found.values()):
    found.update(processes.reap())
waited.set()
thread.join()
print(sorted(found.values()), codes)
"""


def test_reaping_leaves_the_children_of_other_threads_to_them() -> None:
    done = subprocess.run([sys.executable, "-c", _TWO_THREADS], capture_output=True, check=True, timeout=30)
    assert done.stdout == b"[8, 9] [7]\n"
