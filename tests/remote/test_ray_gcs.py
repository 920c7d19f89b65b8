"""The GCS child and its parent: no wait without an end, no process left behind, whatever the child does."""

import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from reconciler.clock import SystemClock
from reconciler.model.ray import HeadAddress
from reconciler.remote.budget import Budget
from reconciler.remote.gcs import Failed, GcsChildren, GcsReply, Told

CLOCK = SystemClock()
HEAD = HeadAddress("main", "127.0.0.1", 9, 1, 1)
NEVER_LEFT = '{"failed": "UNAVAILABLE", "message": "failed to connect to all addresses; x"}'
READY = 'print(\'{"ok": {"ready": true}}\', flush=True)\n'
# Programs that stand in for the child; each sees the request as `line`.
CHILDREN = {
    "echo": 'print(json.dumps({"ok": {"pid": os.getpid(), "asked": json.loads(line)}}), flush=True)',
    "refusal": 'print(\'{"failed": "UNAUTHENTICATED", "message": "bad\\\\u001b[31m token"}\', flush=True)',
    "unreached": "print(NEVER_LEFT, flush=True)",
    "silence": "time.sleep(60)",
    "death": "os._exit(1)",
    "rubbish": 'print("{{{", flush=True)',
    "another form": "print('[1]', flush=True)",
    "half a line": 'sys.stdout.write("{"); sys.stdout.flush(); time.sleep(60)',
    "deafness": "time.sleep(60)",
}


class Pythons:
    """Makes stand-in interpreters; `use` says which one the cluster's next child is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = ""

    def use(self, name: str, program: str) -> None:
        path = self.folder / name.replace(" ", "-")
        path.write_text(
            f"#!{sys.executable}\nimport json, os, sys, time\nNEVER_LEFT = {NEVER_LEFT!r}\n{program}\n",
            encoding="utf-8",
        )
        path.chmod(0o755)
        self.now = str(path)

    def use_child(self, name: str) -> None:
        self.use(name, READY + f"for line in sys.stdin:\n    {CHILDREN[name]}")

    def __call__(self, cluster: str) -> str:
        return self.now


@pytest.fixture
def pythons(tmp_path: Path) -> Pythons:
    return Pythons(tmp_path)


@pytest.fixture
def children(pythons: Pythons) -> Iterator[GcsChildren]:
    made = GcsChildren(CLOCK, pythons)
    yield made
    made.close()


def ask(children: GcsChildren, seconds: float = 5, *, cluster: str = "main", jobs: int = 0) -> GcsReply:
    head = HeadAddress(cluster, HEAD.host, HEAD.gcs_port, 1, 1)
    budget = Budget.starting_now(CLOCK, timedelta(seconds=seconds))
    return children.ask(head, "canary-token", {"verb": "look", "jobs": ["x" * 100] * jobs}, budget)


def pid_of(reply: GcsReply) -> int:
    assert isinstance(reply, Told), reply
    return int(reply.result["pid"])


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_one_child_answers_many_questions(children: GcsChildren, pythons: Pythons) -> None:
    pythons.use_child("echo")
    assert pid_of(ask(children)) == pid_of(ask(children))


def test_the_token_travels_only_on_the_pipe(children: GcsChildren, pythons: Pythons) -> None:
    pythons.use_child("echo")
    reply = ask(children)
    pid = pid_of(reply)
    assert isinstance(reply, Told)
    assert reply.result["asked"]["token"] == "canary-token"
    for source in ("environ", "cmdline"):
        assert b"canary" not in Path(f"/proc/{pid}/{source}").read_bytes()


def test_nothing_of_our_environment_reaches_the_child(
    children: GcsChildren, pythons: Pythons, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "evil:6379")
    pythons.use_child("echo")
    assert b"evil" not in Path(f"/proc/{pid_of(ask(children))}/environ").read_bytes()


@pytest.mark.parametrize("name", ["silence", "death", "half a line", "deafness"])
def test_a_child_that_gives_no_answer_is_ended_within_the_budget(
    children: GcsChildren, pythons: Pythons, name: str
) -> None:
    pythons.use_child(name)
    began = CLOCK.now().ticks
    # "deafness" gets a question that is larger than a pipe holds.
    reply = ask(children, 1.0, jobs=10_000 if name == "deafness" else 0)
    assert isinstance(reply, Failed)
    assert (reply.code, reply.sent, reply.ours) == ("SILENT", True, True)
    assert CLOCK.now().ticks - began < 2
    pythons.use_child("echo")
    assert isinstance(ask(children), Told)


@pytest.mark.parametrize(
    ("name", "code", "sent"),
    [
        ("refusal", "UNAUTHENTICATED", True),
        ("unreached", "UNAVAILABLE", False),
        ("rubbish", "FORM", True),
        ("another form", "FORM", True),
    ],
)
def test_a_failure_says_whether_the_question_may_have_arrived(
    children: GcsChildren, pythons: Pythons, name: str, code: str, *, sent: bool
) -> None:
    pythons.use_child(name)
    reply = ask(children)
    assert isinstance(reply, Failed)
    assert (reply.code, reply.sent, reply.ours) == (code, sent, False)
    assert "\x1b" not in reply.message


def test_a_slow_start_outlives_the_call_that_waits_for_it(children: GcsChildren, pythons: Pythons) -> None:
    pythons.use("slow", f"time.sleep(1)\n{READY}for line in sys.stdin:\n    {CHILDREN['echo']}")
    reply = ask(children, 0.2)
    assert isinstance(reply, Failed)
    assert (reply.code, reply.sent) == ("STARTING", False)
    assert isinstance(ask(children), Told)


@pytest.mark.parametrize("program", ["sys.exit(1)", "raise ImportError('ray')"])
def test_an_interpreter_without_ray_is_a_failure_not_a_wait(
    children: GcsChildren, pythons: Pythons, program: str
) -> None:
    pythons.use("bare", program)
    replies = [ask(children), ask(children)]
    assert all(isinstance(reply, Failed) and not reply.sent for reply in replies)


def test_an_interpreter_that_is_missing_is_a_failure(children: GcsChildren, pythons: Pythons) -> None:
    pythons.now = "/no/such/python"
    reply = ask(children)
    assert isinstance(reply, Failed)
    assert (reply.code, reply.sent) == ("CHILD", False)


def test_another_interpreter_gets_another_child(children: GcsChildren, pythons: Pythons) -> None:
    pythons.use_child("echo")
    first = pid_of(ask(children))
    pythons.use("other", READY + f"for line in sys.stdin:\n    {CHILDREN['echo']}")
    assert pid_of(ask(children)) != first
    assert not is_alive(first)


def test_a_dead_child_is_replaced(children: GcsChildren, pythons: Pythons) -> None:
    pythons.use_child("echo")
    first = pid_of(ask(children))
    os.kill(first, 9)
    replies = [ask(children), ask(children)]
    assert pid_of(replies[-1]) != first


def test_a_hung_cluster_delays_only_itself(children: GcsChildren, pythons: Pythons) -> None:
    pythons.use_child("silence")
    with ThreadPoolExecutor() as pool:
        hung = pool.submit(ask, children, 2.0)
        waiting = pool.submit(ask, children, 0.5)
        reply = waiting.result()
        assert isinstance(reply, Failed)
        pythons.use("quick", READY + f"for line in sys.stdin:\n    {CHILDREN['echo']}")
        assert isinstance(ask(children, cluster="other"), Told)
        assert not hung.done()


def test_closing_ends_children_and_wakes_who_waits(pythons: Pythons) -> None:
    pythons.use_child("echo")
    children = GcsChildren(CLOCK, pythons)
    pid = pid_of(ask(children))
    pythons.use_child("silence")
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(ask, children, 30.0, cluster="other")
        while pid_of_waiting(children) is None:
            pass
        began = CLOCK.now().ticks
        children.close()
        assert isinstance(waiting.result(timeout=5), Failed)
        assert CLOCK.now().ticks - began < 5
    assert not is_alive(pid)
    reply = ask(children)
    assert isinstance(reply, Failed)
    assert reply.code == "CLOSED"


def pid_of_waiting(children: GcsChildren) -> int | None:
    seat = children._seats.get("other")
    return None if seat is None or seat.child is None else seat.child._process.pid


def test_children_are_bounded(pythons: Pythons, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.remote.gcs.CHILDREN", 2)
    pythons.use_child("echo")
    children = GcsChildren(CLOCK, pythons)
    pids = [pid_of(ask(children, cluster=name)) for name in ("a", "b", "c")]
    assert [is_alive(pid) for pid in pids] == [False, True, True]
    children.close()
    assert not any(is_alive(pid) for pid in pids)


def test_the_real_child_reports_a_dead_gcs_at_once(pythons: Pythons) -> None:
    children = GcsChildren(CLOCK, lambda _cluster: sys.executable)
    replies = [ask(children, 20), ask(children, 2)]
    children.close()
    for reply in replies:
        assert isinstance(reply, Failed)
        assert (reply.code, reply.sent) == ("UNAVAILABLE", False)
