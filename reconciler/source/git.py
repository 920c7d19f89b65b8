"""Desired files from a Git branch. GitPython starts fixed git commands; its own object model is never used."""

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from subprocess import PIPE, Popen
from threading import Event
from typing import TYPE_CHECKING

from reconciler.clock import Clock
from reconciler.model.snapshot import Snapshot, SourceFault, SourceProblem
from reconciler.source import git_setup, peek
from reconciler.source.child import GONE, Bounds, finish
from reconciler.source.git_config import OPTIONS
from reconciler.source.git_setup import GitSettings
from reconciler.source.lane import Hung, Lane
from reconciler.source.listing import Listing
from reconciler.source.location import SourceConfigError, checked_branch, is_commit_id
from reconciler.source.mirror import ASIDE, TIP, Damaged, Mirror

if TYPE_CHECKING:
    from git import Git

# Snapshots that stay ready: the tip, the applied revision, and what planning asked for.
KEPT = 8

# While the remote itself is damaged, each rebuild fetches everything in vain: pauses grow to this many passes.
MOST_PASSES_BETWEEN_REBUILDS = 64

_ABBREVIATED = re.compile(r"[0-9a-f]{7,40}")


class GitSource:
    """Follows one branch of one remote in a bare mirror under the settings' state folder.

    One process uses the folder and one thread uses the object. Nothing is ever checked out. Once `called_off` is
    set, by whichever thread, no fetch goes on.
    """

    def __init__(self, settings: GitSettings, clock: Clock, called_off: Event | None = None) -> None:
        self._settings = settings
        self._called_off = called_off or Event()
        self._clock = clock
        checked = git_setup.check(settings)
        self._location, self._branch, self._sub_path = checked.location, checked.branch, checked.sub_path
        self._git = _gitpython()
        self._lane = Lane(clock)
        with ExitStack() as taken:
            taken.callback(os.close, _take_lock(git_setup.private_folder(settings.state)))
            # A socket's path has at most 107 bytes, so that it cannot live below the state folder.
            self._sockets = Path(taken.enter_context(tempfile.TemporaryDirectory(prefix="rayops-")))
            self._environment = git_setup.surroundings(settings, self._location, self._sockets)
            self._mirror = self._open_mirror()
            self._taken = taken.pop_all()
        self._damaged = not self._mirror.exists()
        self._failed_rebuilds = 0
        self._passes_to_wait = 0
        # What the last rebuild in vain said.
        self._harm = ""
        self._tip: str | None = None
        self._listing: Listing | None = None
        self._snapshots: dict[str, Snapshot] = {}

    def latest(self, applied: str | None, accepted: frozenset[str] = frozenset()) -> Snapshot | SourceProblem:
        """Return the newest revision that may follow `applied`, or say why there is none.

        Nothing new at a local repository costs one read of a reference file, at a remote one `git fetch`.
        """
        try:
            return self._newest(applied, accepted)
        except OSError as error:
            return _no_storage(error)
        except Damaged as damage:
            self._damaged, reason = True, str(damage)
        try:
            return self._newest(applied, accepted)
        except OSError as error:
            return _no_storage(error)
        except Damaged:
            return SourceProblem(SourceFault.CORRUPT, f"the desired repository cannot be read: {reason}", self._tip)

    def at(self, revision: str) -> Snapshot | SourceProblem:
        """Return the revision of a commit id (full, or at least seven digits) or of a branch of the remote."""
        try:
            return self._at(revision)
        except OSError as error:
            return _no_storage(error)
        except Damaged as damage:
            self._damaged = True
            return SourceProblem(SourceFault.CORRUPT, f"the mirror of the desired repository is damaged: {damage}")

    def read(self, content_ids: Sequence[str]) -> Mapping[str, bytes]:
        """Return the bytes of the given content ids; ids that cannot be read whole are left out."""
        try:
            found = self._mirror.contents(content_ids)
        except OSError:
            return {}  # no git could be started: the machine has no room for it now
        if len(found) < len(content_ids) and self._listing is not None:
            listed = set(self._listing.files.values())
            # A blob of the newest revision is not in the mirror: build it anew at the next pass.
            self._damaged = self._damaged or any(one in listed and one not in found for one in content_ids)
        return found

    def close(self) -> None:
        """End child processes, the shared SSH connection and the hold on the state folder."""
        self._mirror.close()
        self._lane.close()
        self._hang_up()
        self._taken.close()

    def _newest(self, applied: str | None, accepted: frozenset[str]) -> Snapshot | SourceProblem:
        problem = self._follow()
        if problem is not None:
            return problem
        tip = self._tip
        assert tip is not None
        if applied is not None and tip not in accepted and not self._follows(tip, applied):
            message = f"the branch no longer contains the applied revision {applied}; accept {tip} to go on"
            return SourceProblem(SourceFault.REWRITTEN, message, tip)
        snapshot = self._snapshot(tip)
        if isinstance(snapshot, Snapshot) and not snapshot.files and applied is not None:
            return SourceProblem(SourceFault.EMPTY, "the revision holds no desired file at all", tip)
        return snapshot

    def _follow(self) -> SourceProblem | None:
        """Bring the tip of the mirror up to the remote's."""
        if self._damaged:
            return self._rebuild()
        if self._tip is not None and self._peek() == self._tip:
            return None
        problem = self._fetch(self._mirror, self._branch_name(self._branch), TIP)
        if problem is not None and problem.fault is SourceFault.CORRUPT:
            # Ours or the remote's? Building beside answers, and keeps what we have until it is answered.
            return self._rebuild()
        if problem is None:
            tip = self._mirror.tip()
            if tip != self._tip:
                self._mirror.consolidate()
            self._tip = tip
        return problem

    def _fetch(self, mirror: Mirror, name: str, into: str) -> SourceProblem | None:
        for secret in (self._settings.token_file, self._settings.ssh_key):
            if secret is not None and (reason := git_setup.exposed(secret)):
                return SourceProblem(SourceFault.REFUSED, reason)
        problem = mirror.fetch(self._location.url, name, into)
        if problem is not None and problem.fault is SourceFault.UNREACHABLE:
            self._hang_up()  # the shared connection may be what hangs
        return problem

    def _rebuild(self) -> SourceProblem | None:
        """Build a new mirror beside the old one and change over only when it is whole."""
        if self._passes_to_wait > 0:
            self._passes_to_wait -= 1
            return SourceProblem(SourceFault.CORRUPT, f"{self._harm}; rebuilding waits a while")
        fresh = self._mirror_at("mirror.new")
        fresh.remove()
        if (problem := fresh.create()) is not None:
            fresh.remove()
            return problem
        try:
            problem = self._fetch(fresh, self._branch_name(self._branch), TIP)
            if problem is None:
                self._change_over(fresh)
                return None
        except Damaged as damage:
            problem = SourceProblem(SourceFault.CORRUPT, f"the remote itself is damaged: {damage}")
        finally:
            fresh.remove()
        if problem.fault in {SourceFault.CORRUPT, SourceFault.TOO_LARGE}:
            self._failed_rebuilds += 1
            self._harm = problem.message
            self._passes_to_wait = min(2**self._failed_rebuilds, MOST_PASSES_BETWEEN_REBUILDS)
        return problem

    def _change_over(self, fresh: Mirror) -> None:
        state, tip = self._settings.state, fresh.tip()
        listing = fresh.listing(tip, self._sub_path, None)
        fresh.close()
        self._mirror.close()
        if self._mirror.folder.exists():
            self._mirror.folder.rename(state / "mirror.old")
        (state / "mirror.new").rename(state / "mirror")
        shutil.rmtree(state / "mirror.old", ignore_errors=True)
        self._mirror = self._mirror_at("mirror")
        # The old listing's tree may not exist in the new mirror, so that nothing can be compared with it.
        self._tip, self._listing = tip, listing if isinstance(listing, Listing) else None
        self._damaged, self._failed_rebuilds, self._passes_to_wait = False, 0, 0

    def _follows(self, tip: str, applied: str) -> bool:
        return is_commit_id(applied) and self._mirror.descends(tip, applied)

    def _snapshot(self, commit: str) -> Snapshot | SourceProblem:
        if commit in self._snapshots:
            return self._snapshots[commit]
        listing = self._mirror.listing(commit, self._sub_path, self._listing)
        if isinstance(listing, SourceProblem):
            return listing
        self._listing = listing
        self._snapshots[commit] = Snapshot(commit, listing.files, listing.rejected)
        while len(self._snapshots) > KEPT:
            del self._snapshots[next(iter(self._snapshots))]
        return self._snapshots[commit]

    def _at(self, revision: str) -> Snapshot | SourceProblem:
        commit = self._mirror.commit(revision) if _ABBREVIATED.fullmatch(revision) and not self._damaged else None
        if commit is None:
            try:
                name = revision if is_commit_id(revision) else self._branch_name(checked_branch(revision))
            except SourceConfigError:
                return SourceProblem(SourceFault.NO_BRANCH, "the revision is neither a commit id nor a branch name")
            if self._damaged and (problem := self._rebuild()):
                return problem
            problem = self._fetch(self._mirror, name, ASIDE)
            if problem is not None:
                return problem
            commit = self._mirror.commit(ASIDE)
        if commit is None:
            return SourceProblem(SourceFault.NO_BRANCH, "the revision is no commit")
        return self._snapshot(commit)

    def _branch_name(self, branch: str) -> str:
        return f"refs/heads/{branch}"

    def _peek(self) -> str | None:
        folder = self._location.folder
        if folder is None:
            return None
        try:
            return self._lane.run(lambda: peek.branch_tip(folder, self._branch), self._settings.limits.local)
        except Hung:
            return None

    def _open_mirror(self) -> Mirror:
        state = self._settings.state
        # A crash between the two renames of a change-over leaves no mirror but the old one.
        if not (state / "mirror").exists() and (state / "mirror.old").exists():
            (state / "mirror.old").rename(state / "mirror")
        shutil.rmtree(state / "mirror.old", ignore_errors=True)
        shutil.rmtree(state / "mirror.new", ignore_errors=True)
        mirror = self._mirror_at("mirror")
        mirror.tidy()
        return mirror

    def _mirror_at(self, name: str) -> Mirror:
        folder, limits = self._settings.state / name, self._settings.limits
        return Mirror(folder, self._launch, limits, self._clock, self._called_off.is_set)

    def _launch(self, git_dir: Path, arguments: Sequence[str], stdin: int) -> Popen[bytes]:
        environment = [f"{name}={value}" for name, value in self._environment.items()]
        options = [part for option in OPTIONS for part in ("-c", option)]
        # GitPython adds to the inherited environment and cannot take away from it: `env -i` begins an empty one.
        command = ["env", "-i", *environment, f"GIT_DIR={git_dir}", "git", *options, *arguments]
        started = self._git("/").execute(
            command, istream=stdin, as_process=True, shell=False, start_new_session=True
        )
        process, started.proc = started.proc, None  # its own finalizer waits without a limit
        assert process is not None
        return process

    def _hang_up(self) -> None:
        for socket in self._sockets.glob("*"):
            leave = ["ssh", "-F", "/dev/null", "-o", f"ControlPath={socket}", "-O", "exit", "none"]
            plain = {"PATH": git_setup.PROGRAM_PATH}
            master = Popen(leave, env=plain, stdout=PIPE, stderr=PIPE, start_new_session=True)
            finish(master, Bounds(GONE), self._clock)
            socket.unlink(missing_ok=True)


@cache
def _gitpython() -> "type[Git]":
    # While it is imported it runs git, or the program that a variable names, by what the environment says.
    git_setup.forget_variables()
    from git import Git

    return Git


def _no_storage(error: OSError) -> SourceProblem:
    message = f"the mirror of the desired repository cannot be written: {error.strerror}; it is tried again"
    return SourceProblem(SourceFault.STORAGE, message)


def _take_lock(state: Path) -> int:
    lock = os.open(state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as busy:
        os.close(lock)
        raise SourceConfigError(f"{state} is in use by another process; give each its own state folder") from busy
    return lock
