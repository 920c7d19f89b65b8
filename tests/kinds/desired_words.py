"""Desired state in the short words of case files."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from reconciler.model.desired import Desired, Loaded, Said
from reconciler.model.document import Document, identity, parse
from reconciler.model.ids import ObjectId
from reconciler.model.spec import spec_digest

_KINDS = ("Site", "User", "Team", "Cluster", "NodePool", "Job")
KINDS = {kind.lower(): kind for kind in _KINDS}

# What a case does not say about a spec.
PLAIN: Mapping[str, Mapping[str, Any]] = {
    "Site": {},
    "User": {},
    "Team": {"members": ["alice"]},
    "Cluster": {"ray": {"version": "2.60.0"}, "head": {"candidates": ["cpu-01"]}},
    "NodePool": {"cluster": "main", "join": "ssh", "perNode": {"gpus": 4, "cpus": 32}, "nodes": ["n1"]},
    "Job": {
        "user": "alice",
        "pool": "h20",
        "resources": {"nodes": 1, "gpusPerNode": 4},
        "workload": {"type": "command", "argv": ["train"]},
    },
}


def object_id(short: str) -> ObjectId:
    """Return the identity that `job/rl/ppo`, `cluster/main` or `site` names."""
    kind, *team, name = short.split("/") if "/" in short else (short, short)
    return ObjectId(KINDS[kind], "".join(team), name)


def host(node: str) -> str:
    """Return the host of a node of which a case tells the name only."""
    return f"{node}.example"


def desired_of(
    objects: Mapping[str, Any], problems: Mapping[str, str] | None = None, unsettled: Sequence[str] = ()
) -> Desired:
    """Return the desired state with these objects."""
    loaded = [load(short, patch or {}) for short, patch in objects.items()]
    return Desired(
        revision="r1",
        objects={each.id: each for each in loaded},
        problems={object_id(short): (text,) for short, text in (problems or {}).items()},
        unsettled=frozenset(unsettled),
    )


def with_stale(desired: Desired, shorts: Sequence[str], lingering: Sequence[str]) -> Desired:
    """Return the desired state with these objects kept from an earlier revision, some of them without a file."""
    kept = {who: replace(desired.objects[who], stale=True) for who in map(object_id, [*shorts, *lingering])}
    return replace(desired, objects={**desired.objects, **kept}, lingering=frozenset(map(object_id, lingering)))


def load(short: str, patch: Mapping[str, Any]) -> Loaded:
    """Return one object: the plain spec of its kind with a patch on top."""
    who = object_id(short)
    metadata = {"name": who.name, **({"team": who.team} if who.team else {})}
    spec = _nodes_in_full(_merged(PLAIN[who.kind], patch))
    document = parse(_tuples({"apiVersion": "rayops/v1", "kind": who.kind, "metadata": metadata, "spec": spec}))
    assert identity(document) == who
    return Loaded(who, said(document), spec_digest(document), f"{short}.yaml", "0" * 40)


def said(document: Document) -> Said:
    """Return what a file with this document says."""
    return Said(document.model_dump_json(by_alias=True).encode(), document)


def _merged(base: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in patch.items():
        below = merged.get(key)
        merged[key] = _merged(below, value) if isinstance(value, dict) and isinstance(below, dict) else value
    return merged


def _nodes_in_full(spec: dict[str, Any]) -> dict[str, Any]:
    def in_full(nodes: list[Any]) -> list[Any]:
        return [
            {"name": node, "host": host(node), "user": "ray"} if isinstance(node, str) else node for node in nodes
        ]

    if "nodes" in spec:
        return {**spec, "nodes": in_full(spec["nodes"])}
    if "head" in spec:
        return {**spec, "head": {**spec["head"], "candidates": in_full(spec["head"]["candidates"])}}
    return spec


def _tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _tuples(each) for key, each in value.items()}
    return tuple(_tuples(each) for each in value) if isinstance(value, list) else value
