"""An operator's word that a revision may be applied although it does not follow the applied one."""

from contextlib import suppress

from reconciler.remote.files import Files, FilesError

FOLDER = "accepted"


class Accepted:
    """The revisions that an operator accepted, each a file in the state directory, until one change of revision.

    A word that stood for ever would let a later force push back to that revision pass unasked.
    """

    def __init__(self, state: Files) -> None:
        self._state = state
        self._given: frozenset[str] = frozenset()

    def add(self, revision: str) -> None:
        """Let the daemon apply a revision; raises FilesError."""
        self._state.write(f"{FOLDER}/{revision}", b"")

    def revisions(self) -> frozenset[str]:
        """Return what is accepted now; nothing while the directory cannot be read."""
        self._given = frozenset()
        with suppress(FilesError):
            self._given = frozenset(self._state.list(FOLDER))
        return self._given

    def use_up(self) -> None:
        """Forget what `revisions` gave last. What cannot be removed now is used up with the next change."""
        for revision in self._given:
            with suppress(FilesError):
                self._state.remove(f"{FOLDER}/{revision}")
