"""The conversation with long-lived `git cat-file` children: names in, objects out, each answer bounded in time."""

import hashlib
import os
import selectors
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from subprocess import Popen

from reconciler.source import child
from reconciler.source.location import is_commit_id

# Questions sent before the first answer is read. All of them fit into an empty pipe (64 KiB), so that git and we
# never wait for each other.
AT_ONCE = 500

# Restarts for damaged objects within one call; a mirror with more of them is rebuilt anyway.
RESTARTS = 8

# Ids and our own references are short; a longer name (a folder of a revision) is asked alone.
_SHORT = 64

Launch = Callable[[Sequence[str]], Popen[bytes]]


class Mute(Exception):
    """The child gave no whole answer: it died at a damaged object, or hangs."""


@dataclass(frozen=True, slots=True)
class Header:
    """What an object is."""

    id: str
    kind: str
    size: int


class Objects:
    """Reads objects of one repository. One thread uses it; children start on demand and after each failure."""

    def __init__(self, launch: Launch, limit: timedelta) -> None:
        self._headers = _Conversation(lambda: launch(("cat-file", "--batch-check")), limit)
        self._contents = _Conversation(lambda: launch(("cat-file", "--batch")), limit)

    def headers(self, names: Sequence[str]) -> list[Header | None]:
        """Return what each name stands for, None where the repository has no such object."""
        found: list[Header | None] = []
        for some in _in_groups(names):
            self._headers.ask(some)
            found += [self._headers.header() for _ in some]
        return found

    def read(self, ids: Sequence[str], kind: str, max_bytes: int) -> dict[str, bytes]:
        """Return the objects of that kind that are there, at most `max_bytes` long, and match their id."""
        found: dict[str, bytes] = {}
        left = [one for one in dict.fromkeys(ids) if is_commit_id(one)]
        for _ in range(RESTARTS):
            done = 0
            try:
                for one, data in self._each(left, kind, max_bytes):
                    done += 1
                    if data is not None and _object_id(kind, data) == one:
                        found[one] = data
            except Mute:
                # The child died or was ended at this object: go on behind it with a new one.
                left = left[done + 1 :]
                continue
            return found
        return found

    def close(self) -> None:
        """End the children."""
        self._headers.stop()
        self._contents.stop()

    def _each(self, ids: Sequence[str], kind: str, max_bytes: int) -> Iterator[tuple[str, bytes | None]]:
        for some in _in_groups(ids):
            self._contents.ask(some)
            for one in some:
                header = self._contents.header()
                if header is None:
                    yield one, None
                    continue
                if header.size > max_bytes:
                    # Its bytes are on their way; ending the child is cheaper than reading them.
                    self._contents.stop()
                    raise Mute
                data = self._contents.content(header.size)
                yield one, data if header.kind == kind else None


class _Conversation:
    def __init__(self, start: Callable[[], Popen[bytes]], limit: timedelta) -> None:
        self._start = start
        self._limit = limit
        self._child: Popen[bytes] | None = None
        self._answers = selectors.DefaultSelector()
        self._heard = bytearray()

    def ask(self, names: Sequence[str]) -> None:
        if self._child is None:
            self._child = self._start()
            assert self._child.stdout is not None
            self._answers.register(self._child.stdout, selectors.EVENT_READ)
        assert self._child.stdin is not None
        try:
            self._child.stdin.write("".join(f"{name}\n" for name in names).encode("utf-8"))
            self._child.stdin.flush()
        except BrokenPipeError as gone:
            self.stop()
            raise Mute from gone

    def header(self) -> Header | None:
        while (end := self._heard.find(b"\n")) < 0:
            self._hear()
        line = self._take(end + 1)[:-1].decode("utf-8", "replace")
        words = line.split(" ")
        if len(words) == 3 and is_commit_id(words[0]) and words[2].isdigit():
            return Header(words[0], words[1], int(words[2]))
        if line.endswith((" missing", " ambiguous")):
            return None
        raise self._out_of_step()

    def content(self, size: int) -> bytes:
        while len(self._heard) <= size:
            self._hear()
        data = self._take(size + 1)
        if data[-1:] != b"\n":
            raise self._out_of_step()
        return data[:-1]

    def stop(self) -> None:
        if self._child is not None:
            ended, self._child = self._child, None
            assert ended.stdout is not None
            self._answers.unregister(ended.stdout)
            child.end(ended)
        self._heard.clear()

    def _out_of_step(self) -> Mute:
        # Questions and answers no longer belong together; only a new child puts that right.
        self.stop()
        return Mute("git cat-file gave an answer that is none")

    def _take(self, size: int) -> bytes:
        taken = bytes(self._heard[:size])
        del self._heard[:size]
        return taken

    def _hear(self) -> None:
        if self._child is None or self._child.stdout is None:
            raise Mute
        chunk = b""
        if self._answers.select(self._limit.total_seconds()):
            with suppress(OSError):
                chunk = os.read(self._child.stdout.fileno(), 1 << 16)
        if not chunk:
            self.stop()
            raise Mute
        self._heard += chunk


def _in_groups(names: Sequence[str]) -> Iterator[Sequence[str]]:
    if not all(name.isprintable() for name in names):
        # One name is one line; a second line would shift every later answer.
        raise ValueError("an object name must be one printable line")
    step = AT_ONCE if all(len(name) <= _SHORT for name in names) else 1
    for start in range(0, len(names), step):
        yield names[start : start + step]


def _object_id(kind: str, data: bytes) -> str:
    # Git checks the content of loose objects only; a packed one is checked by nobody but us.
    return hashlib.sha1(b"%s %d\0" % (kind.encode(), len(data)) + data, usedforsecurity=False).hexdigest()
