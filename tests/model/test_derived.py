"""Promise: what is derived step by step is what would be derived afresh, whatever mapping comes next."""

from collections.abc import Mapping
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.derived import Derived, differences


@dataclass(frozen=True)
class Entry:
    """A value that is told apart by identity."""

    number: int


MAPPINGS = st.lists(st.dictionaries(st.integers(0, 6), st.integers(0, 4).map(Entry), max_size=6), max_size=8)


def _even(key: int, entry: Entry) -> tuple[str, int] | None:
    return (f"entry-{key}", entry.number) if entry.number % 2 == 0 else None


def _afresh(mapping: Mapping[int, Entry]) -> dict[str, int]:
    return dict(each for key, entry in mapping.items() if (each := _even(key, entry)) is not None)


@given(MAPPINGS)
def test_step_by_step_is_the_same_as_afresh(mappings: list[dict[int, Entry]]) -> None:
    derived = Derived(_even)
    for mapping in mappings:
        assert derived.of(mapping) == _afresh(mapping)


@given(MAPPINGS)
def test_what_was_derived_before_stays_as_it_was(mappings: list[dict[int, Entry]]) -> None:
    derived = Derived(_even)
    given_out = [(derived.of(mapping), _afresh(mapping)) for mapping in mappings]
    assert all(kept == afresh for kept, afresh in given_out)


def test_only_what_is_new_is_derived() -> None:
    asked: list[int] = []

    def derive(key: int, entry: Entry) -> tuple[str, int]:
        asked.append(key)
        return str(key), entry.number

    derived, before = Derived(derive), {1: Entry(1), 2: Entry(2)}
    derived.of(before)
    asked.clear()
    derived.of({**before, 3: Entry(3)})
    assert asked == [3]


def test_differences_are_told_by_identity() -> None:
    same, before = Entry(1), {"gone": Entry(0), "other": Entry(2)}
    before["same"] = same
    after = {"same": same, "other": Entry(2), "new": Entry(3)}
    assert set(differences(before, after)) == {"gone", "other", "new"}
