"""The gate against wrong, hostile and late requests. Each of them must leave the machine as it was."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.node.gate import answer_to
from tests.node.machine import SITE, TOKEN, NodeMachine, ports, until

HOSTILE_NAMES = [
    "", ".", "..", "../x", "a/b", "/etc", "a\nb", "a b", "A", "-rf", "--help", "$(id)", ";id", "é", "a\u202eb",
    "x" * 122, "a\0b", "\ud800",
]  # fmt: skip
KINDS = {"invalid", "transient", "refused", "bug"}


@pytest.mark.parametrize("name", HOSTILE_NAMES)
@pytest.mark.parametrize("place", ["site", "cluster", "node"])
def test_a_hostile_name_is_invalid_and_makes_no_folder(tmp_path: Path, name: str, place: str) -> None:
    args = {"cluster": "main", "role": "head", "node": "n1", "generation": 1, "graceSeconds": 1}
    wanted = {"protocol": 1, "verb": "stop", "site": SITE, "term": 1, "nodeDir": f"{tmp_path}/node", "args": args}
    (wanted if place == "site" else args)[place] = name
    answer = answer_to(json.dumps(wanted).encode())
    assert answer["kind"] == "invalid"
    assert list(tmp_path.glob("node/*/*/*")) == []


@pytest.mark.parametrize("name", ["term", "term.lock"])
def test_no_cluster_has_the_name_of_a_file_of_the_gate(machine: NodeMachine, name: str) -> None:
    slot = {"cluster": name, "role": "head", "node": "n1"}
    answers = [
        machine.start_head(cluster=name),
        machine.call("probe", {"slots": [slot]}),
        machine.call("stop", {**slot, "generation": 1, "graceSeconds": 1}),
        machine.call("clean", {**slot, "generation": 1}),
    ]
    assert [each["kind"] for each in answers] == ["invalid"] * 4
    assert "cluster is the name of a file of the gate" in answers[0]["message"]
    assert (machine.node_dir / SITE / "term").read_text() == "1\n"


WRONG: list[tuple[str, dict[str, Any]]] = [
    ("no protocol", {"protocol": 2}),
    ("true is no number", {"protocol": True}),
    ("unknown verb", {"verb": "exec"}),
    ("verb of another type", {"verb": ["probe"]}),
    ("unknown field", {"shell": "id"}),
    ("negative term", {"term": -1}),
    ("term as text", {"term": "1"}),
    ("term as fraction", {"term": 1.0}),
    ("relative folder", {"nodeDir": "node"}),
    ("folder of another user", {"nodeDir": "~root/x"}),
    ("climbing folder", {"nodeDir": "~/../x"}),
    ("arguments as list", {"args": []}),
    ("unknown argument", {"args": {"x": 1}}),
    ("slots as object", {"args": {"slots": {}}}),
    ("too many slots", {"args": {"slots": [{}] * 10_001}}),
    ("unknown role", {"args": {"slots": [{"cluster": "a", "role": "boss", "node": "b"}]}}),
    ("surplus in a slot", {"args": {"slots": [{"cluster": "a", "role": "head", "node": "b", "x": 1}]}}),
]


@pytest.mark.parametrize("change", [change for _, change in WRONG], ids=[name for name, _ in WRONG])
def test_a_wrong_request_is_invalid(tmp_path: Path, change: dict[str, Any]) -> None:
    request = {
        "protocol": 1,
        "verb": "probe",
        "site": SITE,
        "term": 1,
        "nodeDir": str(tmp_path / "node"),
        "args": {},
    }
    assert answer_to(json.dumps(request).encode())["ok"]
    assert answer_to(json.dumps({**request, **change}).encode())["kind"] == "invalid"


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"null",
        b"[]",
        b"\xff\xfe",
        b"{}{}",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"protocol":1,"protocol":1}',
        b'{"protocol":NaN}',
        b'{"protocol":1e999}',
        b'{"protocol":' + b"9" * 5000 + b"}",
        b'{"a":"' + b"x" * (1 << 20) + b'"}',
        b'{"args":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{}}}}}}}}}}}}}}',
    ],
    ids=lambda document: f"{document[:12]!r}-{len(document)}",
)
def test_a_document_that_is_no_request_is_invalid(document: bytes) -> None:
    assert answer_to(document)["kind"] == "invalid"


def test_a_key_that_is_there_twice_makes_a_good_request_invalid(tmp_path: Path) -> None:
    wanted = {"protocol": 1, "verb": "probe", "site": SITE, "nodeDir": f"{tmp_path}/node", "args": {}, "term": 1}
    request = json.dumps(wanted)
    assert answer_to(request.encode())["ok"]
    answer = answer_to(request.replace('"term": 1}', '"term": 1, "term": 1}').encode())
    assert answer["kind"] == "invalid"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from(["protocol", "verb", "site", "term", "nodeDir", "args"])


@given(change=st.dictionaries(FIELDS, JSON, min_size=1), args=st.dictionaries(st.text(max_size=8), JSON))
def test_whatever_comes_is_answered_and_a_defect_is_never_the_answer(change: dict[str, Any], args: object) -> None:
    request = {"protocol": 1, "verb": "sweep", "site": SITE, "term": 1, "nodeDir": "/dev/null/x", "args": args}
    answer = answer_to(json.dumps({**request, **change}).encode())
    assert answer["kind"] in KINDS - {"bug"}


CANARIES: list[Any] = [f"{TOKEN} ", [TOKEN], {"a b": TOKEN}, {"x": [TOKEN]}, {TOKEN: 1}]


@pytest.mark.parametrize(
    "field", ["python", "rayVersion", "address", "node", "env", "labels", "token", "epoch", "ports"]
)
@pytest.mark.parametrize("value", CANARIES, ids=range(len(CANARIES)))
def test_a_refusal_never_quotes_a_value(tmp_path: Path, field: str, value: object) -> None:
    answer = start(tmp_path, {field: value})
    assert answer["kind"] == "invalid"
    assert TOKEN not in json.dumps(answer)


def start(home: Path, change: dict[str, Any]) -> dict[str, Any]:
    order = {
        "cluster": "main",
        "node": "n1",
        "epoch": 1,
        "token": TOKEN,
        "python": "/nowhere/python3",
        "rayVersion": "2.60.0",
        "address": "127.0.0.1",
        "ports": ports(),
        "labels": {},
        "env": {},
    }
    request = {"protocol": 1, "verb": "start-head", "site": SITE, "term": 1, "nodeDir": f"{home}/node"}
    return answer_to(json.dumps({**request, "args": {**order, **change}}).encode())


@pytest.mark.parametrize(
    "name",
    ["LD_PRELOAD", "LD_AUDIT", "RAY_ADDRESS", "RAY_AUTH_MODE", "RAYOPS_SLOT", "PYTHONSTARTUP", "A=B", "A;B", ""],
)
def test_a_reserved_or_malformed_variable_is_invalid(tmp_path: Path, name: str) -> None:
    assert start(tmp_path, {"env": {name: "x"}})["kind"] == "invalid"


@pytest.mark.parametrize("label", [{"a": "b,rayops-node=x"}, {"a=b": "c"}, {"a": "b c"}, {"": "x"}])
def test_a_label_cannot_become_another_label(tmp_path: Path, label: dict[str, str]) -> None:
    assert start(tmp_path, {"labels": label})["kind"] == "invalid"


def test_an_older_leader_is_refused_and_a_newer_one_remembered(machine: NodeMachine) -> None:
    assert machine.call("probe", {}, term=7)["ok"]
    assert machine.call("probe", {}, term=7)["ok"]
    late = machine.call("probe", {}, term=6)
    assert (late["kind"], late["message"]) == ("refused", "a newer leader (term 7) has spoken")
    assert machine.call("probe", {}, term=9)["ok"]
    assert machine.call("probe", {}, term=7)["kind"] == "refused"


# Takes as long to say which Ray it has as a test wants.
_SLOW = """#!/bin/sh
cd "$(dirname "$0")"
if [ "$1" = -c ]; then touch asked; until [ -e answer ]; do sleep 0.02; done; fi
exec ray/python3 "$@"
"""


def test_a_newer_leader_waits_until_what_an_older_one_asked_for_is_done(machine: NodeMachine) -> None:
    python = machine.home / "slow"
    python.write_text(_SLOW)
    python.chmod(0o755)
    with ThreadPoolExecutor() as pool:
        try:
            older = pool.submit(machine.start_head, python=str(python))
            until((machine.home / "asked").exists, bool)
            beside = pool.submit(machine.call, "probe", {}, term=1)
            newer = pool.submit(machine.call, "probe", {}, term=2)
            assert beside.result(30)["ok"]
            with pytest.raises(TimeoutError):
                newer.result(1)
            assert not older.done()
        finally:
            (machine.home / "answer").touch()
        assert older.result(30)["ok"]
        (slot,) = newer.result(30)["result"]["slots"]
    assert slot["state"] in {"starting", "running"}
    assert machine.start_head(2)["kind"] == "refused"


def test_the_terms_of_two_sites_are_apart(machine: NodeMachine) -> None:
    machine.result("probe", {}, term=7)
    assert machine.call("probe", {}, site="beef", term=1)["ok"]


@pytest.mark.parametrize("terms", [b"", b"x", b"-1", b"7 8", b"7" * 100])
def test_a_damaged_term_stops_everything(machine: NodeMachine, terms: bytes) -> None:
    machine.result("probe", {})
    (machine.node_dir / SITE / "term").write_bytes(terms)
    assert machine.call("probe", {})["kind"] == "refused"


@pytest.mark.parametrize("level", ["", SITE, f"{SITE}/main", f"{SITE}/main/head-n1"])
def test_a_folder_that_is_a_link_is_refused(machine: NodeMachine, level: str) -> None:
    elsewhere = machine.home / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    planted = machine.node_dir / level
    planted.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
    for folder in [planted.parent, *planted.parents]:
        if folder.is_relative_to(machine.node_dir) and folder != planted:
            folder.chmod(0o700)
    planted.symlink_to(elsewhere)
    answer = machine.start_head()
    assert answer["kind"] == "refused"
    assert list(elsewhere.iterdir()) == []


def test_a_file_in_the_place_of_a_folder_is_refused(machine: NodeMachine) -> None:
    machine.result("probe", {})
    (machine.node_dir / SITE / "main").touch(mode=0o600)
    assert machine.start_head()["kind"] == "refused"


def test_a_folder_that_others_can_write_is_refused(machine: NodeMachine) -> None:
    machine.result("probe", {})
    (machine.node_dir / SITE).chmod(0o770)
    assert machine.call("probe", {})["kind"] == "refused"


def test_a_probe_tells_what_the_machine_has(machine: NodeMachine) -> None:
    facts = machine.result("probe", {})
    assert facts["cpus"] > 0
    assert facts["memoryBytes"] > 1 << 20
    assert facts["slots"] == []
    asked = machine.result("probe", {"slots": [{"cluster": "main", "role": "worker", "node": "w9"}]})
    assert [(each["node"], each["state"], each["epoch"]) for each in asked["slots"]] == [("w9", "none", None)]
