"""What every gate door promises: in memory, by a child process, and over a real sshd."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from reconciler.clock import SystemClock
from reconciler.model.json import JsonObject
from reconciler.model.machine import Machine
from reconciler.model.outcome import Done, FailureKind, NotDone, Outcome, Unknown
from reconciler.remote.answer import DEPTH_LIMIT, DOCUMENT_LIMIT, MESSAGE_LIMIT
from reconciler.remote.gate import Gate
from reconciler.remote.local import LocalGate
from reconciler.remote.ssh import SshAccess, SshGate
from tests import netns
from tests.fakes.gate import FakeGate
from tests.gateprogram import gate_command

AMPLE = timedelta(seconds=30)
TOKEN = "0123456789abcdef" * 4


def program_as_world(_: Machine, request: JsonObject) -> JsonObject | bytes | None:
    """The test program's verbs without a process."""
    args = request["args"]
    match request["verb"]:
        case "echo":
            return {"protocol": 1, "ok": True, "result": {"args": args, "argv": ["gate"]}}
        case "refuse":
            return {"protocol": 1, "ok": False, "kind": args["kind"], "message": args["message"]}
        case "say":
            return str(args["text"]).encode("utf-8", "surrogatepass")
        case "huge":
            return b"x" * 50_000_000
        case _:
            return None


@dataclass
class Way:
    gate: Gate
    machine: Machine

    def call(self, verb: str, timeout: timedelta = AMPLE, **args: Any) -> Outcome:
        request = {"protocol": 1, "verb": verb, "site": "ab12", "term": 7, "nodeDir": "~/.rayops", "args": args}
        return self.gate.call(self.machine, request, timeout)


@pytest.fixture(scope="module", params=["fake", "local", pytest.param("ssh", marks=pytest.mark.real)])
def way(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Way]:
    command = gate_command()
    if request.param == "fake":
        yield Way(FakeGate(program_as_world), Machine("node-1", "ray"))
    elif request.param == "local":
        yield Way(LocalGate(command, SystemClock()), Machine("node-1", "ray"))
    else:
        with netns.hosts(1, tmp_path_factory.mktemp("hosts")) as made:
            gate = SshGate(command, SshAccess(made.key, made.known_hosts), SystemClock())
            yield Way(gate, Machine(made.hosts[0].address, netns.LOGIN))
            gate.close()


def test_a_request_reaches_the_gate_and_its_answer_comes_back(way: Way) -> None:
    args: dict[str, Any] = {"text": 'é "quoted" $(id) `id` \n end', "list": [1, 2.5, None, True, {"deep": [[]]}]}
    outcome = way.call("echo", AMPLE, **args)
    assert isinstance(outcome, Done)
    assert outcome.result["args"] == args
    assert outcome.result["argv"] == ["gate"]


@pytest.mark.parametrize("kind", list(FailureKind))
def test_a_refusal_of_the_gate_is_not_done(way: Way, kind: FailureKind) -> None:
    outcome = way.call("refuse", kind=kind.value, message="a newer leader (term 9) has spoken")
    assert outcome == NotDone(kind, "a newer leader (term 9) has spoken")


GOOD = '{"protocol":1,"ok":true,"result":{}}'


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "Welcome to node-1!",
        GOOD[:-1],
        GOOD + GOOD,
        "motd" + GOOD,
        "[1]",
        "null",
        '"ok"',
        "{}",
        '{"protocol":2,"ok":true,"result":{}}',
        '{"protocol":true,"ok":true,"result":{}}',
        '{"protocol":1.0,"ok":true,"result":{}}',
        '{"protocol":1,"ok":1,"result":{}}',
        '{"protocol":1,"ok":true,"result":[]}',
        '{"protocol":1,"ok":true}',
        '{"protocol":1,"ok":true,"result":{},"extra":1}',
        '{"protocol":1,"ok":false,"kind":"fatal","message":"x"}',
        '{"protocol":1,"ok":false,"kind":["bug"],"message":"x"}',
        '{"protocol":1,"ok":false,"kind":"bug","message":{}}',
        '{"protocol":1,"ok":false,"kind":"bug"}',
        '{"protocol":1,"ok":true,"result":{"x":NaN}}',
        '{"protocol":1,"ok":true,"result":' + '{"a":' * DEPTH_LIMIT + "1" + "}" * DEPTH_LIMIT + "}",
        "[" * 100_000,
        '{"protocol":1,"ok":true,"result":{"x":"' + "x" * DOCUMENT_LIMIT + '"}}',
    ],
    ids=lambda text: text[:40] or "nothing",
)
def test_anything_but_one_whole_answer_is_unknown(way: Way, text: str) -> None:
    outcome = way.call("say", text=text) if len(text) < DOCUMENT_LIMIT else way.call("huge")
    assert isinstance(outcome, Unknown)
    assert "Welcome" not in outcome.message


def test_white_space_around_an_answer_is_fine(way: Way) -> None:
    assert way.call("say", text=f"\n {GOOD}\n") == Done({})


def test_a_flood_is_cut_off(way: Way) -> None:
    outcome = way.call("huge")
    assert isinstance(outcome, Unknown)
    assert "longer than" in outcome.message


def test_texts_of_the_gate_cannot_play_tricks(way: Way) -> None:
    outcome = way.call("refuse", kind="refused", message="no\x1b[31m\r\nnext\u202eevil\0" + "x" * 10_000)
    assert isinstance(outcome, NotDone)
    assert outcome.message.startswith("no[31m nextevilxxx")
    assert len(outcome.message) == MESSAGE_LIMIT
    shown = way.call("echo", log="one\n\ttwo\x1b]8;;http://evil\x07\x9b31m")
    assert isinstance(shown, Done)
    assert shown.result["args"]["log"] == "one\n\ttwo]8;;http://evil31m"


def test_the_token_never_comes_back(way: Way) -> None:
    for outcome in (
        way.call("echo", token=TOKEN, log=f"RAY_AUTH_TOKEN={TOKEN}"),
        way.call("refuse", token=TOKEN, kind="bug", message=f"bad token {TOKEN}"),
        way.call("say", token=TOKEN, text=TOKEN),
    ):
        assert TOKEN not in repr(outcome)


@pytest.mark.parametrize("bad", [{1, 2}, object(), "\ud800"], ids=["set", "object", "surrogate"])
def test_a_request_that_is_no_json_is_not_sent(way: Way, bad: object) -> None:
    outcome = way.call("echo", token=TOKEN, bad=bad)
    assert isinstance(outcome, NotDone)
    assert outcome.kind is FailureKind.BUG
    assert TOKEN not in outcome.message


def test_a_request_that_no_gate_would_read_is_not_sent(way: Way) -> None:
    outcome = way.call("echo", bad="x" * DOCUMENT_LIMIT)
    assert isinstance(outcome, NotDone)
    assert outcome.kind is FailureKind.BUG


def test_a_large_request_arrives_whole(way: Way) -> None:
    outcome = way.call("echo", text="x" * (DOCUMENT_LIMIT - 1000))
    assert isinstance(outcome, Done)
    assert len(outcome.result["args"]["text"]) == DOCUMENT_LIMIT - 1000


def test_a_gate_that_hangs_is_unknown_within_the_timeout(way: Way, tmp_path: Path) -> None:
    clock = SystemClock()
    start = clock.now()
    outcome = way.call("hang", timeout=timedelta(seconds=2), mark=str(tmp_path / "mark"))
    assert isinstance(outcome, Unknown)
    assert clock.now().since(start) < timedelta(seconds=3.5)


def test_concurrent_calls_get_their_own_answers(way: Way) -> None:
    if isinstance(way.gate, FakeGate):
        pytest.skip("the fake is used by one thread")
    # More than one ssh connection holds, few enough that a loaded machine answers them all in time.
    with ThreadPoolExecutor(12) as pool:
        outcomes = list(pool.map(lambda number: way.call("echo", number=number), range(12)))
    numbers = [each.result["args"]["number"] for each in outcomes if isinstance(each, Done)]
    assert numbers == list(range(12)), [each for each in outcomes if not isinstance(each, Done)]
