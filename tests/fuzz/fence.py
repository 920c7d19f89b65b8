"""A fence around code under test: it may change files below one folder, and nothing else in the world.

Python tells an audit hook of every such step before it is taken. A hook stays as long as the process; this one does
nothing while no fence stands.
"""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# What changes files: where among the arguments its paths are, and the folders that these are relative to.
_CHANGES = {
    "os.mkdir": ((0, 2),), "os.rename": ((0, 2), (1, 3)), "os.remove": ((0, 1),), "os.rmdir": ((0, 1),),
    "os.link": ((0, 2), (1, 3)), "os.symlink": ((1, 2),), "os.chmod": ((0, 2),), "os.chown": ((0, 3),),
    "os.truncate": ((0, None),), "os.utime": ((0, 3),), "shutil.rmtree": ((0, 1),),
}  # fmt: skip
_NEVER = frozenset({
    "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "os.kill", "os.killpg",
    "signal.pthread_kill", "socket.connect", "socket.bind", "socket.getaddrinfo", "socket.sendto", "pty.spawn",
})  # fmt: skip
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

_inside: Path | None = None
_hooked = False


@contextmanager
def fenced(folder: Path) -> Iterator[None]:
    """Let nothing be changed meanwhile but what is below `folder`; other steps end with "not permitted"."""
    global _inside, _hooked  # noqa: PLW0603 - a hook is a matter of the whole process
    if not _hooked:
        sys.addaudithook(_look)
        _hooked = True
    before, _inside = _inside, folder.resolve()
    try:
        yield
    finally:
        _inside = before


def _look(event: str, arguments: tuple[Any, ...]) -> None:
    if _inside is None:
        return
    if event in _NEVER:
        raise PermissionError(errno.EPERM, f"the fence does not let {event} pass")
    if event == "open" and arguments[2] & _WRITES:
        _require_inside(arguments[0], None)
        if not arguments[2] & os.O_NOFOLLOW and not isinstance(arguments[0], int):
            _require_inside(Path(os.fsdecode(arguments[0])).resolve(), None)
    for path, folder in _CHANGES.get(event, ()):
        _require_inside(arguments[path], arguments[folder] if folder is not None else None)


def _require_inside(path: Any, folder: int | None) -> None:
    assert _inside is not None, "looked at before"
    if isinstance(path, int):
        return  # a descriptor, which was let pass when it was opened
    base = os.readlink(f"/proc/self/fd/{folder}") if folder is not None and folder >= 0 else "."  # noqa: PTH115
    # A link as the last part is itself what is changed.
    place = Path(base, os.fsdecode(path))
    if not place.parent.resolve().is_relative_to(_inside):
        raise PermissionError(errno.EPERM, "the fence lets nothing be changed there", str(path))
