"""Promise: what is derived step by step is what would be derived afresh, whatever mapping comes next."""

from collections.abc import Mapping
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.derived import REMEMBERED_EDITIONS, Derived, Edition, Grouped, Memo, Paired, differences


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


CHANGES = st.dictionaries(st.integers(0, 6), st.none() | st.integers(0, 4).map(Entry), max_size=3)


@st.composite
def families(draw: st.DrawFn) -> list[Edition[int, Entry]]:
    """Draw editions that descend from each other in any way, some of them from nothing."""
    editions: list[Edition[int, Entry]] = [Edition()]
    for changes in draw(st.lists(CHANGES, max_size=8)):
        parent = draw(st.sampled_from(editions))
        editions.append(parent.next(changes) if draw(st.booleans()) else Edition(parent).next(changes))
    return draw(st.permutations(editions))


@given(families())
def test_editions_tell_how_they_differ_whatever_they_descend_from(editions: list[Edition[int, Entry]]) -> None:
    for before in editions:
        for after in editions:
            assert set(differences(before, after)) == set(differences(dict(before), dict(after)))


@given(families())
def test_what_is_derived_from_editions_is_the_same_as_afresh(editions: list[Edition[int, Entry]]) -> None:
    derived: Derived[int, Entry, int] = Derived(_even)
    grouped: Grouped[int, Entry, str, list[int]] = Grouped(
        lambda _, entry: "even" if entry.number % 2 == 0 else "odd", sorted
    )
    for edition in editions:
        assert derived.of(edition) == _afresh(edition)
        even = sorted(key for key, entry in edition.items() if entry.number % 2 == 0)
        odd = sorted(key for key, entry in edition.items() if entry.number % 2)
        assert grouped.of(edition) == {name: keys for name, keys in (("even", even), ("odd", odd)) if keys}


def _sum(_: int, one: Entry | None, other: Entry | None) -> int | None:
    return one.number + other.number if one is not None and other is not None else None


@given(families(), families())
def test_what_two_mappings_give_together_is_the_same_as_afresh(
    some: list[Edition[int, Entry]], others: list[Edition[int, Entry]]
) -> None:
    paired = Paired(_sum)
    for one, other in zip(some, others, strict=False):
        afresh = {key: one[key].number + other[key].number for key in one.keys() & other.keys()}
        assert paired.of(one, other) == afresh


def test_an_edition_is_told_apart_by_its_changes_alone() -> None:
    first: Edition[int, Entry] = Edition({number: Entry(number) for number in range(100)})
    last = first
    for number in range(REMEMBERED_EDITIONS):
        last = last.next({number: Entry(-1)})
    assert last.may_differ(first) == set(range(REMEMBERED_EDITIONS))
    assert last.next({99: None}).may_differ(first) is None, "that is too long ago"


def test_what_stays_the_same_stays_the_same_object() -> None:
    grouped: Grouped[int, Entry, int, list[int]] = Grouped(
        lambda _, entry: entry.number, lambda entries: [*entries]
    )
    derived = Derived(_even)
    before = Edition({1: Entry(1), 2: Entry(2)})
    groups, names, after = grouped.of(before), derived.of(before), before.next({1: Entry(3)})
    assert grouped.of(after)[2] is groups[2]
    assert derived.of(after) is names


def test_a_memo_gives_again_what_came_of_an_equal_input_and_forgets_who_is_gone() -> None:
    memo: Memo[tuple[int, ...], str] = Memo()
    memo.keep("a", (1, 2), "three")
    assert memo.get("a", (1, 2)) == "three"
    assert memo.get("a", (2, 1)) is None
    assert memo.get("b", (1, 2)) is None
    memo.forget_all_but([])
    assert memo.get("a", (1, 2)) is None
