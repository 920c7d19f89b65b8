"""Mistakes in documents are explained with their place, in words that repeat no value."""

import copy
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from reconciler.desired.parse import is_document, misplaced, parse
from reconciler.model.desired import Loaded
from reconciler.model.ids import ObjectId

JOB = """\
apiVersion: rayops/v1
kind: Job
metadata: {name: ppo, team: rl}
spec:
  user: alice
  pool: h20
  workload: {type: command, argv: [python3, x.py]}
"""
POOL = """\
apiVersion: rayops/v1
kind: NodePool
metadata: {name: h20}
spec:
  cluster: main
  join: ssh
  perNode: {cpus: 64}
  nodes: [{name: n1, host: 10.0.0.1, user: ray}]
"""
CLUSTER = """\
apiVersion: rayops/v1
kind: Cluster
metadata: {name: main}
spec:
  ray: {version: 2.60.0}
  head: {candidates: [{name: n1, host: 10.0.0.1, user: ray}]}
"""
USER = "apiVersion: rayops/v1\nkind: User\nmetadata: {name: alice}\nspec: {}\n"
GOOD = {"Job": JOB, "NodePool": POOL, "Cluster": CLUSTER, "User": USER}
CASES: list[Any] = YAML(typ="safe").load(Path(__file__).with_name("cases") / "mistakes.yaml")


@pytest.mark.parametrize("case", CASES, ids=[f"{case['replace']} -> {case['by']}" for case in CASES])
def test_a_mistake_is_explained(case: dict[str, Any]) -> None:
    good = GOOD[case["kind"]]
    assert case["replace"] in good
    found = parse("a.yaml", good.replace(case["replace"], case["by"]).encode())
    assert isinstance(found, tuple)
    assert [str(mistake) for mistake in found] == [f"a.yaml:{error}" for error in case["errors"]]


@pytest.mark.parametrize("good", GOOD.values(), ids=GOOD)
def test_the_documents_without_mistakes_are_good(good: str) -> None:
    assert isinstance(parse("a.yaml", good.encode()), Loaded)


def test_a_long_text_that_almost_matches_is_refused_at_once() -> None:
    assert isinstance(parse("a.yaml", USER.replace("{}", f"{{email: {'a' * 50_000}}}").encode()), tuple)
    assert isinstance(parse("a.yaml", JOB.replace("ppo", "a" * 50_000 + "_").encode()), tuple)


PATHS = [
    *("../../team-b/secrets.yaml", "//proc/self/root/", "/etc/shadow", "a/../b", "a/./b", "a//b", "a/", "."),
    *("a/..%2f..", "a\\b", ".rayops/clusters", "-x", "a\x00b", "a\r", "a\n", "~root/x", "a/\u202eb"),
]


@pytest.mark.parametrize("path", PATHS)
def test_a_path_that_may_leave_the_shared_root_is_refused(path: str) -> None:
    written = "".join(f"\\u{ord(letter):04x}" for letter in path)
    content = JOB.replace("type: command", f'type: command, workingDir: "{written}"')
    found = parse("a.yaml", content.encode())
    assert isinstance(found, tuple)
    assert found[0].field == "spec.workload.workingDir"


@pytest.mark.parametrize("path", ["users/alice/code", "common/code/verl/4f2c9d1", "a b/c=d", ".venv/x"])
def test_a_path_below_the_shared_root_is_taken(path: str) -> None:
    content = JOB.replace("type: command", f'type: command, workingDir: "{path}"')
    assert isinstance(parse("a.yaml", content.encode()), Loaded)


@pytest.mark.parametrize(
    "name",
    [
        "LD_PRELOAD",
        "LD_AUDIT",
        "RAY_AUTH_TOKEN",
        "RAY_ADDRESS",
        "RAYOPS_TERM",
        "PYTHONSTARTUP",
        "BASH_ENV",
        "RAY_START_HOOK",
    ],
)
def test_a_variable_that_would_take_over_a_process_is_refused(name: str) -> None:
    found = parse("a.yaml", JOB.replace("type: command", f"type: command, env: {{{name}: x}}").encode())
    assert isinstance(found, tuple)
    assert "reserved" in found[0].message


@pytest.mark.parametrize("name", ["LD_LIBRARY_PATH", "NCCL_SOCKET_IFNAME", "PYTHONPATH", "on", "_x"])
def test_other_variables_are_free(name: str) -> None:
    content = JOB.replace("type: command", f"type: command, env: {{{name}: x}}")
    assert isinstance(parse("a.yaml", content.encode()), Loaded)


def test_many_mistakes_in_one_file_are_cut_short() -> None:
    unknown = "".join(f"  wrong{number}: 1\n" for number in range(1000))
    found = parse("a.yaml", (JOB + unknown).encode())
    assert isinstance(found, tuple)
    assert len(found) == 20


CANARY = "s3cr3t-canary"
PLACES = [
    *("apiVersion", "kind", "metadata", "metadata.name", "metadata.team", "metadata.labels", "spec", "spec.user"),
    *("spec.pool", "spec.resources", "spec.resources.nodes", "spec.workload", "spec.workload.type"),
    *("spec.workload.argv", "spec.workload.env", "spec.workload.workingDir", "spec.limits", "spec.limits.queue"),
    *(
        "spec.retry.on",
        "spec.retry.limit",
        "spec.grace",
        "spec.priority",
        "spec.dependsOn",
        "spec.stop",
        "spec.rerun",
    ),
]
wrong = st.sampled_from(
    [
        f"{CANARY}!",
        [f"{CANARY}!"],
        {f"{CANARY}!": f"{CANARY}!"},
        {"a": [f"{CANARY}!", 1]},
        [[f"{CANARY}!"]],
        {CANARY: 1},
    ]
)


@given(st.dictionaries(st.sampled_from(PLACES), wrong, min_size=1, max_size=3))
@settings(deadline=None)
def test_no_error_repeats_a_value(changes: dict[str, Any]) -> None:
    content = _document(changes)
    found = parse("a.yaml", content)
    if isinstance(found, Loaded):
        return
    assert CANARY not in " ".join(map(str, found))


def _document(changes: dict[str, Any]) -> bytes:
    document: dict[str, Any] = {
        "apiVersion": "rayops/v1",
        "kind": "Job",
        "metadata": {"name": "ppo", "team": "rl"},
        "spec": {"user": "alice", "pool": "h20", "workload": {"type": "command", "argv": ["x"]}},
    }
    for path, value in changes.items():
        *folders, last = path.split(".")
        place = document
        for folder in folders:
            inside = place.setdefault(folder, {})
            place = inside if isinstance(inside, dict) else {}
        place[last] = copy.deepcopy(value)
    return orjson.dumps(document)


def _damaged(text: str) -> st.SearchStrategy[bytes]:
    positions = st.integers(0, len(text))
    return st.tuples(
        positions, positions, st.sampled_from(["", "x", "1", "null", "[", "{a: b}", "\n", "  ", ": "])
    ).map(lambda cut: (text[: min(cut[:2])] + cut[2] + text[max(cut[:2]) :]).encode())


@given(st.binary(max_size=100) | st.sampled_from([JOB, POOL, CLUSTER]).flatmap(_damaged))
@settings(max_examples=300, deadline=None)
def test_any_bytes_give_a_document_or_errors(content: bytes) -> None:
    found = parse("a.yaml", content)
    assert isinstance(found, Loaded) or found


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("teams/rl/jobs/a.yaml", True),
        ("site.yml", True),
        ("README.md", False),
        (".github/workflows/a.yaml", False),
        ("a/.b/c.yaml", False),
        (".gitlab-ci.yml", False),
        ("a.yaml.orig", False),
    ],
)
def test_documents_are_yaml_files_outside_hidden_folders(path: str, *, expected: bool) -> None:
    assert is_document(path) is expected


@pytest.mark.parametrize(
    ("path", "who", "fits"),
    [
        ("teams/rl/jobs/a.yaml", ObjectId("Job", "rl", "a"), True),
        ("teams/rl/a.yaml", ObjectId("Job", "rl", "a"), True),
        ("teams/rl/team.yaml", ObjectId("Team", "", "rl"), True),
        ("rl.yaml", ObjectId("Team", "", "rl"), True),
        ("clusters/main.yaml", ObjectId("Cluster", "", "main"), True),
        ("teams/vision/jobs/a.yaml", ObjectId("Job", "rl", "a"), False),
        ("jobs/a.yaml", ObjectId("Job", "rl", "a"), False),
        ("teams/a.yaml", ObjectId("Job", "rl", "a"), False),
        ("teams/vision/team.yaml", ObjectId("Team", "", "rl"), False),
        ("teams/rl/cluster.yaml", ObjectId("Cluster", "", "main"), False),
        ("teams/rl/site.yaml", ObjectId("Site", "", "site"), False),
    ],
)
def test_a_team_owns_what_is_in_its_folder_and_nothing_else(path: str, who: ObjectId, *, fits: bool) -> None:
    assert (misplaced(path, who) is None) is fits
