"""Files are read strictly: what two readers could take for two things is refused, with its place."""

import io
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from reconciler.desired import events
from reconciler.desired.events import MAX_EVENTS
from reconciler.desired.yaml import MAX_BYTES, MAX_DEPTH, Place, Refused, places, read, reading_many

BOMB = b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
    b"%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n" % ((letter, letter) + (letter - 1,) * 9)
    for letter in range(ord("b"), ord("j"))
)
REFUSED: list[tuple[str, bytes, str, str]] = [
    ("a list that holds itself", b"&a [*a]", "1:1", "anchors"),
    ("a bomb of aliases", BOMB, "1:4", "anchors"),
    ("an anchor on a scalar", b"a: &x 1", "1:4", "anchors"),
    ("an anchor on a key", b"&x a: 1", "1:1", "anchors"),
    ("an alias", b"a: *x", "1:4", "aliases"),
    ("an alias as a document", b"*x", "1:1", "aliases"),
    ("a merge key", b"a: 1\n<<: {b: 1}", "2:1", "only text"),
    ("a key twice", b"gpus: 1\ngpus: 64", "2:1", "twice"),
    ("a key twice, inside", b"a: {b: 1, b: 2}", "1:11", "twice"),
    ("a key twice, quoted once", b'a: 1\n"a": 2', "2:1", "twice"),
    ("a tag that runs a program", b"a: !!python/object/apply:os.system [id]", "1:4", "tags"),
    ("a tag of the core schema", b'a: !!int "1"', "1:4", "tags"),
    ("the empty tag", b"a: ! x", "1:4", "tags"),
    ("a tag on a key", b"!x a: 1", "1:1", "tags"),
    ("a tag by a handle", b"%TAG ! tag:x,2000:\n---\na: !b 1", "3:4", "tags"),
    ("a second document", b"a: 1\n---\nb: 2", "2:1", "second document"),
    ("a second document after the end", b"a: 1\n...\n---\nb: 2", "3:1", "second document"),
    ("a number as a key", b"1: a", "1:1", "only text"),
    ("true as a key", b"true: a", "1:1", "only text"),
    ("null as a key", b"~: a", "1:1", "only text"),
    ("nothing as a key", b"? \n: a", "1:2", "only text"),
    ("a list as a key", b"? [a]\n: b", "1:3", "only text"),
    ("a mapping as a key", b"{{a: b}: c}", "1:2", "only text"),
    ("no for false", b"name: no", "1:7", "true or false"),
    ("On for true", b"a: [On]", "1:5", "true or false"),
    ("a time of day", b"deadline: 12:30:45", "1:11", "do not agree"),
    ("minutes", b"a: 12:30", "1:4", "do not agree"),
    ("an octal number of old", b"quota: 012", "1:8", "do not agree"),
    ("a date", b"a: 2030-01-01", "1:4", "do not agree"),
    ("a moment", b"a: 2030-01-01T00:00:00Z", "1:4", "do not agree"),
    ("a number with underscores", b"a: 1_000", "1:4", "do not agree"),
    ("a binary number", b"a: 0b11", "1:4", "do not agree"),
    ("an endless number", b"gpus: .inf", "1:7", "finite"),
    ("a negative endless number", b"gpus: -.INF", "1:7", "finite"),
    ("no number", b"gpus: .nan", "1:7", "finite"),
    ("a fraction too large for a float", b"gpus: 1e999", "1:7", "finite"),
    ("an integer of ten thousand digits", b"a: " + b"9" * 10_000, "1:4", "more than"),
    ("an integer of more than 64 bits", b"a: 9223372036854775808", "1:4", "more than"),
    ("a hexadecimal number of more than 64 bits", b"a: 0x" + b"f" * 17, "1:4", "more than"),
    ("a byte that is not UTF-8", b"a: b\nc: \xff", "2:4", "UTF-8"),
    ("a byte that is not UTF-8, behind a mark", b"\xef\xbb\xbfa: \xff", "1:4", "UTF-8"),
    ("a byte that is not UTF-8, in a line of its own", b"a: b\xc2\x85\xff", "2:1", "UTF-8"),
    ("UTF-16", "a: 1".encode("utf-16"), "1:1", "UTF-8"),
    ("NUL", b"a: x\x00", "1:5", "not YAML"),
    ("a bell behind other letters", "ä: ü\nö: \x07".encode(), "2:4", "not YAML"),
    ("a bell behind a mark", b"\xef\xbb\xbfa: \x07", "1:4", "not YAML"),
    ("a bell", b"a: 1\nb: \x07", "2:4", "not YAML"),
    ("half a surrogate pair", b'a: "\\ud800"', "1:7", "not YAML"),
    ("an unknown escape", b'a: "\\q"', "1:5", "not YAML"),
    ("a tab for indentation", b"a:\n\tb: c", "2:1", "not YAML"),
    ("two colons", b"a: b: c", "1:5", "not YAML"),
    ("an open list", b"a: [b", "1:6", "not YAML"),
    ("an open list and a line break", b"a: [b\n", "2:1", "not YAML"),
    ("a key without its colon at the end", b"n:\n  y:\n  l", "3:4", "not YAML"),
    ("an undeclared tag handle", b"a: !x!y z", "1:4", "not YAML"),
    ("nothing", b"", "1:1", "no document"),
    ("only a comment", b"# later", "1:1", "no document"),
    ("an empty document", b"---\n", "1:1", "no document"),
    ("null", b"null", "1:1", "no document"),
    ("a file that is too large", b"# " + b"x" * MAX_BYTES, "1:1", "larger than"),
    ("too many lists in lists", b"[" * 3000, f"1:{MAX_DEPTH + 1}", "deeper"),
    ("too many block lists in lists", b"- " * 3000, f"1:{2 * MAX_DEPTH + 1}", "deeper"),
    ("too many mappings in mappings", b"{a: " * 3000, f"1:{4 * MAX_DEPTH + 1}", "deeper"),
    ("a megabyte of brackets", b"[" * MAX_BYTES, f"1:{MAX_DEPTH + 1}", "deeper"),
    ("a megabyte of questions", b"? " * (MAX_BYTES // 2), "1:3", "only text"),
    ("too many values", b"[" + b"a," * MAX_EVENTS + b"]", "1:1", "more than"),
]
ACCEPTED: list[tuple[bytes, Any]] = [
    (b"\xef\xbb\xbfa: 1", {"a": 1}),
    (b"---\na: 1\n...\n", {"a": 1}),
    (b"a: 0x1F\nb: 0o17\nc: -7\nd: +7", {"a": 31, "b": 15, "c": -7, "d": 7}),
    (b"a: 999999999999999999", {"a": 999999999999999999}),
    (b"a: 0.5\nb: 1.\nc: -1.5e3\nd: .5", {"a": 0.5, "b": 1.0, "c": -1500.0, "d": 0.5}),
    (b"[true, False, null, ~]", [True, False, None, None]),
    (b"a: 'no'\nb: \"12:30\"\nc: '012'\nd: '2030-01-01'", {"a": "no", "b": "12:30", "c": "012", "d": "2030-01-01"}),
    (b"[10.0.0.1, 2.60.0, 1h30m, -x, y]", ["10.0.0.1", "2.60.0", "1h30m", "-x", "y"]),
    (b"'1': a\non: b\n\"<<\": c", {"1": "a", "on": "b", "<<": "c"}),
    (b"a: |\n  x\n  y\nb: >-\n  x\n  y", {"a": "x\ny\n", "b": "x y"}),
    ("a: größe".encode(), {"a": "größe"}),
    (b"[" * MAX_DEPTH + b"]" * MAX_DEPTH, None),
]  # fmt: skip


@pytest.fixture(params=["libyaml", "pure"])
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a test on libyaml and on the parser that stands in for it where there is no wheel."""
    if request.param == "pure":
        monkeypatch.setattr(events, "libyaml", None)
    return str(request.param)


@pytest.mark.parametrize(
    ("content", "place", "words"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
def test_what_is_doubtful_or_hostile_is_refused_with_its_place(content: bytes, place: str, words: str) -> None:
    with pytest.raises(Refused) as caught:
        read(content)
    assert words in caught.value.message
    assert f"{caught.value.line}:{caught.value.column}" == place


# Where both parsers must stop for their own reasons, the place may differ by the mark they give.
PURE_DIFFERS = {"half a surrogate pair", "a megabyte of questions", "a tab for indentation", "a bomb of aliases"}


@pytest.mark.parametrize(
    "content", [case[1] for case in REFUSED if case[0] not in PURE_DIFFERS and len(case[1]) < 10_100]
)
def test_without_libyaml_the_same_is_refused(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "libyaml", None)
    with pytest.raises(Refused):
        read(content)


@pytest.mark.parametrize(("content", "value"), ACCEPTED)
def test_plain_documents_are_read_by_the_core_schema(content: bytes, value: object, parser: str) -> None:
    found = read(content)
    assert value is None or found == value


def quickly(content: bytes) -> Any:
    with reading_many() as read_good:
        return read_good(content)


@pytest.mark.parametrize("content", [case[0] for case in ACCEPTED])
def test_many_good_files_are_read_in_one_go_and_give_the_same(content: bytes) -> None:
    assert quickly(content) == read(content)


@pytest.mark.parametrize("content", [case[1] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_among_many_files_what_is_refused_gives_nothing(content: bytes) -> None:
    assert quickly(content) is None


def test_what_one_thread_reads_in_one_go_hides_no_places_from_another() -> None:
    content = b"a:\n  - b: 1\n  -   c\n"
    with ThreadPoolExecutor(1) as other:
        with reading_many() as read_good:
            found = other.submit(places, content)
            assert read_good(content) == {"a": [{"b": 1}, "c"]}
            assert not found.done()
        assert found.result() == places(content)


def test_places_are_there_again_after_an_interruption() -> None:
    with pytest.raises(KeyboardInterrupt), reading_many():
        raise KeyboardInterrupt
    assert places(b"a: 1")["a",] == Place((1, 1), (1, 4))


def test_true_is_no_number_and_one_is_not_true() -> None:
    found = read(b"[true, 1, 1.0]")
    assert isinstance(found, list)
    assert [type(value) for value in found] == [bool, int, float]


def test_places_name_every_key_and_value(parser: str) -> None:
    found = places(b"a:\n  - b: 1\n  -   c\n")
    assert found == {
        (): Place((1, 1), (1, 1)),
        ("a",): Place((1, 1), (2, 3)),
        ("a", 0): Place((2, 5), (2, 5)),
        ("a", 0, "b"): Place((2, 5), (2, 8)),
        ("a", 1): Place((3, 7), (3, 7)),
    }


words = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "Zs"]), max_size=12)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**17), 10**17) | words,
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(words, inside, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(words, plain, min_size=1, max_size=4))
@settings(deadline=None)
def test_what_ruamel_reads_is_read_the_same_or_refused(document: dict[str, Any]) -> None:
    written = io.StringIO()
    YAML(typ="safe", pure=True).dump(document, written)
    try:
        found = read(written.getvalue().encode())
    except Refused:
        assert quickly(written.getvalue().encode()) is None
        return
    assert quickly(written.getvalue().encode()) == found
    assert found == YAML(typ="safe", pure=True).load(written.getvalue())


@given(st.binary(max_size=200) | st.text("{}[]:,-?&*!|>'\"%@`#ab01.~<\\ \n\t", max_size=60).map(str.encode))
@settings(max_examples=500, deadline=None)
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    try:
        found = read(content)
    except Refused:
        assert quickly(content) is None
        return
    assert repr(quickly(content)) == repr(found)
    assert () in places(content)
