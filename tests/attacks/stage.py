"""A site under attack: the real daemon on a repository that takes any object, and all that it tells anybody."""

import ctypes
import json
import os
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.installation import Installation, Json, installation
from tests.gitremote import GitRemote

WITNESS = "witness.yaml"
# Committed text that must be in nothing that anybody can read.
CANARY = "s3cr3t-canary"
# What people ask; whatever an attack smuggles through would be shown by one of these.
QUESTIONS = (
    ("get", "all"),
    ("get", "all", "-o", "json"),
    ("describe", "site"),
    ("history",),
    ("plan",),
)

# linux/fcntl.h and linux/fs.h; Python has no name for them.
AT_FDCWD, RENAME_EXCHANGE = -100, 2

Entry = tuple[str, str, bytes]  # mode, id and name of a tree's entry


def document(kind: str, name: str, spec: str, *, metadata: str = "") -> str:
    """Return the text of a document; `metadata` is added to the name."""
    return f"apiVersion: rayops/v1\nkind: {kind}\nmetadata: {{name: {name}{metadata}}}\nspec: {spec}\n"


def job(name: str, spec: str = "", *, team: str = "a", workload: str = "argv: [x]") -> str:
    """Return the text of a job; `spec` holds further lines, and `workload` what it runs."""
    whole = f"\n  user: alice\n  pool: gpu\n  workload: {{type: command, {workload}}}\n{spec}"
    return document("Job", name, whole, metadata=f", team: {team}")


BASE = {
    "site.yaml": document("Site", "site", "{}"),
    "users/alice.yaml": document("User", "alice", "{}"),
    "teams/a/team.yaml": document("Team", "a", "{members: [alice]}"),
    "teams/b/team.yaml": document("Team", "b", "{members: [alice]}"),
}

# A cluster that nobody starts, and its only machine: jobs wait.
MACHINES = {
    "cluster.yaml": document(
        "Cluster",
        "main",
        "{suspend: true, ray: {version: 2.60.0}, head: {candidates: [{name: h, host: 127.0.0.1, user: x}]}}",
    ),
    "pool.yaml": document(
        "NodePool",
        "gpu",
        "{cluster: main, join: ssh, perNode: {cpus: 1}, nodes: [{name: n, host: 127.0.0.1, user: x}]}",
    ),
}


@dataclass
class Stage:
    """One installation whose desired repo the attacker may commit anything to."""

    made: Installation
    remote: GitRemote
    base: str = field(init=False)
    _count: int = 0

    def __post_init__(self) -> None:
        self.remote.commit({path: text.encode() for path, text in BASE.items()})
        self.base = self.remote.git("rev-parse", "main^{tree}")

    @property
    def pid(self) -> int:
        """The daemon."""
        assert self.made.daemon is not None
        return self.made.daemon.pid

    def commit(self, files: Mapping[str, str | bytes], *, links: Mapping[str, str] | None = None) -> None:
        """Commit files and links beside the good ones, and wait until the daemon has taken all of it in."""
        self.remote.git("read-tree", self.base)
        lines = [f"100644 {self.remote.blob(_bytes(content))}\t{path}" for path, content in files.items()]
        lines += [f"120000 {self.remote.blob(to.encode())}\t{path}" for path, to in (links or {}).items()]
        for line in lines:
            self.remote.git("rm", "--cached", "--quiet", "--ignore-unmatch", "-r", line.partition("\t")[2])
        self.remote.git("update-index", "-z", "--index-info", text="".join(f"{line}\0" for line in lines).encode())
        self.commit_tree(self.entries(self.remote.git("write-tree")))

    def commit_tree(self, entries: Sequence[Entry]) -> None:
        """Commit these entries at the top of the tree, however wrong, with a new witness among them."""
        self._count += 1
        witness = document("User", "witness", f"{{displayName: n{self._count}}}")
        entries = [*entries, ("100644", self.remote.blob(witness.encode()), WITNESS.encode())]
        revision = self.remote.commit_tree(self.remote.tree(sorted(entries, key=_as_git_sorts)))
        self.until_told(lambda summary: summary["revision"] == revision, nudge=True)
        witnessed = (self.made.object("user/witness") or {})["detail"]["displayName"]
        assert witnessed == f"n{self._count}", "what is good in a commit counts, whatever is beside it"

    def entries(self, tree: str = "") -> list[Entry]:
        """Return the entries at the top of a tree, by default of the good one."""
        listed = self.remote.git("ls-tree", "-z", tree or self.base)
        rows = [row.partition("\t") for row in listed.split("\0") if row]
        return [(row.split()[0].lstrip("0"), row.split()[2], name.encode()) for row, _, name in rows]

    def until_told(self, fits: Callable[[Json], bool], seconds: float = 60, *, nudge: bool = False) -> Json:
        """Wait until the daemon tells something of the whole site; a nudge is a look at the source."""
        deadline = time.monotonic() + seconds
        while (summary := self.made.object("summary")) is None or not fits(summary):
            assert time.monotonic() < deadline, f"{summary}\n{self.made.trail()}"
            if nudge:
                os.kill(self.pid, signal.SIGUSR1)
            time.sleep(0.05)
        return summary

    def errors(self) -> dict[str, list[str]]:
        """Return what the daemon says about broken files, by path: `line:column: field: message`."""
        found = defaultdict(list)
        summary = self.made.object("summary")
        assert summary is not None
        assert summary["errorsOmitted"] == 0
        for each in summary["errors"]:
            field = f"{each['field']}: " if each["field"] else ""
            found[each["path"]].append(f"{each['line']}:{each['column']}: {field}{each['message']}")
        return found

    def files(self) -> str:
        """Return all that the daemon writes for others: status, history, everything else on the share, its log."""
        texts = []
        for path in [self.made.home / "daemon.log", *sorted(self.made.shared.rglob("*"))]:
            with suppress(FileNotFoundError, IsADirectoryError):
                texts.append(f"{path}\n{path.read_text(errors='replace')}")
        return "\n".join(texts)

    def answers(self) -> str:
        """Return what the command line answers to people."""
        return "\n".join(self.made.rayops(*words, code=None) for words in QUESTIONS)

    def log(self) -> list[dict[str, object]]:
        """Return the daemon's log: one JSON object per line, or this fails."""
        return [json.loads(line) for line in (self.made.home / "daemon.log").read_text().splitlines()]


@contextmanager
def stage(folder: Path, source: str = "", env: Mapping[str, str] | None = None) -> Iterator[Stage]:
    """Run the daemon on a repository of its own; `source` holds further settings of the source."""
    with installation() as made:
        remote = GitRemote(folder / "remote.git")
        settings = made.home / "rayops.toml"
        text = settings.read_text().replace(f'url = "{made.repo}"', f'url = "{remote.folder}"\n{source}')
        settings.write_text(text.replace("[daemon]\n", '[daemon]\nlog = "json"\n'))
        site = Stage(made, remote)
        made.start(env)
        made.until("user/alice", "Ready")
        yield site
        assert made.stop() == 0


def has_fault(fault: str, summary: Json) -> bool:
    """Say whether the source is told to have this fault; a slow answer is told first."""
    return summary["source"] is not None and bool(summary["source"]["fault"] == fault)


def check_out(folder: Path, files: Mapping[str, str | bytes]) -> Path:
    """Write files as somebody who works on them has them; return the folder."""
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(_bytes(content))
    return folder


def trap(folder: Path) -> tuple[Path, Path]:
    """Return a program that leaves a trace when it is run, and the trace."""
    program, trace = folder / "trap.sh", folder / "trace"
    program.write_text(f'#!/bin/sh\ntouch "{trace}"\nexec cat\n')
    program.chmod(0o755)
    return program, trace


def exchange(one: Path, other: Path) -> None:
    """Swap two files in one step, so that both names are there at each moment."""
    done = ctypes.CDLL(None).renameat2(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE)
    assert done == 0


def _bytes(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content


def _as_git_sorts(entry: Entry) -> bytes:
    mode, _, name = entry
    return name + b"/" if mode == "40000" else name
