"""A work tree of the desired-state repo: what its files describe, and commits of edits."""

import difflib
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from reconciler.cli.exit import Ended, Exit
from reconciler.cli.names import Wanted
from reconciler.clock import Clock
from reconciler.model.desired import Desired, Loaded
from reconciler.model.snapshot import Snapshot, SourceProblem

# Who asked for an object that is nowhere sees where it may hide; the rest is one `rayops validate` away.
MAX_HINTS = 5

# Patches know one end of a line only; what Python takes for others is text.
_LINE = re.compile(rb"[^\n]*\n|[^\n]+")
_NO_NEWLINE = b"\n\\ No newline at end of file\n"


@dataclass(frozen=True, slots=True)
class WorkTree:
    """The files below a folder as the daemon would read them, and what they describe."""

    root: Path
    files: Mapping[str, bytes]
    desired: Desired
    rejected: Mapping[str, str]

    @classmethod
    def read(cls, root: Path, clock: Clock) -> "WorkTree":
        """Read the files below `root`; links and hidden folders are not followed."""
        from reconciler.desired.load import Loader
        from reconciler.source.directory import DirectorySource

        if not root.is_dir():
            raise Ended(Exit.USAGE, f"{root}: there is no such folder")
        source = DirectorySource(root.resolve(), clock)
        try:
            found = source.latest(None)
            if isinstance(found, SourceProblem):
                raise Ended(Exit.USAGE, found.message)
            contents = source.read(list(found.files.values()))
        finally:
            source.close()
        files = {path: contents[content] for path, content in found.files.items() if content in contents}
        return cls(root, files, Loader().load(found, lambda _: contents), found.rejected)

    def find(self, wanted: Wanted) -> Loaded:
        """Return the one object that somebody named."""
        found = [each for identity, each in sorted(self.desired.objects.items()) if wanted.fits(identity)]
        if not found:
            raise self.missing(f"{wanted}: no file in {self.root} describes it")
        if len(found) > 1:
            names = ", ".join(str(each.id) for each in found)
            raise Ended(Exit.USAGE, f"{wanted}: this may mean {names}; name the kind and the team, too")
        return found[0]

    def missing(self, message: str) -> Ended:
        """Return the end of a call that did not find something, with the files in which it may be nevertheless."""
        broken = [str(error) for error in self.desired.errors]
        if not broken:
            return Ended(Exit.NOT_FOUND, message)
        more = [f"and {len(broken) - MAX_HINTS} more; `rayops validate` shows them"] if broken[MAX_HINTS:] else []
        lines = [f"{message}; it may be in one that is broken:", *broken[:MAX_HINTS], *more]
        return Ended(Exit.NOT_FOUND, "\n".join(lines))

    def check(self, path: str, edited: bytes) -> None:
        """End the call when an edited file would be refused."""
        from reconciler.desired.load import Loader

        # In a work tree the path names the content as well as anything.
        files = {**self.files, path: edited}
        snapshot = Snapshot("edited", {each: each for each in files}, self.rejected)
        desired = Loader().load(snapshot, lambda paths: {each: files[each] for each in paths})
        mistakes = [str(error) for error in desired.errors if error.path == path]
        if mistakes:
            raise Ended(Exit.USAGE, "\n".join(mistakes))

    def patch(self, path: str, edited: bytes) -> bytes:
        """Return an edit as a patch that `git apply` takes in this folder."""
        before, after = _LINE.findall(self.files[path]), _LINE.findall(edited)
        old, new = f"a/{path}".encode(), f"b/{path}".encode()
        lines = difflib.diff_bytes(difflib.unified_diff, before, after, old, new)
        return b"".join(line if line.endswith(b"\n") else line + _NO_NEWLINE for line in lines)

    def require_committed(self, path: str) -> None:
        """End the call unless the file is as it was committed, so that a commit holds one edit and nothing else."""
        if self._git("status", "--porcelain", "--untracked-files=all", "--ignored", "--", path):
            raise Ended(Exit.REFUSED, f"{path} has changes that are not committed; commit them first, or --dry-run")

    def commit(self, path: str, edited: bytes, message: str) -> None:
        """Write one edited file and commit it, and nothing else of the work tree; both or neither."""
        self._write(path, edited)
        try:
            self._git("commit", "--quiet", "--message", message, "--only", "--", path)
        except BaseException:
            # A file that says so already would look as if its commit were made.
            self._write(path, self.files[path])
            raise

    def _write(self, path: str, content: bytes) -> None:
        descriptor = os.open(self.root / path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "wb") as file:
            file.truncate()
            file.write(content)

    def _git(self, *words: str) -> str:
        command = ["git", "-C", str(self.root), "--literal-pathspecs", *words]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, errors="replace")
        except FileNotFoundError as error:
            raise Ended(Exit.REFUSED, "git is not installed here; --dry-run prints a patch") from error
        if done.returncode != 0:
            said = done.stderr.strip() or done.stdout.strip()
            raise Ended(Exit.REFUSED, f"git {words[0]} failed, and nothing was changed: {said}")
        return done.stdout
