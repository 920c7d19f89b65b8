"""Objects are checked against each other: each problem names its object and cause."""

import random
from pathlib import Path
from typing import Any

import orjson
import pytest
from ruamel.yaml import YAML

from reconciler.desired.check import Checks, problems
from reconciler.desired.load import load_tree
from reconciler.model.desired import Loaded
from reconciler.model.ids import ObjectId

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


def loaded_of(objects: dict[str, Any]) -> dict[ObjectId, Loaded]:
    files = {}
    for who, spec in objects.items():
        kind, *team, name = who.split("/")
        metadata = {"name": name, **({"team": team[0]} if team else {})}
        folder = f"teams/{team[0]}/" if team else ""
        document = {"apiVersion": "rayops/v1", "kind": KINDS[kind], "metadata": metadata, "spec": spec}
        files[f"{folder}{kind}-{name}.yaml"] = orjson.dumps(document)
    desired = load_tree(files)
    assert desired.errors == ()
    return dict(desired.objects)


def problems_of(objects: dict[str, Any]) -> dict[str, list[str]]:
    return {str(who): list(found) for who, found in problems(loaded_of(objects)).items()}


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


def test_checks_of_changes_find_what_a_check_of_everything_finds() -> None:
    chance = random.Random(7)
    checks, objects = Checks(), dict(loaded_of(SITE))
    assert checks.update(objects, objects) == {}
    for _ in range(200):
        name = chance.choice("abcd")
        team = chance.choice(["rl", "rl", "vision"])
        spec = {**SITE["job/rl/ppo"], "pool": chance.choice(["h20", "h20", "h200"])}
        spec["dependsOn"] = chance.sample(["a", "rl/b", "c", "rl/d"], chance.randrange(3))
        changed = loaded_of({f"job/{team}/{name}": spec})
        if chance.random() < 0.1:
            changed |= loaded_of({"team/vision": {"members": chance.choice([["alice"], ["bob"]])}})
        gone = set(changed) & set(objects) if chance.random() < 0.4 else set()
        objects = {who: loaded for who, loaded in {**objects, **changed}.items() if who not in gone}
        assert checks.update(objects, set(changed)) == problems(objects)
