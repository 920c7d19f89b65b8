"""An installation below a folder whose one machine is this one, without a program that could start anything."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from reconciler.clock import SystemClock
from reconciler.config import Environment
from tests.cli.site import Said, call
from tests.cli.tree import Repo, repo


class Premises:
    """A repo, a shared directory, a state directory that does not exist yet, and settings."""

    def __init__(self, home: Path, settings: str = "") -> None:
        self.home = home
        self.repo: Repo = repo(home / "desired")
        self.shared, self.state, self.status = home / "shared", home / "state", home / "status"
        self.shared.mkdir()
        self.file = home / "rayops.toml"
        self.file.write_text(
            f'[source]\nurl = "{self.repo.root}"\n\n'
            f'[paths]\nstate = "{self.state}"\nshared = "{self.shared}"\nstatus = "{self.status}"\n\n'
            # A machine without this program says no to everything, at once.
            f'[machines]\ntransport = "local"\npython = "{home}/no-python"\nnode_dir = "{home}/node"\n\n{settings}'
        )

    def rayops(self, verb: str, *words: str) -> Said:
        around = Environment(config=str(self.file), no_color=True)
        return call(verb, *words, environment=around, clock=SystemClock())

    def commit(self, files: Mapping[str, str]) -> None:
        for path, content in files.items():
            self.repo.write(path, content)
        self.repo.save()

    def everything(self) -> dict[str, bytes | None]:
        """Return all files and folders of the state, shared and status directories, with what they hold."""
        found: dict[str, bytes | None] = {}
        for root in (self.state, self.shared, self.status, self.home / "node"):
            found |= {str(root): None} if root.exists() else {}
            found |= {str(path): path.read_bytes() if path.is_file() else None for path in root.rglob("*")}
        return found

    def lose_ledger(self) -> Path:
        """Take the ledger away, as a disk that died does, and return where it is."""
        kept = self.home / "lost ledger"
        shutil.move(self.state / "ledger", kept)
        return kept
