"""A work tree of the desired-state repo: its files, where each object is described, and commits of edits."""

import difflib
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from reconciler.cli.exit import Ended, Exit
from reconciler.cli.names import Wanted
from reconciler.model.desired import Desired, Loaded

# A file of desired state is a page or two; this much is something else.
MAX_FILE = 1 << 20


@dataclass(frozen=True, slots=True)
class WorkTree:
    """The YAML files below a folder, and what they describe."""

    root: Path
    files: Mapping[str, bytes]
    desired: Desired

    @classmethod
    def read(cls, root: Path) -> "WorkTree":
        """Read the files below `root`; links are not followed."""
        from reconciler.desired.load import load_tree
        from reconciler.desired.parse import is_document

        if not root.is_dir():
            raise Ended(Exit.USAGE, f"{root}: there is no such folder")
        files = {}
        for path in sorted(root.rglob("*")):
            name = path.relative_to(root).as_posix()
            if is_document(name) and path.is_file() and not path.is_symlink():
                with path.open("rb") as file:
                    files[name] = file.read(MAX_FILE + 1)
        return cls(root, files, load_tree(files))

    def find(self, wanted: Wanted) -> Loaded:
        """Return the one object that somebody named."""
        found = [each for identity, each in sorted(self.desired.objects.items()) if wanted.fits(identity)]
        if not found:
            raise Ended(Exit.NOT_FOUND, f"{wanted}: no file in {self.root} describes it")
        if len(found) > 1:
            names = ", ".join(str(each.id) for each in found)
            raise Ended(Exit.USAGE, f"{wanted}: this may mean {names}; name the kind and the team, too")
        return found[0]

    def patch(self, path: str, edited: bytes) -> str:
        """Return an edit as a patch that `git apply` takes."""
        before = self.files[path].decode().splitlines(keepends=True)
        after = edited.decode().splitlines(keepends=True)
        return "".join(difflib.unified_diff(before, after, f"a/{path}", f"b/{path}"))

    def commit(self, path: str, edited: bytes, message: str) -> None:
        """Write one edited file and commit it, and nothing else of the work tree."""
        from reconciler.desired.load import load_tree

        broken = load_tree({**self.files, path: edited}).errors
        mistakes = [str(error) for error in broken if error.path == path]
        if mistakes:
            raise Ended(Exit.USAGE, "\n".join(mistakes))
        (self.root / path).write_bytes(edited)
        self._git("add", "--", path)
        self._git("commit", "--quiet", "--message", message, "--only", "--", path)

    def _git(self, *words: str) -> None:
        done = subprocess.run(
            ["git", "-C", str(self.root), *words], capture_output=True, text=True, check=False, errors="replace"
        )
        if done.returncode != 0:
            said = done.stderr.strip() or done.stdout.strip()
            raise Ended(Exit.REFUSED, f"git {words[0]} failed; the file is edited but not committed: {said}")
