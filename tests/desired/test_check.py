"""Objects are checked against each other: each problem names its object and cause."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from ruamel.yaml import YAML

from reconciler.desired.load import load_tree

CASES: list[Any] = YAML(typ="safe").load(Path(__file__).with_name("cases") / "problems.yaml")
SITE: dict[str, Any] = {
    "user/alice": {},
    "user/bob": {},
    "team/rl": {"members": ["alice"], "quota": [{"pool": "h20", "gpus": 8}]},
    "cluster/main": {
        "ray": {"version": "2.60.0"},
        "head": {"candidates": [{"name": "cpu-01", "host": "10.0.0.1", "user": "ray"}]},
    },
    "nodepool/h20": {
        "cluster": "main",
        "join": "ssh",
        "perNode": {"gpus": 4, "cpus": 64},
        "nodes": [
            {"name": "h20-01", "host": "10.0.0.11", "user": "ray"},
            {"name": "h20-02", "host": "10.0.0.12", "user": "ray"},
        ],
    },
    "job/rl/ppo": {"user": "alice", "pool": "h20", "workload": {"type": "command", "argv": ["x"]}},
}
KINDS = {"user": "User", "team": "Team", "cluster": "Cluster", "nodepool": "NodePool", "job": "Job"}


def problems_of(objects: dict[str, Any]) -> dict[str, list[str]]:
    files = {}
    for who, spec in objects.items():
        kind, *team, name = who.split("/")
        metadata = {"name": name, **({"team": team[0]} if team else {})}
        folder = f"teams/{team[0]}/" if team else ""
        document = {"apiVersion": "rayops/v1", "kind": KINDS[kind], "metadata": metadata, "spec": spec}
        files[f"{folder}{kind}-{name}.yaml"] = orjson.dumps(document)
    desired = load_tree(files)
    assert desired.errors == ()
    return {str(who): list(found) for who, found in desired.problems.items()}


def test_a_site_that_fits_together_has_no_problem() -> None:
    assert problems_of(SITE) == {}


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_what_does_not_fit_is_named(case: dict[str, Any]) -> None:
    objects = {**SITE, **case["with"]}
    assert problems_of({who: spec for who, spec in objects.items() if spec is not None}) == case["problems"]


def test_a_thousand_mistakes_cost_no_more_than_a_thousand_checks() -> None:
    jobs = {f"job/rl/j{number}": {**SITE["job/rl/ppo"], "pool": f"h20-{number}"} for number in range(1000)}
    found = problems_of({**SITE, **jobs})
    hinted = [text for texts in found.values() for text in texts if "did you mean" in text]
    assert len(found) == 1000
    assert len(hinted) <= 20
