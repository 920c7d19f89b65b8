"""The door to desired bytes."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from reconciler.model.snapshot import Snapshot, SourceProblem


class Source(Protocol):
    """Where desired files come from. One thread uses it; every call is bounded in time and size."""

    def latest(self, applied: str | None, accepted: frozenset[str] = frozenset()) -> Snapshot | SourceProblem:
        """Return the newest revision that may follow `applied`, or say why there is none.

        A revision that does not descend from `applied` is a problem unless `accepted` names it. The same object
        is returned while nothing changed.
        """

    def at(self, revision: str) -> Snapshot | SourceProblem:
        """Return a revision seen earlier, or any name the source can resolve (branch, commit), for planning."""

    def read(self, content_ids: Sequence[str]) -> Mapping[str, bytes]:
        """Return the bytes of the given content ids; ids that cannot be read whole are left out."""

    def close(self) -> None:
        """End child processes and watches."""
