import os
from pathlib import Path

import pytest

from reconciler.source.peek import branch_tip

TIP, OTHER = "1" * 40, "2" * 40


def put(repository: Path, name: str, text: str) -> Path:
    path = repository / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_loose_reference_counts_before_a_packed_one(tmp_path: Path) -> None:
    put(
        tmp_path,
        "packed-refs",
        f"# pack-refs with: peeled\n{OTHER} refs/heads/x/main\n{OTHER} refs/heads/main\n^{TIP}\n",
    )
    assert branch_tip(tmp_path, "main") == OTHER
    put(tmp_path, "refs/heads/main", f"{TIP}\n")
    assert branch_tip(tmp_path, "main") == TIP


def test_the_repository_of_a_work_tree_is_looked_into(tmp_path: Path) -> None:
    put(tmp_path, ".git/refs/heads/main", TIP)
    assert branch_tip(tmp_path, "main") == TIP


@pytest.mark.parametrize("text", ["", "ref: refs/heads/other", "1" * 64, f"{TIP} {OTHER}", "x" * (2 << 20), "\xff"])
def test_what_is_no_commit_id_is_left_to_git(tmp_path: Path, text: str) -> None:
    put(tmp_path, "refs/heads/main", text)
    assert branch_tip(tmp_path, "main") is None


def test_a_link_or_a_pipe_is_left_to_git_and_holds_nobody(tmp_path: Path) -> None:
    aside = put(tmp_path, "aside", TIP)
    (tmp_path / "refs" / "heads").mkdir(parents=True)
    (tmp_path / "refs" / "heads" / "main").symlink_to(aside)
    os.mkfifo(tmp_path / "refs" / "heads" / "pipe")
    assert branch_tip(tmp_path, "main") is None
    assert branch_tip(tmp_path, "pipe") is None
    assert branch_tip(tmp_path / "nothing", "main") is None
