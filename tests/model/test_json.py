"""What is encoded once and kept for thousands of objects takes no more memory than it is long."""

import tracemalloc
from collections.abc import Callable

import pytest

from reconciler.desired.parse import parse_all
from reconciler.model.ids import ObjectId
from reconciler.model.plan import Because, Hold, Plan, Reason
from reconciler.record.index import Row
from reconciler.record.plan_file import PlanFile
from reconciler.record.text import Redaction

MANY = 500
USER = b"apiVersion: rayops/v1\nkind: User\nmetadata: {name: alice}\nspec: {}\n"
ROW = dict.fromkeys(("kind", "team", "name", "content", "state", "sync", "health"), "x" * 20)


def rows() -> object:
    return [Row.of(ROW) for _ in range(MANY)]


def documents() -> object:
    return parse_all([("users/alice.yaml", "c", USER)] * MANY)


def holds() -> object:
    because = Because(Reason.NEW, "waits for its turn")
    held = [Hold(ObjectId("Job", "rl", f"j-{number}"), because) for number in range(MANY)]
    file = PlanFile(Redaction())
    file.encoded(Plan("r1", holds=tuple(held)))
    return file


@pytest.mark.parametrize("make", [rows, documents, holds])
def test_what_is_kept_of_an_object_holds_no_buffer(make: Callable[[], object]) -> None:
    make()
    tracemalloc.start()
    try:
        kept = make()
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept
    assert taken / MANY < 3000
