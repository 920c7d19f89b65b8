"""What follows from the entries of a large mapping, without going through all of the work again."""

from collections.abc import Callable, Iterator, Mapping
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")
R = TypeVar("R")


class Derived(Generic[K, V, R]):
    """Keeps what `derive` says about each entry of a mapping: a name and a value, or None for nothing.

    The name follows from the key alone. Desired objects and tables of the ledger are values: they are replaced and
    never changed, and the next one shares most entries with the one before. So what was derived from an entry holds
    while the entry is the same object. It does not matter which mapping comes next: each is compared with the last.
    """

    def __init__(self, derive: Callable[[K, V], tuple[str, R] | None]) -> None:
        self._derive = derive
        # Replaced as one, so that two threads at worst do the same work twice.
        self._last: tuple[Mapping[K, V], Mapping[str, R]] = ({}, {})

    def of(self, mapping: Mapping[K, V]) -> Mapping[str, R]:
        """Return what follows from `mapping`, by name."""
        seen, derived = self._last
        if mapping is seen:
            return derived
        changed = list(differences(seen, mapping))
        if changed:
            derived = dict(derived)
            for key in changed:
                self._take(derived, key, seen, mapping)
        self._last = (mapping, derived)
        return derived

    def _take(self, derived: dict[str, R], key: K, seen: Mapping[K, V], mapping: Mapping[K, V]) -> None:
        if key in seen and (before := self._derive(key, seen[key])) is not None:
            derived.pop(before[0], None)
        if key in mapping and (after := self._derive(key, mapping[key])) is not None:
            derived[after[0]] = after[1]


def differences(before: Mapping[K, V], after: Mapping[K, V]) -> Iterator[K]:
    """Return the keys whose entries are not the same object in both; comparing by value would cost far more."""
    if before is after:
        return
    for key, value in after.items():
        if before.get(key) is not value:
            yield key
    yield from (key for key in before if key not in after)
