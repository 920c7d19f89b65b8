"""The cluster's token never comes back out of an answer, however it is written there."""

import orjson
import pytest

from reconciler.model.machine import Machine
from reconciler.model.outcome import Done, FailureKind, NotDone, Unknown
from reconciler.remote.answer import MESSAGE_LIMIT, Conversation

TOKEN = "0123456789abcdef" * 4
ESCAPED = "".join(f"\\u{ord(letter):04x}" for letter in TOKEN)
WAYS = [
    pytest.param(TOKEN, id="as it is"),
    pytest.param(ESCAPED, id="in escapes"),
    pytest.param(TOKEN[:30] + "\\u200b" + TOKEN[30:], id="with a character of no width in it"),
    pytest.param(TOKEN[:30] + "\\u0000" + TOKEN[30:], id="with NUL in it"),
    pytest.param(TOKEN + TOKEN, id="twice"),
]


def talk() -> Conversation:
    made = Conversation.of(Machine("n1", "ray"), {"verb": "start-head", "args": {"token": TOKEN}})
    assert isinstance(made, Conversation)
    return made


@pytest.mark.parametrize("written", WAYS)
def test_not_out_of_a_result(written: str) -> None:
    answer = f'{{"protocol":1,"ok":true,"result":{{"log":"it is {written}","{written}":[{{"a":"{written}"}}]}}}}'
    outcome = talk().outcome(answer.encode(), 0, b"")
    assert isinstance(outcome, Done)
    assert TOKEN not in orjson.dumps(outcome.result).decode()
    assert outcome.result["log"].startswith("it is ***")


@pytest.mark.parametrize("written", WAYS)
def test_not_out_of_a_refusal(written: str) -> None:
    answer = f'{{"protocol":1,"ok":false,"kind":"refused","message":"it is {written}"}}'
    outcome = talk().outcome(answer.encode(), 0, b"")
    assert isinstance(outcome, NotDone)
    assert TOKEN not in outcome.message
    assert outcome.message.startswith("it is ***")


def test_not_out_of_a_complaint() -> None:
    outcome = talk().outcome(b"", 1, f"first\nit is {TOKEN[:30]}\0{TOKEN[30:]}\n".encode())
    assert isinstance(outcome, Unknown)
    assert outcome.message.endswith("the gate ended with status 1: it is ***")


def test_nor_the_first_half_of_it_where_a_long_message_is_cut() -> None:
    message = "x" * (MESSAGE_LIMIT - 30) + TOKEN
    answer = orjson.dumps({"protocol": 1, "ok": False, "kind": "refused", "message": message})
    outcome = talk().outcome(answer, 0, b"")
    assert isinstance(outcome, NotDone)
    assert TOKEN[:8] not in outcome.message


@pytest.mark.parametrize(
    "mark",
    ["\u061c", "\u180e", "\u200b", "\u202e", "\u2066", "\ufeff", "\ufff9", "\u00ad", "\U000e0041", "\x1b", "\x9b"],
)
def test_no_mark_that_shows_another_text_comes_through(mark: str) -> None:
    result = orjson.dumps({"protocol": 1, "ok": True, "result": {"log": f"a{mark}b"}})
    refusal = orjson.dumps({"protocol": 1, "ok": False, "kind": "refused", "message": f"a{mark}b"})
    assert talk().outcome(result, 0, b"") == Done({"log": "ab"})
    assert talk().outcome(refusal, 0, b"") == NotDone(FailureKind.REFUSED, "ab")
