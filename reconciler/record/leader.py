"""Leadership: one daemon acts for a site, and every later leader has a higher term.

A term is a file that its leader created exclusively in the shared directory. Whoever holds the highest one leads.
The gates on all machines refuse lower terms than they have seen, so that a leader that was paused and overtaken can
do no harm in the moment before it notices.
"""

from reconciler.clock import Clock
from reconciler.model.json import canonical
from reconciler.remote.files import Files, FilesError

FOLDER = ".rayops/leader"
# Terms that stay on disk for people to read; older ones say nothing that the newest does not.
KEPT = 8


class Leadership:
    """The right to act for a site."""

    def __init__(self, shared: Files, clock: Clock, name: str) -> None:
        self._shared = shared
        self._clock = clock
        self._name = name
        self.term = 0
        self._note = b""

    def take(self, at_least: int) -> int:
        """Become the leader with a term above `at_least` and above every term on disk; return it."""
        while True:
            term = max([at_least, *self._terms()]) + 1
            note = canonical({"leader": self._name, "since": self._clock.now().wall.isoformat(timespec="seconds")})
            if self._shared.create(f"{FOLDER}/{term}", note + b"\n"):
                self.term, self._note = term, note + b"\n"
                self._tidy()
                return term

    def lost_to(self) -> int | None:
        """Return the term that ended this leadership, None while it holds.

        A higher one is another leader's, and so is our own once its file is not ours: somebody deleted that, and a
        second daemon took the same term.
        """
        highest = max(self._terms(), default=0)
        if highest > self.term:
            return highest
        return None if self._is_ours() else self.term

    def _is_ours(self) -> bool:
        path = f"{FOLDER}/{self.term}"
        found = self._shared.read(path, limit=1024)
        return self._shared.create(path, self._note) if found is None else found == self._note

    def holds(self) -> bool:
        """Say whether nobody else is seen to lead; a directory that cannot be read proves nothing."""
        try:
            return self.lost_to() is None
        except FilesError:
            return True

    def _terms(self) -> list[int]:
        return [int(name) for name in self._shared.list(FOLDER) if name.isdecimal()]

    def _tidy(self) -> None:
        for term in sorted(self._terms())[:-KEPT]:
            self._shared.remove(f"{FOLDER}/{term}")
