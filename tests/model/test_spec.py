"""The digest of a document covers what runs, all of it, and nothing else."""

import copy
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.document import KINDS, parse
from reconciler.model.spec import Strict, spec_digest

NODE = {"name": "n1", "host": "10.0.0.1", "user": "ray"}
DOCUMENTS: dict[str, dict[str, Any]] = {
    "Site": {"metadata": {"name": "site"}, "spec": {}},
    "Team": {"metadata": {"name": "rl"}, "spec": {"members": ("alice",)}},
    "User": {"metadata": {"name": "alice"}, "spec": {}},
    "Cluster": {
        "metadata": {"name": "main"},
        "spec": {"ray": {"version": "2.60.0"}, "head": {"candidates": (NODE,)}},
    },
    "NodePool": {
        "metadata": {"name": "h20"},
        "spec": {"cluster": "main", "join": "ssh", "perNode": {"cpus": 64}, "nodes": (NODE,)},
    },
    "Job": {
        "metadata": {"name": "ppo", "team": "rl"},
        "spec": {"user": "alice", "pool": "h20", "workload": {"type": "command", "argv": ("python3", "x.py")}},
    },
}
# For each field one other value than the document above has, or than its default.
CHANGES: dict[str, dict[str, Any]] = {
    "Site": {
        "suspend": True,
        "brakes.maxRemovals": 1,
        "brakes.maxRemovalPercent": 1,
        "brakes.maxStops": 1,
        "brakes.maxDrainPercent": 1,
        "approvals": ({"plan": "a" * 64, "reason": "reviewed"},),
        "limits.queue": "1h",
        "limits.start": "1h",
        "limits.attempt": "1h",
        "limits.total": "1h",
    },
    "Team": {
        "suspend": True,
        "members": ("bob",),
        "quota": ({"pool": "h20", "gpus": 1},),
        "weight": 2,
    },
    "User": {"suspend": True, "displayName": "Alice", "email": "alice@example.org"},
    "Cluster": {
        "suspend": True,
        "maxRunningJobs": 1,
        "ray.version": "2.61.0",
        "ray.python": "/opt/venv/bin/python3",
        "head.candidates": ({**NODE, "host": "10.0.0.2"},),
        "head.ports.gcs": 7000,
        "head.ports.dashboard": 7001,
        "head.ports.client": 7002,
        "head.env": {"A": "1"},
    },
    "NodePool": {
        "suspend": True,
        "cluster": "other",
        "perNode.gpus": 4,
        "perNode.cpus": 8,
        "perNode.memory": "1GiB",
        "labels": {"gpu": "h20"},
        "env": {"A": "1"},
        "nodes": ({**NODE, "port": 23},),
        "drain": ({"node": "n1"},),
    },
    "Job": {
        "suspend": True,
        "user": "bob",
        "pool": "other",
        "resources.nodes": 2,
        "resources.gpusPerNode": 1,
        "workload.argv": ("python3", "y.py"),
        "workload.workingDir": "common/code",
        "workload.env": {"A": "1"},
        "limits.queue": "1h",
        "limits.start": "1h",
        "limits.attempt": "1h",
        "limits.total": "1h",
        "retry.limit": 1,
        "retry.on": ("user",),
        "retry.backoff": "1s",
        "retry.maxBackoff": "1s",
        "grace": "1s",
        "priority": "high",
        "dependsOn": ("other",),
        "stop": True,
        "rerun": 1,
    },
}
STEERING = {
    "Site": ("suspend", "brakes", "approvals", "limits"),
    "Team": ("suspend",),
    "User": ("suspend",),
    "Cluster": ("suspend", "maxRunningJobs"),
    "NodePool": ("suspend", "drain"),
    "Job": ("suspend", "limits", "retry", "grace", "priority", "dependsOn", "stop"),
}
# Each has one possible value only.
FIXED = {"NodePool": {"join"}, "Job": {"workload.type"}}


def document(kind: str) -> dict[str, Any]:
    return {"apiVersion": "rayops/v1", "kind": kind, **copy.deepcopy(DOCUMENTS[kind])}


def with_field(plain: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    *folders, last = path.split(".")
    place = plain["spec"]
    for folder in folders:
        place = place.setdefault(folder, {})
    place[last] = value
    return plain


def fields(kind: type[Strict], prefix: str = "") -> set[str]:
    found = set()
    for field in kind.model_fields.values():
        inside = field.annotation
        if isinstance(inside, type) and issubclass(inside, Strict):
            found |= fields(inside, f"{prefix}{field.alias}.")
        else:
            found.add(f"{prefix}{field.alias}")
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_the_table_of_changes_names_every_field(kind: str) -> None:
    spec: Any = KINDS[kind].model_fields["spec"].annotation
    assert fields(spec) == set(CHANGES[kind]) | FIXED.get(kind, set())


@pytest.mark.parametrize(("kind", "path"), [(kind, path) for kind in CHANGES for path in CHANGES[kind]])
def test_the_digest_follows_what_runs_and_nothing_else(kind: str, path: str) -> None:
    before = spec_digest(parse(document(kind)))
    after = spec_digest(parse(with_field(document(kind), path, CHANGES[kind][path])))
    is_steering = path.split(".", maxsplit=1)[0] in STEERING[kind]
    assert (after == before) is is_steering


@pytest.mark.parametrize("kind", KINDS)
def test_names_labels_and_annotations_do_not_run(kind: str) -> None:
    changed = document(kind)
    changed["metadata"] |= {"labels": {"a": "b"}, "annotations": {"c": "d"}}
    if kind != "Site":
        changed["metadata"]["name"] = "another"
    assert spec_digest(parse(changed)) == spec_digest(parse(document(kind)))


def test_two_kinds_never_share_a_digest() -> None:
    digests = {spec_digest(parse(document(kind))) for kind in KINDS}
    assert len(digests) == len(KINDS)


@given(st.data())
def test_key_order_and_written_defaults_change_nothing(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(sorted(KINDS)))
    plain = document(kind)
    for path in data.draw(st.lists(st.sampled_from(sorted(CHANGES[kind])), max_size=4)):
        with_field(plain, path, CHANGES[kind][path])
    parsed = parse(plain)
    full = parsed.model_dump(mode="json")
    chance = random.Random(data.draw(st.integers(0, 1000)))
    again = parse(shuffled(without_nothing(full), chance))
    assert spec_digest(again) == spec_digest(parsed)
    assert again == parsed


def without_nothing(value: Any) -> Any:
    """A field that may be left out is left out, not null: files never write null."""
    if isinstance(value, dict):
        return {key: without_nothing(inside) for key, inside in value.items() if inside is not None}
    return value


def shuffled(value: Any, chance: random.Random) -> Any:
    if isinstance(value, dict):
        keys = list(value)
        chance.shuffle(keys)
        return {key: shuffled(value[key], chance) for key in keys}
    if isinstance(value, list):
        return tuple(shuffled(inside, chance) for inside in value)
    return value
