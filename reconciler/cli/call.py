"""One call of the command line: its options, its screen, its clock, and the places it reads."""

from argparse import Namespace
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event
from typing import TextIO

from reconciler.cli.exit import Ended, Exit
from reconciler.cli.screen import Screen
from reconciler.cli.status import StatusTree
from reconciler.clock import Clock
from reconciler.config import Environment, Misconfigured, Places, find, read_places
from reconciler.remote.disk import DiskFiles
from reconciler.remote.files import Files, FilesError


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a process gives to a call. `size` is columns and lines of the terminal, None when there is none.

    `stop` ends whatever watches or follows.
    """

    out: TextIO
    err: TextIO
    clock: Clock
    environment: Environment
    stop: Event
    size: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """What a verb gets: `options` are its own and the global ones."""

    options: Namespace
    around: Surroundings
    screen: Screen

    @property
    def now(self) -> datetime:
        """The wall time of this moment."""
        return self.around.clock.now().wall

    def pause(self, length: timedelta) -> bool:
        """Wait, and say whether the call may go on."""
        self.screen.flush()
        return not self.around.clock.wait(self.around.stop, length)

    def status(self) -> StatusTree:
        """Return the status directory; there is none when nobody named one."""
        root = self._places().status
        if root is None:
            raise Ended(Exit.USAGE, "no status directory is known (give --status DIR, or --config FILE)")
        return StatusTree(_open(root), self.screen.note)

    def shared(self) -> Files:
        """Return the shared directory, where logs are."""
        places = self._places()
        if places.shared is not None:
            return _open(places.shared)
        # A status directory in its usual place tells where the rest is.
        if places.status is not None and (places.status.parent / "jobs").is_dir():
            return _open(places.status.parent)
        raise Ended(Exit.USAGE, "no shared directory is known (give --config FILE with [paths] shared)")

    def warn_if_stale(self, tree: StatusTree) -> bool:
        """Say on stderr what is wrong with the whole site; return whether status is too old to be believed."""
        stale = tree.stale(self.now)
        for trouble in (stale, *tree.troubles()):
            if trouble:
                self.screen.note(f"warning: {trouble}")
        return bool(stale)

    def _places(self) -> Places:
        try:
            file = find(self.options.config, self.around.environment)
            places = read_places(file) if file else Places()
        except Misconfigured as mistake:
            raise Ended(Exit.USAGE, str(mistake)) from mistake
        named = self.options.status or self.around.environment.status
        return Places(Path(named), places.shared) if named else places


def _open(root: Path) -> Files:
    try:
        return DiskFiles(root)
    except FilesError as error:
        raise Ended(Exit.UNREACHABLE, error.message) from error
