"""What follows from the entries of large mappings, without going through all of the work again.

Desired objects and tables of the ledger are values: they are replaced and never changed, and the next one shares
most entries with the one before. So what was derived from an entry holds while the entry is the same object.
"""

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping
from typing import Generic, TypeVar

G = TypeVar("G", bound=Hashable)
K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
W = TypeVar("W")
R = TypeVar("R")

# Between two passes a mapping is replaced a few times; whoever comes later than that compares all of it.
REMEMBERED_EDITIONS = 16


class Edition(dict[K, V]):
    """A mapping that is replaced by its next edition and never changed.

    It remembers by which keys it may differ from the few editions before it, so that telling them apart costs what
    has changed and not what there is.
    """

    __slots__ = ("mark", "steps")

    def __init__(self, entries: Mapping[K, V] | Iterable[tuple[K, V]] = ()) -> None:
        super().__init__(entries)
        # A mark stands for an edition without keeping it in memory; the newest step comes first.
        self.mark = object()
        self.steps: tuple[tuple[object, Collection[K]], ...] = ()

    @classmethod
    def of(cls, entries: Mapping[K, V]) -> "Edition[K, V]":
        """Return the mapping itself if it is an edition, else a first edition of it."""
        return entries if isinstance(entries, Edition) else cls(entries)

    def next(self, changes: Mapping[K, V | None]) -> "Edition[K, V]":
        """Return the edition in which each of these keys has its new value; None takes a key out."""
        after: Edition[K, V] = Edition(self)
        for key, value in changes.items():
            if value is None:
                after.pop(key, None)
            else:
                after[key] = value
        after.steps = ((self.mark, tuple(changes)), *self.steps[: REMEMBERED_EDITIONS - 1])
        return after

    def may_differ(self, other: "Edition[K, V]") -> set[K] | None:
        """Return the keys changed in either since the two were one; None when that is too long ago to tell."""
        theirs = [other.mark, *(mark for mark, _ in other.steps)]
        keys: set[K] = set()
        for mark, changed in ((self.mark, ()), *self.steps):
            keys.update(changed)
            if mark in theirs:
                for _, also in other.steps[: theirs.index(mark)]:
                    keys.update(also)
                return keys
        return None


class Derived(Generic[K, V, R]):
    """Keeps what `derive` says about each entry of a mapping: a name and a value, or None for nothing.

    The name follows from the key alone. Whatever mapping comes next is compared with the last one.
    """

    def __init__(self, derive: Callable[[K, V], tuple[str, R] | None]) -> None:
        self._derive = derive
        # Replaced as one, so that two threads at worst do the same work twice.
        self._last: tuple[Mapping[K, V], Edition[str, R]] = ({}, Edition())

    def of(self, mapping: Mapping[K, V]) -> Edition[str, R]:
        """Return what follows from `mapping`, by name."""
        seen, derived = self._last
        if mapping is seen:
            return derived
        changes: dict[str, R | None] = {}
        for key in differences(seen, mapping):
            if key in seen and (before := self._derive(key, seen[key])) is not None:
                changes.setdefault(before[0], None)
            if key in mapping and (after := self._derive(key, mapping[key])) is not None:
                changes[after[0]] = after[1]
        derived = _with(derived, changes)
        self._last = (mapping, derived)
        return derived


class Paired(Generic[K, V, W, R]):
    """Keeps what `derive` says about each key of two mappings: a value, or None for nothing.

    It is given the entries of the key in both; None stands for one that is not there.
    """

    def __init__(self, derive: Callable[[K, V | None, W | None], R | None]) -> None:
        self._derive = derive
        self._last: tuple[Mapping[K, V], Mapping[K, W], Edition[K, R]] = ({}, {}, Edition())

    def of(self, one: Mapping[K, V], other: Mapping[K, W]) -> Edition[K, R]:
        """Return what follows from both mappings, by key."""
        seen_one, seen_other, derived = self._last
        if one is seen_one and other is seen_other:
            return derived
        changed = {*differences(seen_one, one), *differences(seen_other, other)}
        derived = _with(derived, {key: self._derive(key, one.get(key), other.get(key)) for key in changed})
        self._last = (one, other, derived)
        return derived


class Grouped(Generic[K, V, G, R]):
    """Keeps the entries of a mapping by group; a group whose entries stay is the same object as before.

    `group` names the group of an entry, and `make` turns the entries of one group, by key, into what is kept.
    """

    def __init__(self, group: Callable[[K, V], G], make: Callable[[Mapping[K, V]], R]) -> None:
        self._group = group
        self._make = make
        self._last: tuple[Mapping[K, V], dict[G, dict[K, V]], Mapping[G, R]] = ({}, {}, {})

    def of(self, mapping: Mapping[K, V]) -> Mapping[G, R]:
        """Return the groups of `mapping` by name; none of them is empty."""
        seen, members, made = self._last
        if mapping is seen:
            return made
        touched: dict[G, dict[K, V]] = {}
        for key in differences(seen, mapping):
            gone, come = seen.get(key), mapping.get(key)
            for entry in (gone, come):
                if entry is not None and (name := self._group(key, entry)) not in touched:
                    touched[name] = dict(members.get(name, {}))
            if gone is not None:
                touched[self._group(key, gone)].pop(key, None)
            if come is not None:
                touched[self._group(key, come)][key] = come
        if touched:
            members = {name: entries for name, entries in {**members, **touched}.items() if entries}
            made = {name: self._make(members[name]) if name in touched else made[name] for name in members}
        self._last = (mapping, members, made)
        return made


class Memo(Generic[V, R]):
    """Keeps for each name what came of its input last, and gives it again while the input is equal."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[V, R]] = {}

    def get(self, name: str, given: V) -> R | None:
        """Return what came of this very input when it was the last one of its name."""
        known = self._kept.get(name)
        return known[1] if known is not None and known[0] == given else None

    def keep(self, name: str, given: V, result: R) -> R:
        """Remember what came of an input, and return it."""
        self._kept[name] = (given, result)
        return result

    def forget_all_but(self, names: Collection[str]) -> None:
        """Forget names that are no longer there."""
        if len(self._kept) > len(names):
            self._kept = {name: kept for name, kept in self._kept.items() if name in names}


def differences(before: Mapping[K, V], after: Mapping[K, V]) -> Iterable[K]:
    """Return the keys whose entries are not the same object in both; comparing by value would cost far more."""
    if before is after:
        return ()
    if isinstance(before, Edition) and isinstance(after, Edition):
        keys = after.may_differ(before)
        if keys is not None:
            return [key for key in keys if before.get(key) is not after.get(key)]
    return _all_differences(before, after)


def _all_differences(before: Mapping[K, V], after: Mapping[K, V]) -> Iterator[K]:
    for key, value in after.items():
        if before.get(key) is not value:
            yield key
    yield from (key for key in before if key not in after)


def _with(derived: Edition[K, R], changes: Mapping[K, R | None]) -> Edition[K, R]:
    """Return the next edition, or the same one when nothing in it becomes another."""
    real = {key: value for key, value in changes.items() if derived.get(key) != value}
    return derived.next(real) if real else derived
