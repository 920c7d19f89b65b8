"""A bare repository of our own that follows one branch of a remote. It is a cache: damage means rebuilding it."""

import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen

from reconciler.clock import Clock
from reconciler.model.snapshot import SourceFault, SourceProblem
from reconciler.source.cat_file import Header, Mute, Objects
from reconciler.source.child import Bounds, Ended, finish
from reconciler.source.faults import problem_of, redacted
from reconciler.source.limits import Limits
from reconciler.source.listing import Listing, updated, wanted_ids
from reconciler.source.tree import EndlessTree, UnreadableTree, tree_changes

# The followed branch, and the last revision that was asked for by name.
TIP = "refs/rayops/tip"
ASIDE = "refs/rayops/aside"

# Each fetch leaves one pack, and each pack makes each lookup slower; nothing else ever tidies the mirror.
MANY_PACKS = 32

# The parents of a commit come first in it; a message of this size is read along, a larger one is git's affair.
_MAX_COMMIT = 64 << 10

# Starts git in a repository with the given standard input (PIPE or DEVNULL), as the leader of its own session.
LaunchGit = Callable[[Path, Sequence[str], int], Popen[bytes]]


class Damaged(Exception):
    """The mirror cannot be read; it must be built anew."""


class Mirror:
    """One bare repository and the git commands that are run on it. One thread uses it."""

    def __init__(
        self, folder: Path, launch: LaunchGit, limits: Limits, clock: Clock, called_off: Callable[[], bool]
    ) -> None:
        self.folder = folder
        self._called_off = called_off
        self._launch = launch
        self._limits = limits
        self._clock = clock
        self._packs = folder / "objects" / "pack"
        self._objects = Objects(lambda arguments: launch(folder, arguments, PIPE), limits.local)

    def create(self) -> SourceProblem | None:
        """Make the empty repository; no template, so that there is no hook in it."""
        ended = self._run("init", "--bare", "--quiet", "--template=", "--initial-branch=none")
        if ended.well:
            return None
        # No remote has a part in it.
        return SourceProblem(SourceFault.STORAGE, f"the mirror cannot be made: {redacted(ended.error)}")

    def exists(self) -> bool:
        """Say whether there is a repository to go on with."""
        return (self.folder / "HEAD").is_file()

    def tidy(self) -> None:
        """Remove what a killed git leaves behind: locks, and packs that were being written."""
        leftovers = [*self._packs.glob("tmp_*"), *(self.folder / "refs" / "rayops").glob("*.lock")]
        leftovers += [self.folder / name for name in ("packed-refs.lock", "shallow.lock", "config.lock")]
        for leftover in leftovers:
            leftover.unlink(missing_ok=True)

    def fetch(self, url: str, name: str, into: str) -> SourceProblem | None:
        """Bring the reference or commit `name` of the remote into the reference `into`, with all its history."""
        first = self.commit(TIP) is None
        limit = self._limits.first_fetch if first else self._limits.fetch
        before = self._packed_bytes()
        bounds = Bounds(
            limit,
            disk_full=lambda: self._packed_bytes() - before > self._limits.fetched_bytes,
            called_off=self._called_off,
        )
        git = self._launch(self.folder, (*_FETCH, url, f"+{name}:{into}"), DEVNULL)
        ended = finish(git, bounds, self._clock)
        if ended.well:
            return None
        self.tidy()
        return problem_of(ended, "fetching the desired repository", limit)

    def commit(self, name: str) -> str | None:
        """Return the full id of the commit that `name` stands for, None when there is none."""
        header = self._header(f"{name}^{{commit}}")
        return header.id if header else None

    def tip(self) -> str:
        """Return the commit of the followed branch, as it was fetched last."""
        found = self.commit(TIP)
        if found is None:
            raise Damaged("the followed branch is no commit")
        return found

    def descends(self, tip: str, applied: str) -> bool:
        """Say whether the commit `tip` has `applied` among its ancestors. Unknown commits have no descendants."""
        if tip == applied:
            return True
        if applied in self._parents(tip):
            return True  # the everyday case, without a child process
        if self.commit(applied) is None:
            return False
        ended = self._run("merge-base", "--is-ancestor", "--end-of-options", applied, tip)
        if ended.cut or ended.code not in {0, 1}:
            raise Damaged(f"comparing revisions: {redacted(ended.error)}")
        return ended.code == 0

    def listing(self, commit: str, sub_path: str, before: Listing | None) -> Listing | SourceProblem:
        """Return the desired files of a commit; the cost follows the difference to `before`."""
        found = self._header(f"{commit}:{sub_path}" if sub_path else f"{commit}^{{tree}}")
        if found is None:
            return Listing()
        if found.kind != "tree":
            return SourceProblem(SourceFault.BAD_ENTRY, "the sub-path is not a folder at this revision", commit)
        if before is not None and before.tree == found.id:
            return before
        try:
            return self._listed(found.id, commit, before or Listing())
        except EndlessTree as excess:
            return SourceProblem(SourceFault.TOO_LARGE, str(excess), commit)
        except (Mute, UnreadableTree) as damage:
            raise Damaged(str(damage) or "git cat-file gave no answer") from damage

    def contents(self, ids: Sequence[str]) -> dict[str, bytes]:
        """Return the blobs that are there and whole."""
        return self._objects.read(ids, "blob", self._limits.file_bytes)

    def consolidate(self) -> None:
        """Join small packs when there are many; the cost follows what was fetched since."""
        if len(list(self._packs.glob("*.pack"))) <= MANY_PACKS:
            return
        # Geometric: joins the small packs only, and keeps unreachable objects (the last good revision may be one).
        # A failure costs speed only, and the next fetch tries again.
        if not self._run("repack", "--geometric=2", "-d", "-q").well:
            self.tidy()

    def close(self) -> None:
        """End the children."""
        self._objects.close()

    def remove(self) -> None:
        """Remove the repository."""
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _listed(self, tree: str, commit: str, before: Listing) -> Listing | SourceProblem:
        # Twice the files: as many may have gone as have come.
        changes = tree_changes(self._objects, before.tree, tree, self._limits.files * 2)
        ids = wanted_ids(changes)
        headers = {one: header for one, header in zip(ids, self._objects.headers(ids), strict=True) if header}
        after = updated(before, tree, changes, headers, self._limits.file_bytes)
        excess = after.excess(self._limits)
        return SourceProblem(SourceFault.TOO_LARGE, excess, commit) if excess else after

    def _parents(self, commit: str) -> list[str]:
        text = self._objects.read([commit], "commit", _MAX_COMMIT).get(commit, b"")
        head = text.partition(b"\n\n")[0].decode("ascii", "replace").split("\n")
        return [line.removeprefix("parent ") for line in head if line.startswith("parent ")]

    def _header(self, name: str) -> Header | None:
        try:
            return self._objects.headers([name])[0]
        except Mute as mute:
            raise Damaged("git cat-file gave no answer") from mute

    def _run(self, *arguments: str) -> Ended:
        return finish(self._launch(self.folder, arguments, DEVNULL), Bounds(self._limits.local), self._clock)

    def _packed_bytes(self) -> int:
        total = 0
        # A pack may be renamed between the listing and the look.
        with suppress(FileNotFoundError), os.scandir(self._packs) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    total += entry.stat(follow_symlinks=False).st_size
        return total


_FETCH = (
    "fetch",
    "--quiet",
    "--no-tags",
    "--no-write-fetch-head",
    "--no-auto-maintenance",
    "--no-recurse-submodules",
    "--no-show-forced-updates",
    "--end-of-options",
)
