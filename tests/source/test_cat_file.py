import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from subprocess import PIPE, Popen

import pytest

from reconciler.source.cat_file import Header, Mute, Objects
from tests.fakes.source import blob_id

ONE, TWO, THREE = (blob_id(content) for content in (b"one", b"two", b"three"))

# A git that answers each question by this table.
GIT = """
import sys, time
answers = eval(sys.argv[1])
for line in sys.stdin:
    answer = answers.get(line.strip(), line.strip() + " missing\\n")
    if answer == "die":
        sys.exit(128)
    if answer == "hang":
        time.sleep(60)
    sys.stdout.write(answer)
    sys.stdout.flush()
"""


@contextmanager
def objects(answers: dict[str, str]) -> Iterator[Objects]:
    def launch(_: Sequence[str]) -> "Popen[bytes]":
        command = [sys.executable, "-I", "-c", GIT, repr(answers)]
        return Popen(command, stdin=PIPE, stdout=PIPE, stderr=PIPE, start_new_session=True)

    source = Objects(launch, timedelta(seconds=2))
    yield source
    source.close()


def blob(content: str) -> str:
    return f"{blob_id(content.encode())} blob {len(content)}\n{content}\n"


@pytest.mark.parametrize(
    ("two", "reason"),
    [
        (f"{TWO} blob 3\nTWO\n", "its content is another one"),
        (f"{TWO} commit 3\ntwo\n", "it is no blob"),
        (f"{TWO} blob 99999\n", "it is too large, and its bytes are not waited for"),
        (f"{TWO} blob 3\ntw", "its end never comes"),
        (f"{TWO} missing\n", "it is missing"),
        (f"{TWO} ambiguous\n", "git does not know which"),
        ("die", "git dies at it"),
        ("hang", "git hangs at it"),
        ("no answer that git gives\n", "the answer is none"),
    ],
)
def test_one_unreadable_object_costs_only_itself(two: str, reason: str) -> None:
    with objects({ONE: blob("one"), TWO: two, THREE: blob("three")}) as source:
        assert source.read([ONE, TWO, THREE], "blob", 1000) == {ONE: b"one", THREE: b"three"}, reason


def test_many_damaged_objects_end_in_time() -> None:
    ids = [f"{number:040x}" for number in range(100)]
    with objects(dict.fromkeys(ids, "die") | {ONE: blob("one")}) as source:
        assert source.read([ONE, *ids], "blob", 1000) == {ONE: b"one"}


def test_what_is_no_id_is_never_asked_for() -> None:
    with objects({"HEAD": blob("one"), "": blob("one")}) as source:
        assert source.read(["HEAD", "", f"{ONE}\n{TWO}", "--help"], "blob", 1000) == {}


def test_a_name_of_two_lines_is_a_mistake_of_ours() -> None:
    with objects({}) as source, pytest.raises(ValueError, match="one printable line"):
        source.headers(["main\nmain"])


def test_many_questions_are_answered_in_their_order() -> None:
    ids = [f"{number:040x}" for number in range(1200)]
    with objects({one: f"{one} blob {number}\n" for number, one in enumerate(ids) if number % 3}) as source:
        expected = [Header(one, "blob", number) if number % 3 else None for number, one in enumerate(ids)]
        assert source.headers(ids) == expected


def test_a_git_that_dies_while_it_is_asked_is_mute_and_started_again() -> None:
    with objects({ONE: f"{ONE} blob 3\n", TWO: "die"}) as source:
        with pytest.raises(Mute):
            source.headers([ONE, TWO])
        assert source.headers([ONE]) == [Header(ONE, "blob", 3)]
