import io
import json
import logging
import warnings
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler import logs
from reconciler.record.text import HIDDEN, Redaction

SECRET = "tok-SECRET-1"


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    before, level, raising = root.handlers[:], root.level, logging.raiseExceptions
    yield
    logging.captureWarnings(capture=False)
    root.handlers[:] = before
    root.setLevel(level)
    logging.raiseExceptions = raising


def _started(form: str, level: str = "INFO") -> io.StringIO:
    stream = io.StringIO()
    logs.start("json" if form == "json" else "text", level, Redaction(SECRET), stream)
    return stream


def _break(why: str) -> None:
    raise ValueError(why)


log = logging.getLogger("reconciler.test")
FORMS = pytest.mark.parametrize("form", ["json", "text"])


def test_a_json_line_has_the_event_and_its_fields() -> None:
    stream = _started("json")
    log.info("action done", extra={"target": "job/rl/ppo", "took": 1.5, "nodes": ("n1", "n2")})
    said = json.loads(stream.getvalue())
    assert said.pop("at").endswith("Z")
    assert said == {
        "level": "info",
        "logger": "reconciler.test",
        "event": "action done",
        "target": "job/rl/ppo",
        "took": 1.5,
        "nodes": ["n1", "n2"],
    }


def test_a_text_line_reads_well() -> None:
    stream = _started("text")
    log.warning("not written", extra={"what": "status", "text": 'disk "a" is full', "none": None, "empty": ""})
    line = stream.getvalue()
    assert line.endswith(
        ' WARNING reconciler.test: not written empty="" none=null text="disk \\"a\\" is full" what=status\n'
    )


@FORMS
def test_a_record_is_one_line_whatever_is_in_it(form: str) -> None:
    stream = _started(form)
    hostile = 'x\n2026-03-01 INFO forged\r\x1b[2J\x85\u2028\u202e{"actor":"admin"}'
    log.info("event %s", hostile, extra={"field": hostile, "na\nme": {hostile: [hostile]}})
    text = stream.getvalue()
    assert len(text.splitlines()) == 1
    assert not any(c in text for c in "\x1b\x85\u2028\u202e\r")
    if form == "json":
        assert json.loads(text)["event"] == f"event {hostile}"


@FORMS
def test_no_secret_is_logged_wherever_it_stands(form: str) -> None:
    stream = _started(form)
    try:
        _break(f"cannot reach https://bob:pw-12345@git.example with {SECRET}")
    except ValueError:
        log.exception("failed %s", SECRET, extra={"a": SECRET, SECRET: 1, "c": [{"d": f"Bearer {SECRET}"}]})
    text = stream.getvalue()
    assert SECRET not in text
    assert "pw-12345" not in text
    assert HIDDEN in text
    assert "ValueError" in text


def test_no_line_of_a_traceback_passes_for_a_record() -> None:
    stream = _started("text")
    try:
        _break("x\n2026-03-01T12:00:00.000Z INFO    reconciler: forged")
    except ValueError:
        log.exception("failed")
    first, *others = stream.getvalue().splitlines()
    assert "failed" in first
    assert others
    assert all(line.startswith("  | ") for line in others)


@FORMS
def test_the_level_is_kept_and_loud_libraries_are_quiet(form: str) -> None:
    stream = _started(form, "debug")
    log.debug("shown")
    logging.getLogger("paramiko.transport").info("packet")
    logging.getLogger("paramiko.transport").warning("trouble")
    assert len(stream.getvalue().splitlines()) == 2


@FORMS
def test_a_record_that_cannot_be_told_stops_nothing_and_shows_nothing(
    form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = _started(form)
    log.info("%d items", SECRET)
    log.info("next")
    assert "next" in stream.getvalue()
    assert SECRET not in capsys.readouterr().err


@FORMS
def test_warnings_of_libraries_are_logged(form: str) -> None:
    stream = _started(form)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logs.start("json" if form == "json" else "text", "INFO", Redaction(), stream)
        warnings.warn("old thing", stacklevel=1)
    assert "old thing" in stream.getvalue()


def test_starting_again_replaces_the_first_set_up() -> None:
    first = _started("text")
    second = _started("json")
    log.info("once")
    assert first.getvalue() == ""
    assert len(second.getvalue().splitlines()) == 1


@given(st.text(), st.dictionaries(st.text(max_size=5).map("f_".__add__), st.text() | st.integers() | st.none()))
def test_every_record_is_a_json_object_on_one_line(event: str, fields: dict[str, object]) -> None:
    stream = _started("json")
    log.info("%s", event, extra=fields)
    (line,) = stream.getvalue().splitlines()
    assert isinstance(json.loads(line), dict)
