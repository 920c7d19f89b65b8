"""The log of one attempt in the shared directory; a link in its way is refused by the door, not followed."""

import codecs
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.cli.exit import Ended, Exit
from reconciler.cli.seen import Seen, rows_of
from reconciler.cli.text import moment, plain
from reconciler.model.layout import job_dir
from reconciler.remote.files import Files

BLOCK = 1 << 16

# The submission id comes from a status file and becomes a part of a path.
_SUBMISSION = re.compile(r"[a-z0-9][a-z0-9.-]{0,120}", re.ASCII)


# No escape sequence worth the name is longer; what begins like one and goes on is shown without its beginning.
LONGEST_SEQUENCE = 256


class Readable:
    """Turns blocks of bytes into text for a terminal; characters and sequences may lie across blocks."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""

    def more(self, block: bytes) -> str:
        """Return what can be shown by now."""
        text = self._held + self._decoder.decode(block)
        begin = text.rfind("\x1b", max(0, len(text) - LONGEST_SEQUENCE))
        # A carriage return at the end may be the first half of a line break.
        keep = begin if begin >= 0 else len(text) - text.endswith("\r")
        self._held = text[keep:]
        return plain(text[:keep])

    def rest(self) -> str:
        """Return what was held back."""
        return plain(self._held + self._decoder.decode(b"", final=True))


@dataclass(frozen=True, slots=True)
class LogFile:
    """What one attempt printed."""

    files: Files
    number: int
    path: str

    def size(self) -> int | None:
        """Return the bytes that are there, or None while there is no log."""
        stamp = self.files.stamp(self.path)
        return stamp.size if stamp else None

    def blocks(self, offset: int = 0) -> Iterator[bytes]:
        """Yield what is there from `offset` on."""
        while block := self.files.read_range(self.path, offset, BLOCK):
            offset += len(block)
            yield block

    def start_of_last(self, lines: int) -> int:
        """Return where the last `lines` lines begin."""
        size = self.size() or 0
        # The break that ends the log begins no line of its own.
        place, wanted = size, lines + (1 if self._part(size - 1, size) == b"\n" else 0)
        while place > 0 and lines > 0:
            start = max(0, place - BLOCK)
            block = self._part(start, place)
            breaks = [match.start() for match in re.finditer(b"\n", block)]
            if len(breaks) >= wanted:
                return start + breaks[-wanted] + 1
            wanted -= len(breaks)
            place = start
        return place

    def tail(self, lines: int) -> bytes:
        """Return the last `lines` lines, of a very long last line its end only."""
        start, size = self.start_of_last(lines), self.size() or 0
        return self._part(max(start, size - BLOCK), size)

    def _part(self, start: int, end: int) -> bytes:
        return self.files.read_range(self.path, start, end - start) or b"" if 0 <= start < end else b""


def log_of(files: Files, attempt: Mapping[str, Any]) -> LogFile:
    """Return the log of an attempt as the status describes it."""
    submission, number = attempt.get("submissionId"), attempt.get("number")
    if not isinstance(submission, str) or not _SUBMISSION.fullmatch(submission):
        raise Ended(Exit.NOT_FOUND, f"attempt {number}: the status names no job directory")
    return LogFile(files, number if isinstance(number, int) else 0, f"{job_dir(submission)}/logs/driver.log")


def attempts_of(job: Seen) -> list[Mapping[str, Any]]:
    """Return the attempts of a job, the oldest first."""
    return rows_of(job.detail.get("attempts"))


def has_ended(attempt: Mapping[str, Any]) -> bool:
    """Say whether an attempt will print no more."""
    return moment(attempt.get("ended")) is not None
