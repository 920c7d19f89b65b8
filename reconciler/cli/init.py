"""`rayops init`: a new desired-state repo from the template."""

import shutil
import subprocess
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from reconciler.cli.call import Call
from reconciler.cli.exit import Ended, Exit

EXAMPLES = "  rayops init ~/cluster-state\n"


def arguments(parser: ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("directory", type=Path, metavar="DIR", help="a folder that does not exist yet, or is empty")
    parser.add_argument("--no-git", action="store_true", help="make files only, no repository")


def run(call: Call) -> Exit:
    """Copy the template, add the schemas that editors read, and make the first commit."""
    from reconciler.desired.schema import export

    target: Path = call.options.directory
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise Ended(Exit.REFUSED, f"{target} is not empty; nothing was changed")
    try:
        shutil.copytree(template(), target, dirs_exist_ok=True)
        export(target / ".schemas")
    except OSError as error:
        raise Ended(Exit.REFUSED, f"{target} cannot be written: {error.strerror or error}") from error
    if not call.options.no_git:
        _repository(target)
    call.screen.line(f"{target}: a desired-state repo with examples of each kind")
    call.screen.note(f"next: edit it, then `rayops validate {target}` and `rayops plan --tree {target}`")
    return Exit.DONE


def template() -> Path:
    """Return the template that came with this package, or that of the checkout that it runs from."""
    package = Path(__file__).resolve().parents[1]
    for place in (package / "_template", package.parent / "state-repo-template"):
        if place.is_dir():
            return place
    raise Ended(Exit.BUG, "this installation has no template")


def _repository(target: Path) -> None:
    _git(target, "init", "--quiet", "--initial-branch", "main")
    _git(target, "add", "--all")
    _git(target, "commit", "--quiet", "--message", "Begin with the template", identity=_identity(target))


def _identity(target: Path) -> Sequence[str]:
    """Return settings for a commit: none where git knows its user."""
    known = subprocess.run(["git", "-C", str(target), "config", "user.email"], capture_output=True, check=False)
    return () if known.returncode == 0 else ("-c", "user.name=rayops", "-c", "user.email=rayops@localhost")


def _git(target: Path, verb: str, *words: str, identity: Sequence[str] = ()) -> None:
    command = ["git", "-C", str(target), *identity, verb, *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, errors="replace")
    except FileNotFoundError as error:
        raise Ended(Exit.REFUSED, "the files are there, but git is not installed here (see --no-git)") from error
    if done.returncode != 0:
        said = done.stderr.strip() or done.stdout.strip()
        raise Ended(Exit.REFUSED, f"the files are there, but git {verb} failed: {said}")
