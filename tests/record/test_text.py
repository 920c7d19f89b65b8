import time
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.json import canonical
from reconciler.model.status import Health
from reconciler.record.text import HIDDEN, MAX_ITEMS, Redaction, cut, escaped, one_line, plain, without_controls

TOKEN = "tok-1234567890abcdef/+="


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("clone https://bob:hunter2@git.example/x failed", f"clone https://{HIDDEN}@git.example/x failed"),
        ("clone https://ghp_abcdef@git.example/x failed", f"clone https://{HIDDEN}@git.example/x failed"),
        ("a https://bob:p@ss@git.example/x", f"a https://{HIDDEN}@git.example/x"),
        ("ssh://git@git.example/x", "ssh://git@git.example/x"),
        ("ssh://git:pw@git.example/x", f"ssh://{HIDDEN}@git.example/x"),
        (
            "see https://git.example/x and mail bob@git.example",
            "see https://git.example/x and mail bob@git.example",
        ),
        ("Authorization: Bearer abc.def-123", f"Authorization: Bearer {HIDDEN}"),
        ("{'authorization': 'Basic YWxhZGRpbjpvcGVu'}", f"{{'authorization': 'Basic {HIDDEN}'}}"),
        ("bearer of bad news", "bearer of bad news"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\nrest", f"{HIDDEN}\nrest"),
        ("-----BEGIN PRIVATE KEY-----\nAAAA", HIDDEN),
        (f"--token={TOKEN}!", f"--token={HIDDEN}!"),
        ("?t=tok-1234567890abcdef%2F%2B%3D&x", f"?t={HIDDEN}&x"),
    ],
)
def test_secrets_are_hidden_and_the_rest_stays(text: str, shown: str) -> None:
    assert Redaction(TOKEN).hide(text) == shown


def test_the_longer_of_two_secrets_is_hidden_whole() -> None:
    assert Redaction("secret-1", "secret-1-and-more").hide("x secret-1-and-more y") == f"x {HIDDEN} y"


def test_a_short_or_empty_secret_does_not_black_out_every_text() -> None:
    assert Redaction("", " ", "a", "rl").hide("a plan for rl") == "a plan for rl"


@given(st.text(), st.text())
def test_a_registered_secret_is_in_no_output(before: str, after: str) -> None:
    assert TOKEN not in Redaction(TOKEN).hide(before + TOKEN + after)


@pytest.mark.parametrize(
    "hostile", ["a" * 200_000, "://" * 60_000, "https://" * 20_000, "bearer " * 30_000, "@" * 200_000]
)
def test_hostile_text_costs_no_more_than_its_length(hostile: str) -> None:
    began = time.process_time()
    Redaction(TOKEN).hide("PRIVATE KEY://" + hostile)
    assert time.process_time() - began < 2


HOSTILE = 'ok\x1b[31m\x07\r\n{"actor":"admin"}\x00\x85\u2028\u202e\u200bend'


def test_one_line_is_one_line_without_commands() -> None:
    assert one_line(HOSTILE) == 'ok[31m {"actor":"admin"} end'


@given(st.text(alphabet=st.characters(codec="utf-8") | st.sampled_from(" \r\n\x1b\u200b")))
def test_one_line_is_the_same_when_cleaned_again(text: str) -> None:
    assert one_line(one_line(text)) == one_line(text)


def test_text_of_programs_keeps_its_lines_and_loses_its_commands() -> None:
    assert without_controls("a\tb\nc\x1b[2J\u202e") == "a\tb\nc[2J"


@given(st.text())
def test_escaped_text_has_one_line_and_no_control_character(text: str) -> None:
    shown = escaped(text)
    assert len(shown.splitlines()) <= 1
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 or c in "\u202e\u200b\ufeff" for c in shown)


@given(st.text(), st.integers(1, 30))
def test_a_cut_text_is_never_longer_than_its_limit(text: str, limit: int) -> None:
    assert len(cut(text, limit)) <= limit


json_like: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text() | st.datetimes(timezones=st.just(UTC)),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(json_like)
def test_whatever_a_kind_tells_can_be_written_and_is_the_same_again(value: Any) -> None:
    shown = plain(value, Redaction())
    orjson.loads(canonical(shown))
    assert canonical(plain(shown, Redaction())) == canonical(shown)


def test_details_become_clean_json() -> None:
    shown = plain(
        {
            "b": (1, True, None, 2.5),
            "a": {"at": datetime(2026, 3, 1, 14, tzinfo=timezone(timedelta(hours=2))), "health": Health.READY},
            "log": f"line\n\x1b[1m{TOKEN}",
            "x\x1b": 1,
        },
        Redaction(TOKEN),
    )
    assert shown == {
        "a": {"at": "2026-03-01T12:00:00Z", "health": "Ready"},
        "b": [1, True, None, 2.5],
        "log": f"line\n[1m{HIDDEN}",
        "x": 1,
    }


def test_long_lists_are_cut_and_say_so() -> None:
    shown = plain({"nodes": list(range(MAX_ITEMS + 7)), "few": [1]}, Redaction())
    assert (len(shown["nodes"]), shown["nodesOmitted"]) == (MAX_ITEMS, 7)
    assert "fewOmitted" not in shown


def test_depth_is_bounded() -> None:
    deep: Any = 1
    for _ in range(5000):
        deep = [deep]
    assert len(orjson.dumps(plain(deep, Redaction()))) < 100
