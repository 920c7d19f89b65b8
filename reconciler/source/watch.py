"""Waking up at once when desired files change on a local disk. An accelerator: polling is what can be relied on."""

from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

from watchfiles import watch

from reconciler.source.mounts import LOCAL, file_system

# A burst of writes is one wake-up; 20 ms of step cost 0.4 % of a core, and a change is seen within 0.1 s.
DEBOUNCE_MS = 100
STEP_MS = 20

# Present wherever the kernel has inotify; without it watchfiles would silently poll.
INOTIFY = Path("/proc/sys/fs/inotify/max_user_watches")


class Watch:
    """Calls `changed`, from a thread of its own and without saying what changed, after writes below a folder."""

    def __init__(self, folder: Path, changed: Callable[[], None]) -> None:
        self._folder = folder
        self._changed = changed
        self._stop = Event()
        self._thread: Thread | None = None

    def start(self) -> str:
        """Begin to watch; return why that is not possible, or nothing."""
        reason = _obstacle(self._folder)
        if not reason:
            self._thread = Thread(target=self._follow, name="source-watch", daemon=True)
            self._thread.start()
        return reason

    def close(self) -> None:
        """End the watch."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def _follow(self) -> None:
        changes = watch(
            self._folder,
            watch_filter=None,  # its default filter hides names by rules of its own
            debounce=DEBOUNCE_MS,
            step=STEP_MS,
            stop_event=self._stop,
            force_polling=False,
            ignore_permission_denied=True,
            raise_interrupt=False,
        )
        for _ in changes:
            self._changed()


def references_of(repository: Path) -> Path:
    """Return the folder of a repository on disk in which every push to a branch writes."""
    bare = repository / "refs" / "heads"
    return bare if bare.is_dir() else repository / ".git" / "refs" / "heads"


def _obstacle(folder: Path) -> str:
    if not folder.is_dir():
        return f"{folder} is not a folder; changes are found by polling"
    name = file_system(folder)
    if name not in LOCAL:
        return f"{folder} is on {name}, which does not report other machines' writes; changes are found by polling"
    return "" if INOTIFY.exists() else "this kernel has no inotify; changes are found by polling"
