"""`rayops validate` and `schema`: every mistake with its place, and an exit code that hooks and CI can use."""

import json
import shlex
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from reconciler.cli.exit import Exit
from reconciler.cli.init import template
from reconciler.cli.parser import verb_parser
from reconciler.cli.verbs import verb_named
from tests.cli.site import call
from tests.cli.tree import JOB, JOB_FILE, POOL, Repo, repo, validate


@pytest.fixture
def state(tmp_path: Path) -> Repo:
    return repo(tmp_path / "state")


def test_a_good_tree_is_all_right(state: Repo) -> None:
    said = validate(state.root)
    assert (said.code, said.out, said.err) == (Exit.DONE, "", "6 objects, all right\n")


def test_every_mistake_has_its_place_and_the_nearest_name(state: Repo) -> None:
    state.write(JOB_FILE, JOB.replace("pool: h20", "pol: h20").replace("argv: [train]", "argv: train"))
    state.write("clusters/main.yaml", "kind: [")
    l40 = POOL.replace("h20", "l40").replace("10.0.0.", "10.0.1.").replace("cluster: main", "cluster: mian")
    state.write("nodepools/l40.yaml", l40)
    said = validate(state.root)
    assert said.code == Exit.USAGE
    assert [line.split(" ")[0] for line in said.lines] == [
        "clusters/main.yaml:1:8:",
        f"{JOB_FILE}:5:1:",
        f"{JOB_FILE}:7:3:",
        f"{JOB_FILE}:9:35:",
        "nodepools/h20.yaml:",
        "nodepools/l40.yaml:",
    ]
    assert "(did you mean pool?)" in said.out
    assert said.err == "5 objects, 6 mistakes\n"


def test_json_tells_the_same(state: Repo) -> None:
    good = validate(state.root, "-o", "json")
    assert json.loads(good.out) == {
        "apiVersion": "rayops.validation/v1",
        "valid": True,
        "objects": 6,
        "errors": [],
        "problems": [],
    }
    state.write("users/bob.yaml", "kind: []: x")
    state.write(JOB_FILE, JOB.replace("pool: h20", "pool: h21"))
    bad = validate(state.root, "-o", "json")
    told = json.loads(bad.out)
    assert (good.code, bad.code, bad.err, told["valid"]) == (Exit.DONE, Exit.USAGE, "", False)
    (error,) = told["errors"]
    assert error.keys() == {"path", "line", "column", "field", "message", "hint"}
    assert (error["path"], error["line"]) == ("users/bob.yaml", 1)
    (problem,) = told["problems"]
    assert (problem["object"], problem["path"]) == ("job/rl/ppo", JOB_FILE)
    assert "h20" in problem["messages"][0]


@pytest.mark.parametrize(
    ("path", "content"),
    [
        (".git/x.yaml", "kind: ["),
        (".github/workflows/x.yaml", "on: pull_request"),
        ("teams/.hidden/x.yaml", "kind: ["),
        (".hidden.yaml", "kind: ["),
        ("notes.txt", "kind: ["),
    ],
)
def test_what_the_daemon_does_not_read_is_not_checked(state: Repo, path: str, content: str) -> None:
    state.write(path, content)
    assert validate(state.root).code == Exit.DONE


def linked(state: Repo) -> None:
    (state.root / "users/eve.yaml").symlink_to("/etc/passwd")


def huge(state: Repo) -> None:
    state.write("users/eve.yaml", b"#" * (1 << 20) + b"\n")


def twice(state: Repo) -> None:
    state.write("users/eve.yaml", state.read("users/alice.yaml"))


def hostile(state: Repo) -> None:
    state.write("users/eve\x1b[2J.yaml", "kind: [")


def shouted(state: Repo) -> None:
    state.write("users/eve.YAML", "kind: [")


@pytest.mark.parametrize("spoil", [linked, huge, twice, hostile, shouted])
def test_what_the_daemon_refuses_is_a_mistake(state: Repo, spoil: Callable[[Repo], None]) -> None:
    spoil(state)
    said = validate(state.root)
    assert (said.code, len(said.err.splitlines())) == (Exit.USAGE, 1)
    assert "users/eve" in said.out
    assert "\x1b" not in said.out + said.err
    assert "root:" not in said.out


def test_a_secret_in_a_wrong_place_is_not_shown(state: Repo) -> None:
    state.write(
        JOB_FILE,
        JOB.replace("user: alice", "user: alice\n  password: hunter2").replace("nodes: 1", "nodes: hunter2"),
    )
    for form in ("text", "json"):
        said = validate(state.root, "-o", form)
        assert said.code == Exit.USAGE
        assert "hunter2" not in said.out + said.err


def test_a_folder_that_is_not_there_is_a_wrong_call(tmp_path: Path) -> None:
    said = validate(tmp_path / "nowhere")
    assert (said.code, said.err) == (Exit.USAGE, f"{tmp_path}/nowhere: there is no such folder\n")


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_folder_without_any_desired_file_is_a_wrong_call_too(tmp_path: Path, form: str) -> None:
    (tmp_path / "notes.txt").write_text("nothing that is desired")
    (tmp_path / ".github").mkdir()
    (tmp_path / ".github/x.yaml").write_text("on: push")
    said = validate(tmp_path, "-o", form)
    assert (said.code, said.out) == (Exit.USAGE, "")
    assert said.err.startswith(f"{tmp_path}: no desired file was found here")


def test_a_file_that_is_not_read_is_told_even_if_it_is_the_only_one(tmp_path: Path) -> None:
    (tmp_path / "site.YAML").write_text("kind: Site")
    said = validate(tmp_path)
    assert (said.code, said.err) == (Exit.USAGE, "0 objects, 1 mistakes\n")


def test_checking_changes_nothing(state: Repo) -> None:
    before = {path: path.stat().st_mtime_ns for path in state.root.rglob("*")}
    validate(state.root)
    assert {path: path.stat().st_mtime_ns for path in state.root.rglob("*")} == before


# What the template's hooks and CI files run must be what this command line takes.


def scripts() -> Iterator[tuple[str, str]]:
    """Give each line that a hook or a CI file runs."""
    root = template()
    hooks = plain(root / ".pre-commit-config.yaml")
    for hook in (hook for source in hooks["repos"] for hook in source["hooks"]):
        yield "pre-commit", hook["entry"]
    for forge in (".github", ".gitea"):
        for file in sorted((root / forge / "workflows").iterdir()):
            for job in plain(file)["jobs"].values():
                yield from ((forge, line) for step in job["steps"] for line in step.get("run", "").splitlines())
    for job in plain(root / ".gitlab-ci.yml").values():
        yield from ((".gitlab-ci.yml", line) for line in job["script"])


def plain(file: Path) -> Mapping[str, Any]:
    found: Mapping[str, Any] = YAML(typ="safe").load(file)
    return found


def calls(line: str) -> Iterator[list[str]]:
    """Give the words of each call of `rayops` in a line of shell."""
    for command in line.split("&&"):
        words = shlex.split(command)
        if words and words[0].rpartition("/")[2] == "rayops":
            yield words[1:]


def test_every_forge_and_the_hook_validate() -> None:
    found = {(where, tuple(words)) for where, line in scripts() for words in calls(line)}
    places = ("pre-commit", ".github", ".gitea", ".gitlab-ci.yml")
    assert found == {(where, ("validate", ".")) for where in places}


def documented() -> Iterator[list[str]]:
    """Give the calls that the template's README tells people to make."""
    for quoted in (template() / "README.md").read_text().split("`")[1::2]:
        if quoted.startswith("rayops ") and "|" not in quoted:
            yield shlex.split(quoted)[1:]


@pytest.mark.parametrize("words", list(documented()), ids=" ".join)
def test_the_readme_of_the_template_names_calls_that_exist(words: list[str]) -> None:
    verb = verb_named(words[0])
    assert verb is not None
    verb_parser(verb).parse_args(words[1:])


def test_the_call_of_the_hook_passes_on_the_template(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(template())
    assert validate(Path()).code == Exit.DONE


def test_a_schema_is_printed_or_all_are_written(tmp_path: Path) -> None:
    assert json.loads(call("schema", "job").out)["title"] == "Job"
    assert call("schema", "--out", str(tmp_path / "schemas")).code == Exit.DONE
    assert (tmp_path / "schemas/job.json").read_text() == call("schema", "job").out
    unknown = call("schema", "jbo")
    assert (unknown.code, unknown.err) == (Exit.USAGE, "jbo: no such kind (did you mean job?)\n")
