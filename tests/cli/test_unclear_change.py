"""The verbs that edit desired state, when it is not clear or not right what they are to edit: they edit nothing."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.cli.exit import Exit
from tests.cli.tree import JOB, JOB_FILE, POOL, Repo, repo


@pytest.fixture
def state(tmp_path: Path) -> Repo:
    return repo(tmp_path / "state")


def test_a_name_that_may_mean_two_objects_is_not_guessed(state: Repo) -> None:
    state.write("nodepools/ppo.yaml", POOL.replace("name: h20}", "name: ppo}"))
    said = state.rayops("suspend", "ppo", "--dry-run")
    assert said.code == Exit.USAGE
    assert "this may mean job/rl/ppo, nodepool/ppo" in said.err
    # Only a job can be stopped: here the name is clear.
    assert state.rayops("stop", "ppo", "--dry-run").code == Exit.DONE


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ("suspend job/rl/none", Exit.NOT_FOUND, "job/rl/none: no file in {} describes it\n"),
        ("stop pool/h20", Exit.NOT_FOUND, "job/pool/h20: no file in {} describes it\n"),
        ("rerun h20", Exit.NOT_FOUND, "job/h20: no file in {} describes it\n"),
        ("drain h20-99", Exit.NOT_FOUND, "h20-99: no pool has a node of this name in {}\n"),
        ("drain h20-01 --pool main", Exit.NOT_FOUND, "h20-01: pool main has no node of this name in {}\n"),
        ("drain h20-01 --after soon", Exit.USAGE, "nodepools/h20.yaml:5:33: spec.drain[0].after: expected"),
        (
            "drain h20-01 --after soon --dry-run",
            Exit.USAGE,
            "nodepools/h20.yaml:5:33: spec.drain[0].after: expected",
        ),
        ("approve 0123 --reason x", Exit.USAGE, "the digest has 64 hexadecimal digits"),
        ("approve", Exit.USAGE, "rayops approve: the following arguments are required: DIGEST, --reason"),
        ("suspend a/b/c/d", Exit.USAGE, "a/b/c/d: expected an object such as"),
        ("suspend --repo {}/nowhere ppo", Exit.USAGE, "{}/nowhere: there is no such folder\n"),
        ("suspend --repo {}/site.yaml ppo", Exit.USAGE, "{}/site.yaml: there is no such folder\n"),
    ],
)
def test_what_cannot_be_done_is_refused(state: Repo, words: str, code: Exit, says: str) -> None:
    said = state.rayops(*words.format(state.root).split())
    assert (said.code, said.out) == (code, "")
    assert said.err.startswith(says.format(state.root)), said.err
    assert state.git("status", "--porcelain") == ""


def test_a_node_of_two_pools_needs_the_name_of_one(state: Repo) -> None:
    other = POOL.replace("name: h20}", "name: second}").replace("cluster: main", "cluster: other")
    state.write("nodepools/second.yaml", other)
    state.save()
    said = state.rayops("drain", "h20-01")
    assert said.code == Exit.USAGE
    assert "pools h20, second have a node of this name; choose one with --pool" in said.err
    state.rayops("drain", "h20-01", "--pool", "second")
    assert state.changed() == ["nodepools/second.yaml"]


def broken(state: Repo) -> None:
    state.write(JOB_FILE, JOB.replace("pool: h20", "pol: h20"))


def twice(state: Repo) -> None:
    state.write("teams/rl/jobs/copy.yaml", JOB)


def linked(state: Repo) -> None:
    target = state.root.parent / "elsewhere.yaml"
    target.write_text(JOB)
    file = state.root / JOB_FILE
    file.unlink()
    file.symlink_to(target)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (broken, f"{JOB_FILE}:7:3: spec.pol: this field is not known (did you mean pool?)"),
        (twice, f"{JOB_FILE}:1:1: metadata.name: job/rl/ppo is described in teams/rl/jobs/copy.yaml too"),
        (linked, f"{JOB_FILE}:1:1: it is a symbolic link"),
    ],
)
def test_an_object_whose_file_is_broken_is_not_edited(
    state: Repo, spoil: Callable[[Repo], None], says: str
) -> None:
    spoil(state)
    state.save()
    said = state.rayops("suspend", "ppo")
    assert said.code == Exit.NOT_FOUND
    assert "it may be in one that is broken:" in said.err
    assert says in said.err
    assert len(state.commits()) == 2
    # A broken file harms nobody else.
    assert state.rayops("suspend", "pool/h20").code == Exit.DONE


def test_a_link_is_never_written_through(state: Repo) -> None:
    linked(state)
    state.save()
    state.rayops("suspend", "ppo")
    assert (state.root.parent / "elsewhere.yaml").read_text() == JOB
    assert (state.root / JOB_FILE).is_symlink()


def test_a_folder_that_is_a_link_is_not_entered(state: Repo) -> None:
    outside = repo(state.root.parent / "outside")
    shutil.rmtree(state.root / "teams")
    (state.root / "teams").symlink_to(outside.root / "teams")
    state.save()
    assert state.rayops("suspend", "ppo").code == Exit.NOT_FOUND
    assert outside.commits() == ["As it was"]
