"""What machines read from the share: put there, and put right again when somebody changed it."""

import logging
from collections.abc import Mapping

from reconciler.remote.files import Files, FilesError, FileStamp

log = logging.getLogger(__name__)


class Published:
    """Files of the daemon in a place where others write, by path."""

    def __init__(self, shared: Files, files: Mapping[str, bytes]) -> None:
        self._shared = shared
        self._files = files
        self._stamps: dict[str, FileStamp | None] = {}
        self._trouble = ""

    def write(self) -> list[str]:
        """Write every file that is not there as it must be, and return their paths; raises FilesError."""
        written = []
        for path, data in self._files.items():
            if path in self._stamps and self._stamps[path] == self._stamp(path):
                continue
            if not self._holds(path, data):
                self._shared.write(path, data)
                written.append(path)
            self._stamps[path] = self._stamp(path)
        return written

    def put_right(self) -> None:
        """Write what was changed since, and tell it: nothing but another hand does that."""
        try:
            for path in self.write():
                log.warning("put right", extra={"path": path, "reason": "somebody else had changed it"})
            self._trouble = ""
        except FilesError as error:
            if error.message != self._trouble:
                log.warning("not put right", extra={"error": error.message})
            self._trouble = error.message

    def _holds(self, path: str, data: bytes) -> bool:
        try:
            return self._shared.read_range(path, 0, len(data) + 1) == data
        except FilesError:
            return False  # a link stands there, or the share fails: then the write says so

    def _stamp(self, path: str) -> FileStamp | None:
        try:
            return self._shared.stamp(path)
        except FilesError:
            return None
