"""The verbs that edit desired state: one edit in one file becomes one commit, and nothing else changes."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.cli.exit import Exit
from tests.cli.tree import JOB, JOB_FILE, POOL, Repo, repo

POOL_FILE = "nodepools/h20.yaml"
DIGEST = "0123456789abcdef" * 4

# Each verb on a plain repo: the line that is new, the commit's message, and the file.
VERBS = {
    "suspend job/rl/ppo": ("  suspend: true", "Suspend job/rl/ppo", JOB_FILE),
    "suspend ppo": ("  suspend: true", "Suspend job/rl/ppo", JOB_FILE),
    "suspend pool/h20": ("  suspend: true", "Suspend nodepool/h20", POOL_FILE),
    "suspend cluster/main": ("  suspend: true", "Suspend cluster/main", "clusters/main.yaml"),
    "stop rl/ppo": ("  stop: true", "Stop job/rl/ppo", JOB_FILE),
    "rerun ppo": ("  rerun: 1", "Run job/rl/ppo again", JOB_FILE),
    "drain h20-02": ("  drain: [{node: h20-02}]", "Drain h20-02", POOL_FILE),
    "drain h20-02 --after 2h --reason fans": (
        "  drain: [{node: h20-02, after: 2h, reason: fans}]",
        "Drain h20-02",
        POOL_FILE,
    ),
    f"approve {DIGEST} --reason agreed": (
        f"  approvals: [{{plan: {DIGEST}, reason: agreed}}]",
        f"Approve held plan {DIGEST[:12]}",
        "site.yaml",
    ),
}


@pytest.fixture
def state(tmp_path: Path) -> Repo:
    return repo(tmp_path / "state")


def differences(before: str, after: str) -> tuple[list[str], list[str]]:
    old, new = before.splitlines(), after.splitlines()
    return [line for line in new if line not in old], [line for line in old if line not in new]


@pytest.mark.parametrize("words", VERBS)
def test_a_verb_edits_one_line_and_commits_it(state: Repo, words: str) -> None:
    line, message, path = VERBS[words]
    before = state.read(path)
    said = state.rayops(*words.split())
    assert (said.code, said.out) == (Exit.DONE, f"{path}: committed: {message}\n")
    assert differences(before, state.read(path)) == ([line], [])
    assert (state.commits(), state.changed()) == ([message, "As it was"], [path])
    assert state.git("status", "--porcelain") == ""


@pytest.mark.parametrize("words", [words for words in VERBS if not words.startswith("rerun")])
def test_saying_it_again_changes_nothing(state: Repo, words: str) -> None:
    state.rayops(*words.split())
    said = state.rayops(*words.split())
    assert (said.code, said.out) == (Exit.DONE, "")
    assert "says so already" in said.err
    assert len(state.commits()) == 2


@pytest.mark.parametrize(
    ("there", "back"), [("suspend ppo", "resume ppo"), ("drain h20-02 --after 2h", "undrain h20-02")]
)
def test_a_verb_and_its_opposite_leave_the_same_bytes(state: Repo, there: str, back: str) -> None:
    before = {path: state.read(path) for path in (JOB_FILE, POOL_FILE)}
    state.rayops(*there.split())
    assert state.rayops(*back.split()).code == Exit.DONE
    assert {path: state.read(path) for path in before} == before
    assert "says so already" in state.rayops(*back.split()).err


def test_a_stopped_job_that_runs_again_is_let_go(state: Repo) -> None:
    state.rayops("stop", "ppo")
    state.rayops("rerun", "ppo")
    state.rayops("rerun", "ppo")
    assert differences(JOB, state.read(JOB_FILE)) == (["  rerun: 2"], [])


def test_a_drain_is_brought_up_to_what_is_asked_for(state: Repo) -> None:
    state.rayops("drain", "h20-01", "--reason", "fans")
    state.rayops("drain", "h20-02", "--after", "2h", "--reason", "ECC errors")
    state.rayops("drain", "h20-02", "--after", "30m")
    new, _ = differences(POOL, state.read(POOL_FILE))
    drains = "{node: h20-02, after: 30m, reason: ECC errors}, {node: h20-01, reason: fans}"
    assert new == [f"  drain: [{drains}]"]


def test_a_node_that_is_drained_twice_is_put_back_at_once(state: Repo) -> None:
    drains = "  drain: [{node: h20-02}, {node: h20-01}, {node: h20-02, reason: again}]\n"
    state.write(POOL_FILE, POOL + drains)
    state.save()
    state.rayops("undrain", "h20-02")
    assert differences(POOL, state.read(POOL_FILE)) == (["  drain: [{node: h20-01}]"], [])


@pytest.mark.parametrize("words", VERBS)
@pytest.mark.parametrize("form", ["as it is", "no last line break", "windows"])
def test_a_patch_does_what_the_commit_does(tmp_path: Path, words: str, form: str) -> None:
    *_, path = VERBS[words]
    states = [repo(tmp_path / name) for name in ("patched", "committed")]
    for state in states:
        text = state.read(path)
        forms = {"as it is": text, "no last line break": text.rstrip("\n"), "windows": text.replace("\n", "\r\n")}
        state.write(path, forms[form])
        state.git("commit", "--quiet", "--all", "--allow-empty", "--message", form)
    patched, committed = states
    patch = patched.rayops(*words.split(), "--dry-run")
    assert (patch.code, patched.git("status", "--porcelain")) == (Exit.DONE, "")
    subprocess.run(["git", "-C", patched.root, "apply", "-"], input=patch.out.encode(), check=True)
    committed.rayops(*words.split())
    assert (patched.root / path).read_bytes() == (committed.root / path).read_bytes() != b""
    assert patched.git("status", "--porcelain").strip() == f"M {path}"


def test_a_patch_fits_the_folder_that_it_was_made_in(tmp_path: Path) -> None:
    top = Repo(tmp_path / "top")
    inner = Repo(top.root / "cluster state")
    inner.write("teams/rl/jobs/it's [mine] é.yaml", JOB)
    top.begin()
    patch = inner.rayops("suspend", "ppo", "--dry-run")
    subprocess.run(["git", "apply", "-"], cwd=inner.root, input=patch.out.encode(), check=True)
    assert "suspend: true" in inner.read("teams/rl/jobs/it's [mine] é.yaml")
    inner.git("checkout", "--quiet", ".")
    assert inner.rayops("suspend", "ppo").code == Exit.DONE
    assert inner.changed() == ["cluster state/teams/rl/jobs/it's [mine] é.yaml"]


def test_what_else_is_staged_or_edited_stays_as_it_is(state: Repo) -> None:
    state.write("site.yaml", state.read("site.yaml") + "# staged\n")
    state.git("add", "site.yaml")
    state.write("users/alice.yaml", state.read("users/alice.yaml") + "# edited\n")
    state.write("notes.txt", "new\n")
    before = state.git("status", "--porcelain")
    assert state.rayops("suspend", "ppo").code == Exit.DONE
    assert (state.changed(), state.git("status", "--porcelain")) == ([JOB_FILE], before)


def edited(state: Repo) -> None:
    state.write(JOB_FILE, JOB + "# not done yet\n")


def staged(state: Repo) -> None:
    edited(state)
    state.git("add", "--all")


def untracked(state: Repo) -> None:
    state.git("rm", "--quiet", "--cached", JOB_FILE)
    state.git("commit", "--quiet", "--message", "Forget")


def ignored(state: Repo) -> None:
    untracked(state)
    state.write(".git/info/exclude", "*.yaml\n")


@pytest.mark.parametrize("unfinished", [edited, staged, untracked, ignored])
def test_an_edit_that_somebody_has_not_committed_is_never_committed_for_him(
    state: Repo, unfinished: Callable[[Repo], None]
) -> None:
    unfinished(state)
    before, commits = state.read(JOB_FILE), state.commits()
    said = state.rayops("suspend", "ppo")
    assert (said.code, state.read(JOB_FILE), state.commits()) == (Exit.REFUSED, before, commits)
    assert f"{JOB_FILE} has changes that are not committed" in said.err
    assert state.rayops("suspend", "ppo", "--dry-run").out.startswith(f"--- a/{JOB_FILE}\n")


def test_a_refused_commit_leaves_the_file_as_it_was(state: Repo) -> None:
    hook = state.write(".git/hooks/pre-commit", "#!/bin/sh\necho 'not on a Friday' >&2\nexit 1\n")
    hook.chmod(0o755)
    for _ in range(2):
        said = state.rayops("suspend", "ppo")
        assert said.code == Exit.REFUSED
        assert said.err == "git commit failed, and nothing was changed: not on a Friday\n"
        assert (state.read(JOB_FILE), state.git("status", "--porcelain")) == (JOB, "")


def test_a_folder_without_git_gives_patches_only(tmp_path: Path) -> None:
    state = Repo(tmp_path)
    state.write(JOB_FILE, JOB)
    said = state.rayops("suspend", "ppo")
    assert (said.code, state.read(JOB_FILE)) == (Exit.REFUSED, JOB)
    assert "git status failed, and nothing was changed: fatal: not a git repository" in said.err
    assert "+  suspend: true" in state.rayops("suspend", "ppo", "--dry-run").out


def test_without_git_the_call_says_so(state: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    said = state.rayops("suspend", "ppo")
    assert (said.code, said.err) == (Exit.REFUSED, "git is not installed here; --dry-run prints a patch\n")


def test_a_message_of_ones_own_is_taken_as_it_is(state: Repo) -> None:
    message = "--amend; $(touch /tmp/x) 'quoted'\n\nBecause of the fire."
    assert state.rayops("suspend", "ppo", f"--message={message}").code == Exit.DONE
    assert state.git("log", "-1", "--format=%B").strip() == message
    assert len(state.commits()) == 2


def test_the_rights_of_a_file_stay(state: Repo) -> None:
    (state.root / JOB_FILE).chmod(0o640)
    state.rayops("suspend", "ppo")
    assert (state.root / JOB_FILE).stat().st_mode & 0o777 == 0o640
