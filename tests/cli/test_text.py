"""Text for people: harmless, short, and as wide as it claims."""

import json
import re
from datetime import timedelta
from io import StringIO

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from reconciler.cli.form import as_csv, as_json, as_json_line, as_yaml
from reconciler.cli.logfile import Readable
from reconciler.cli.screen import Screen
from reconciler.cli.text import age, clean, clock_time, cut, moment, ordinal, plain, span, width
from tests.cli.site import NOW, ago

HOSTILE = "\x1b[2J\x1b]8;;http://evil.example\x07link\x1b]8;;\x07\u202egnp.exe\u200b\x9b31m\rover\nnext"
OBEYED = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")
# What JSON can hold and YAML must give back. Half characters are refused where files are read.
SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
)
VALUES = st.recursive(
    SCALARS | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.text() | st.just(HOSTILE))
def test_no_text_moves_the_cursor_or_breaks_the_line(text: str) -> None:
    assert not OBEYED.search(clean(text))
    assert "\n" not in clean(text)


def test_what_is_hidden_is_written_out() -> None:
    assert clean("a\x1b]8;;x\x07\u202eb\nc") == "a\\x1b]8;;x\\x07\\u202eb c"


@given(st.text(), st.integers(1, 30))
def test_a_cut_text_fits(text: str, columns: int) -> None:
    shown = cut(clean(text), columns)
    assert width(shown) <= columns
    assert shown == clean(text) or shown.endswith("…")


@pytest.mark.parametrize(("text", "columns"), [("abc", 3), ("日本", 4), ("e\u0301", 1), ("", 0)])
def test_width_counts_columns_of_a_terminal(text: str, columns: int) -> None:
    assert width(text) == columns


@pytest.mark.parametrize(
    ("length", "text"),
    [
        ({}, "0s"),
        ({"seconds": -5}, "0s"),
        ({"seconds": 59.9}, "59s"),
        ({"minutes": 9, "seconds": 5}, "9m5s"),
        ({"minutes": 10, "seconds": 5}, "10m"),
        ({"hours": 3}, "3h"),
        ({"hours": 3, "minutes": 7, "seconds": 50}, "3h7m"),
        ({"days": 2, "minutes": 5}, "2d"),
        ({"days": 400, "hours": 23}, "400d23h"),
    ],
)
def test_a_length_of_time_is_short(length: dict[str, float], text: str) -> None:
    assert span(timedelta(**length)) == text


def test_times_are_shown_in_utc_and_rubbish_as_nothing() -> None:
    assert clock_time("2026-03-14T15:00:00+08:00") == "2026-03-14 07:00:00Z"
    assert age(ago(hours=2), NOW) == "2h"
    assert [age(bad, NOW) for bad in (None, 7, "soon", "")] == ["-"] * 4
    assert moment("2026-03-14T15:00:00") == NOW  # no zone means UTC: status is written so


def test_places_are_ordinal() -> None:
    shown = " ".join(ordinal(number) for number in (1, 2, 3, 4, 11, 12, 13, 21, 102, 111))
    assert shown == "1st 2nd 3rd 4th 11th 12th 13th 21st 102nd 111th"


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07x\x1b]8;;http://evil.example\x1b\\link", "xlink"),
        ("10%\r20%\r\n", "10%\n20%\n"),
        ("a\tb\x08\x00c", "a\tbc"),
        ("\x1b(Bx\x1bcy", "xy"),
        ("\x9b31mz", "z"),
    ],
)
def test_a_log_loses_what_a_terminal_obeys(printed: str, shown: str) -> None:
    assert plain(printed) == shown


@given(st.binary(max_size=200) | st.just(HOSTILE.encode()), st.integers(1, 7))
def test_blocks_do_not_change_what_a_log_shows(printed: bytes, size: int) -> None:
    readable = Readable()
    blocks = [printed[start : start + size] for start in range(0, len(printed), size)]
    shown = "".join([readable.more(block) for block in blocks] + [readable.rest()])
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", shown)
    assert shown == plain(printed.decode(errors="replace"))


@given(VALUES)
@example(1e16)
@example(["no", "12:30", "1_000", "~", "- x", "a: b", "#", ""])
def test_yaml_gives_the_same_value_back(value: object) -> None:
    text = as_yaml(value)
    for version in ((1, 1), (1, 2)):
        reader = YAML(typ="safe", pure=True)
        reader.version = version
        assert reader.load(StringIO(text)) == value
    assert not OBEYED.search(text)


@given(VALUES)
def test_json_gives_the_same_value_back(value: object) -> None:
    assert json.loads(as_json(value)) == value
    assert json.loads(as_json_line(value)) == value
    assert "\n" not in as_json_line(value)
    assert not OBEYED.search(as_json(value))


def test_a_spreadsheet_computes_no_cell() -> None:
    assert as_csv(["A", "B"], [["=1+1", "-"], ["@x", 'say "a,b"']]) == 'A,B\n\'=1+1,\n\'@x,"say ""a,b"""'


CELLS = st.text(st.characters(codec="utf-8"), max_size=20)


@given(st.lists(st.tuples(CELLS, CELLS, CELLS), max_size=5), st.integers(20, 100))
def test_a_table_fits_the_terminal(rows: list[tuple[str, str, str]], columns: int) -> None:
    screen = Screen(StringIO(), StringIO(), columns)
    for line in screen.table(("NAME", "STATE", "MESSAGE"), rows):
        assert width(line) <= columns


def test_a_state_is_coloured_and_stays_a_word() -> None:
    lines = Screen(StringIO(), StringIO(), 80, colour=True).table(("JOB", "STATE"), [("rl/a", "Failed")])
    assert lines == ["JOB   STATE", "rl/a  \x1b[31mFailed\x1b[0m"]
