"""`rayops init`: a repo that is right from its first commit."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from reconciler.cli.exit import Exit
from reconciler.cli.init import template
from tests.cli.site import call
from tests.cli.tree import validate


def git(root: Path, *words: str) -> str:
    return subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=True).stdout


def listed(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def test_a_new_repo_has_an_example_of_each_kind_and_is_committed(tmp_path: Path) -> None:
    root = tmp_path / "a b/state"
    assert call("init", str(root)).code == Exit.DONE
    assert validate(root).err == "6 objects, all right\n"
    assert git(root, "status", "--porcelain", "--ignored") == ""
    assert git(root, "log", "--format=%s", "main").splitlines() == ["Begin with the template"]


def test_every_schema_that_a_file_names_is_there(tmp_path: Path) -> None:
    call("init", str(tmp_path / "state"), "--no-git")
    named = 0
    for file in (tmp_path / "state").rglob("*.yaml"):
        if found := re.search(r"\$schema=(\S+)", file.read_text()):
            json.loads((file.parent / found[1]).read_text())
            named += 1
    assert named == 6


def test_without_git_there_are_files_only(tmp_path: Path) -> None:
    assert call("init", str(tmp_path), "--no-git").code == Exit.DONE
    assert not (tmp_path / ".git").exists()
    shipped = {path for path in listed(template()) if not path.startswith(".schemas/")}
    assert {path for path in listed(tmp_path) if not path.startswith(".schemas/")} == shipped


def test_a_second_call_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    root = tmp_path / "state"
    call("init", str(root))
    (root / "site.yaml").write_text("mine")
    said = call("init", str(root))
    assert (said.code, said.err) == (Exit.REFUSED, f"{root} is not empty; nothing was changed\n")
    assert (root / "site.yaml").read_text() == "mine"


@pytest.mark.parametrize("name", ["notes.txt", ".hidden"])
def test_a_folder_with_something_in_it_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    assert call("init", str(tmp_path)).code == Exit.REFUSED
    assert listed(tmp_path) == {name}


def test_a_file_is_no_place_for_a_repo(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    assert call("init", str(tmp_path / "file")).code == Exit.REFUSED
    said = call("init", str(tmp_path / "file/inside"))
    assert said.code == Exit.REFUSED
    assert "bug" not in said.err


def test_a_commit_that_fails_is_told_with_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hooks = tmp_path / "templates/hooks"
    hooks.mkdir(parents=True)
    (hooks / "pre-commit").write_text("#!/bin/sh\necho 'signed commits only' >&2\nexit 1\n")
    (hooks / "pre-commit").chmod(0o755)
    monkeypatch.setenv("GIT_TEMPLATE_DIR", str(tmp_path / "templates"))
    said = call("init", str(tmp_path / "state"))
    assert (said.code, said.err) == (
        Exit.REFUSED,
        "the files are there, but git commit failed: signed commits only\n",
    )
    assert validate(tmp_path / "state").code == Exit.DONE


def test_the_author_is_the_user_when_git_knows_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "gitconfig"
    config.write_text("[user]\nname = Alice\nemail = alice@example.org\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    call("init", str(tmp_path / "known"))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    call("init", str(tmp_path / "unknown"))
    authors = [git(tmp_path / name, "log", "--format=%an").strip() for name in ("known", "unknown")]
    assert authors == ["Alice", "rayops"]
