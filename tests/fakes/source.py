"""A source in memory: a history of commits that a test writes, breaks and rewrites."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reconciler.model.snapshot import Snapshot, SourceFault, SourceProblem
from reconciler.source.entries import Entry, Rejected, Wanted, judge, too_large
from reconciler.source.limits import Limits

Files = Mapping[str, bytes | None]


@dataclass(frozen=True, slots=True)
class _Commit:
    revision: str
    parent: "_Commit | None"
    files: Mapping[str, bytes]
    links: frozenset[str]


class FakeSource:
    """Follows its own branch as a Git source does; ids of contents are real Git blob ids."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._commits: dict[str, _Commit] = {}
        self._tip: _Commit | None = None
        self._branch = True
        self._problem: SourceProblem | None = None
        self._hidden: set[str] = set()
        self.unreadable = ""
        self._blobs: dict[str, bytes] = {}
        self._snapshots: dict[str, Snapshot] = {}
        self.closed = False
        self.looks = 0

    # What the world does.

    def commit(self, files: Files, *, links: Sequence[str] = ()) -> str:
        """Add a commit that sets these files (None removes one) and these links; return its revision."""
        return self._add(self._tip, files, links)

    def force_push(self, files: Files) -> str:
        """Replace the branch by a commit without parents that holds only these files; return its revision.

        test_rewritten_history_is_held_until_the_revision_is_accepted
        """
        return self._add(None, files, ())

    def push_back_to(self, revision: str) -> None:
        """Move the branch to an earlier revision (test_going_back_to_an_earlier_revision_is_a_rewrite)."""
        self._tip = self._commits[revision]

    def delete_branch(self) -> None:
        """Take the branch away (test_a_deleted_branch_is_a_problem_until_it_is_back)."""
        self._branch = False

    def restore_branch(self) -> None:
        self._branch = True

    def fail(self, fault: SourceFault, message: str = "the fake was told to fail") -> None:
        """Answer every look with this fault until `heal`."""
        self._problem = SourceProblem(fault, message)

    def unreachable(self) -> None:
        """Let the remote be gone (test_a_remote_out_of_reach_is_a_problem_until_it_is_back)."""
        self.fail(SourceFault.UNREACHABLE, "the remote does not answer")

    def corrupt(self) -> None:
        self.fail(SourceFault.CORRUPT, "an object is damaged")

    def heal(self) -> None:
        """Take back `fail`, `hide` and `lock`."""
        self._problem, self.unreadable = None, ""
        self._hidden.clear()

    def hide(self, content: bytes) -> None:
        """Make this content unreadable, as a missing blob is (test_ids_that_are_not_there_are_left_out)."""
        self._hidden.add(blob_id(content))

    @property
    def whole(self) -> bool:
        """Whether every content can be read now."""
        return not self._hidden

    def hides(self, content: bytes) -> bool:
        """Say whether this content is unreadable now."""
        return blob_id(content) in self._hidden

    def lock(self, folder: str) -> None:
        """Make a folder unreadable, as a missing tree object does.

        Nobody can say what is in it (test_a_folder_that_cannot_be_read_is_a_problem_and_not_an_empty_folder).
        """
        self.unreadable = folder

    # What the source says.

    def latest(self, applied: str | None, accepted: frozenset[str] = frozenset()) -> Snapshot | SourceProblem:
        self.looks += 1
        if self._problem is not None:
            return self._problem
        if not self._branch or self._tip is None:
            return SourceProblem(SourceFault.NO_BRANCH, "the branch does not exist")
        tip = self._tip
        if applied is not None and tip.revision not in accepted and not self._descends(tip, applied):
            return SourceProblem(SourceFault.REWRITTEN, "the branch was rewritten", tip.revision)
        if self.unreadable:
            return SourceProblem(SourceFault.CORRUPT, f"{self.unreadable} cannot be read", tip.revision)
        snapshot = self._snapshot(tip)
        if isinstance(snapshot, Snapshot) and not snapshot.files and applied is not None:
            return SourceProblem(SourceFault.EMPTY, "no desired file", tip.revision)
        return snapshot

    def at(self, revision: str) -> Snapshot | SourceProblem:
        if self._problem is not None and revision not in self._commits:
            return self._problem
        if revision == "main" and self._branch and self._tip is not None:
            return self._snapshot(self._tip)
        if revision in self._commits:
            return self._snapshot(self._commits[revision])
        return SourceProblem(SourceFault.NO_BRANCH, "no branch or commit of that name")

    def read(self, content_ids: Sequence[str]) -> Mapping[str, bytes]:
        return {
            one: self._blobs[one]
            for one in content_ids
            if one in self._blobs and one not in self._hidden and len(self._blobs[one]) <= self._limits.file_bytes
        }

    def close(self) -> None:
        self.closed = True

    def _add(self, parent: _Commit | None, files: Files, links: Sequence[str]) -> str:
        whole = dict(parent.files) if parent else {}
        for path, content in files.items():
            whole.pop(path, None)
            if content is not None:
                whole[path] = content
        standing = frozenset((parent.links if parent else frozenset()) - files.keys()) | frozenset(links)
        for link in links:
            whole.pop(link, None)
        text = repr(
            (parent.revision if parent else "", sorted(whole.items()), sorted(standing), len(self._commits))
        )
        revision = hashlib.sha1(text.encode()).hexdigest()
        self._tip = self._commits[revision] = _Commit(revision, parent, whole, standing)
        self._branch = True
        return revision

    def _descends(self, tip: _Commit, applied: str) -> bool:
        at: _Commit | None = tip
        while at is not None and at.revision != applied:
            at = at.parent
        return at is not None

    def _snapshot(self, commit: _Commit) -> Snapshot | SourceProblem:
        if commit.revision in self._snapshots:
            return self._snapshots[commit.revision]
        files: dict[str, str] = {}
        rejected: dict[str, str] = {}
        for path, content in commit.files.items():
            match judge(path.encode(), Entry.FILE):
                case Wanted(name) if len(content) > self._limits.file_bytes:
                    rejected[name] = too_large(len(content), self._limits.file_bytes)
                case Wanted(name):
                    files[name] = blob_id(content)
                    self._blobs[files[name]] = content
                case Rejected(name, reason):
                    rejected[name] = reason
                case _:
                    pass
        for path in commit.links:
            match judge(path.encode(), Entry.LINK):
                case Rejected(name, reason):
                    rejected[name] = reason
                case _:
                    pass
        if len(files) + len(rejected) > self._limits.files:
            return SourceProblem(SourceFault.TOO_LARGE, "too many files", commit.revision)
        return self._snapshots.setdefault(commit.revision, Snapshot(commit.revision, files, rejected))


def blob_id(content: bytes) -> str:
    """Return the id that Git gives to this content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
