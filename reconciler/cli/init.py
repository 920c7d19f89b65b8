"""`rayops init`: a new desired-state repo from the template."""

import shutil
import subprocess
from argparse import ArgumentParser
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
    shutil.copytree(template(), target, dirs_exist_ok=True)
    export(target / ".schemas")
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
    name = ["-c", "user.name=rayops", "-c", "user.email=rayops@localhost"]
    for words in (
        ["init", "--quiet", "--initial-branch", "main"],
        ["add", "--all"],
        [*name, "commit", "--quiet", "--message", "Begin with the template"],
    ):
        done = subprocess.run(["git", "-C", str(target), *words], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Ended(Exit.REFUSED, f"the files are there, but git {words[-1]} failed: {done.stderr.strip()}")
