"""Reading a branch's commit from a repository on disk, without git: 0.02 ms instead of a child process."""

import os
import stat
from pathlib import Path

from reconciler.source.location import is_commit_id

# packed-refs of a desired repository is small; a larger one is left to git.
_MOST = 1 << 20


def branch_tip(repository: Path, branch: str) -> str | None:
    """Return the commit that the branch names, or None when git itself must be asked.

    Only good for finding that nothing changed: what git says is what counts.
    """
    for folder in (repository, repository / ".git"):
        loose = _text(folder / "refs" / "heads" / branch)
        if loose is not None:
            return loose.strip() if is_commit_id(loose.strip()) else None
        packed = _text(folder / "packed-refs")
        if packed is not None:
            return _packed_tip(packed, f" refs/heads/{branch}")
    return None


def _packed_tip(packed: str, ending: str) -> str | None:
    for line in packed.splitlines():
        if line.endswith(ending) and is_commit_id(line.removesuffix(ending)):
            return line.removesuffix(ending)
    return None


def _text(path: Path) -> str | None:
    try:
        # A FIFO would block the open, a link could lead anywhere.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        seen = os.fstat(descriptor)
        if not stat.S_ISREG(seen.st_mode) or seen.st_size > _MOST:
            return None
        return file.read(_MOST).decode("ascii", "replace")
