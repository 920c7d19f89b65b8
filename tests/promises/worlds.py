"""Plausible worlds, drawn in the words of case files: what fails is printed as a case.

A world is plausible when the ledger could have come about: live attempts hold distinct nodes, and nodes belong to a
pool that has or had them. What is desired and what is seen may be anything, in any combination. Half of the worlds
are calm: heads and nodes are up and answer, so that jobs are what happens in them.
"""

from collections.abc import Mapping
from dataclasses import replace
from random import Random
from typing import Any

from hypothesis import strategies as st

from reconciler.model.world import World
from tests.kinds.shorthand import world_of

CLUSTERS = {"main": "cpu-01", "other": "cpu-02"}
NODES = ("n1", "n2", "n3", "n4", "n5")
POOLS = ("a", "b")
# Names that would meet if a submission id did not keep them apart.
JOBS = ("rl/a", "rl/b", "rl/x-a", "rl-x/a", "data/a")
LIVE = ("intended", "submitted", "running")
ENDS = ("succeeded", "failed", "stopped", "lost", "timedout")
AGES = ("0s", "1s", "20s", "59s", "60s", "90s", "2m", "10m", "3h")

Words = dict[str, Any]


def worlds() -> st.SearchStrategy[World]:
    """Return any plausible world."""
    return cases().map(world_of)


@st.composite
def cases(draw: st.DrawFn) -> Words:
    """Return any plausible world as a case without expectation."""
    calm = draw(st.booleans())
    desired = draw(_desired(calm))
    ledger = draw(_ledger(desired, calm))
    in_flight: list[str] = draw(st.lists(st.sampled_from(_paces()), max_size=0 if calm else 2, unique=True))
    jobs = [key for key in desired if key.startswith("job/")]
    problems = draw(st.lists(st.sampled_from([*jobs, None]), max_size=2, unique=True))
    unsettled = draw(st.lists(st.sampled_from(["rl", "data", ""]), max_size=1))
    adrift = [key for key in jobs if key.split("/")[1] in unsettled]
    return {
        "case": "drawn",
        "desired": desired,
        "problems": {key: "it cannot be" for key in problems if key is not None},
        "unsettled": unsettled,
        "lingering": draw(st.lists(st.sampled_from(adrift), max_size=2, unique=True)) if adrift else [],
        "ledger": ledger,
        "observed": draw(_observed(ledger, calm)),
        "in-flight": in_flight,
    }


def shuffled(world: World, chance: Random) -> World:
    """Return the same world with everything that has no order put in another one."""

    def mixed(mapping: Mapping[Any, Any]) -> dict[Any, Any]:
        keys = list(mapping)
        chance.shuffle(keys)
        return {key: mapping[key] for key in keys}

    desired, ledger, seen = world.desired, world.ledger, world.observed
    tables = ("known", "clusters", "nodes", "drains", "jobs", "numbers", "backoffs")
    sights = ("heads", "slots", "attempts", "claims")
    records: dict[str, Any] = {name: mixed(getattr(ledger, name)) for name in tables}
    return replace(
        world,
        desired=replace(desired, objects=mixed(desired.objects), problems=mixed(desired.problems)),
        ledger=replace(ledger, **records),
        observed=replace(seen, **{name: mixed(getattr(seen, name)) for name in sights}),
    )


def _paces() -> list[str]:
    nodes = [f"node:{cluster}/{node}" for cluster in CLUSTERS for node in NODES]
    return [*(f"head:{cluster}" for cluster in CLUSTERS), *nodes]


@st.composite
def _desired(draw: st.DrawFn, calm: bool) -> Words:
    desired: Words = {}
    if draw(st.booleans()):
        desired["site"] = {"brakes": {"maxStops": draw(st.integers(0, 2)), "maxRemovals": draw(st.integers(0, 3))}}
    for name, head in CLUSTERS.items():
        if calm or draw(st.integers(0, 3)):
            suspend = draw(st.integers(0, 9)) == 0
            cap = draw(st.integers(1, 3))
            desired[f"cluster/{name}"] = {"head": {"candidates": [head]}, "maxRunningJobs": cap, "suspend": suspend}
    # Each node has at most one pool; the loader refuses anything else.
    owner = {node: draw(st.sampled_from([*POOLS, None])) for node in NODES}
    for pool in POOLS:
        if calm or draw(st.integers(0, 4)):
            nodes = [node for node in NODES if owner[node] == pool]
            draining = nodes and draw(st.integers(0, 2)) == 0
            drained = draw(st.lists(st.sampled_from(nodes), max_size=2, unique=True)) if draining else []
            after = draw(st.sampled_from([None, "0s", "1h"]))
            drain = [{"node": node} | ({"after": after} if after else {}) for node in drained]
            # A pool may have moved from the cluster in which its nodes are.
            cluster = draw(st.sampled_from(["main", "main", "main", "other"] if calm else list(CLUSTERS)))
            desired[f"nodepool/{pool}"] = {"cluster": cluster, "nodes": nodes, "drain": drain}
    for job in JOBS:
        if draw(st.integers(0, 2)):
            desired[f"job/{job}"] = draw(_job())
    return desired


@st.composite
def _job(draw: st.DrawFn) -> Words:
    spec: Words = {"pool": draw(st.sampled_from(POOLS)), "resources": {"nodes": draw(st.integers(1, 3))}}
    if draw(st.booleans()):
        return spec
    spec["priority"] = draw(st.sampled_from(["low", "normal", "high"]))
    spec["stop"] = draw(st.integers(0, 4)) == 0
    spec["suspend"] = draw(st.integers(0, 4)) == 0
    spec["limits"] = draw(
        st.sampled_from([{}, {"queue": "5m"}, {"start": "1m"}, {"attempt": "5m"}, {"total": "5m"}])
    )
    spec["retry"] = {"limit": draw(st.integers(0, 2))}
    spec["dependsOn"] = draw(st.sampled_from([[], [], ["a"], ["data/a"]]))
    return spec


@st.composite
def _ledger(draw: st.DrawFn, desired: Words, calm: bool) -> Words:
    ledger: Words = _all_up() if calm else draw(_clusters_and_nodes())
    for key in [f"{cluster}/{node}" for cluster in CLUSTERS for node in NODES]:
        if draw(st.integers(0, 7)) == 0:
            since, told = draw(st.sampled_from(AGES)), draw(st.booleans())
            ledger[f"drain/{key}"] = {"since": since, "told": told, "pool": draw(st.sampled_from(POOLS))}
    free = {cluster: [n for n in NODES if f"node/{cluster}/{n}" in ledger] for cluster in CLUSTERS}
    for job in JOBS:
        if draw(st.integers(0, 3)):
            ledger[f"job/{job}"] = draw(_job_record(free, calm))
    names = [*(f"job/{j}" for j in JOBS), *(f"cluster/{c}" for c in CLUSTERS), *(f"nodepool/{p}" for p in POOLS)]
    for name in names:
        ledger |= draw(_known(name, desired, ledger))
    return ledger


def _all_up() -> Words:
    heads = {f"cluster/{name}": {"head": {"is": "running", "node": node}} for name, node in CLUSTERS.items()}
    return {**heads, **{f"node/main/{node}": "joined" for node in NODES}}


@st.composite
def _clusters_and_nodes(draw: st.DrawFn) -> Words:
    ledger: Words = {}
    for cluster, head in CLUSTERS.items():
        if not draw(st.integers(0, 4)):
            continue
        ledger[f"cluster/{cluster}"] = draw(_cluster_record(head))
        for node in NODES:
            if draw(st.integers(0, 2)):
                ledger[f"node/{cluster}/{node}"] = draw(_node_record())
    return ledger


@st.composite
def _cluster_record(draw: st.DrawFn, node: str) -> Words:
    record: Words = {"epoch": draw(st.integers(1, 3))}
    if draw(st.integers(0, 5)):
        record["head"] = {
            "is": draw(st.sampled_from(["starting", "verified", "running", "running", "running"])),
            "node": node,
            "edited": draw(st.integers(0, 5)) == 0,
            "started": draw(st.sampled_from(AGES)),
            "silent": draw(st.sampled_from([None, None, None, *AGES])),
            "stopping": draw(st.sampled_from([None, None, None, None, *AGES])),
        }
    else:
        record["withdrawn"] = draw(st.booleans())
        record["failed"] = draw(st.sampled_from([None, {"count": 3, "last": "10s"}]))
    return record


@st.composite
def _node_record(draw: st.DrawFn) -> Words:
    return {
        "is": draw(st.sampled_from(["starting", "joined", "joined", "joined"])),
        "pool": draw(st.sampled_from(POOLS)),
        "epoch": draw(st.integers(1, 3)),
        "edited": draw(st.integers(0, 5)) == 0,
        "started": draw(st.sampled_from(AGES)),
        "missing": draw(st.sampled_from([None, None, None, *AGES])),
        "stopping": draw(st.sampled_from([None, None, None, None, *AGES])),
    }


@st.composite
def _job_record(draw: st.DrawFn, free: dict[str, list[str]], calm: bool) -> Words:
    record: Words = {"entered": draw(st.sampled_from(AGES)), "edited": draw(st.integers(0, 3)) == 0, "attempts": []}
    for _ in range(draw(st.integers(0, 2))):
        record["attempts"].append(
            {
                "is": draw(st.sampled_from(ENDS)),
                "failure": draw(st.sampled_from([None, "transient", "user", "lost", "node", "preempted"])),
                "reason": draw(st.sampled_from(["ExitCode", "NeverRan", "Edited", "Removed", "Drained"])),
                "ended": draw(st.sampled_from(AGES)),
                "cleaned": draw(st.booleans()),
            }
        )
    cluster = draw(st.sampled_from(list(CLUSTERS)))
    runs = draw(st.booleans())
    if runs and free[cluster]:
        taken, free[cluster] = free[cluster][:1], free[cluster][1:]
        record["attempts"].append(draw(_live_attempt(cluster, taken, calm)))
    elif record["attempts"] and draw(st.booleans()):
        record["closed"] = record["attempts"][-1]["is"]
    return record


@st.composite
def _live_attempt(draw: st.DrawFn, cluster: str, nodes: list[str], calm: bool) -> Words:
    attempt: Words = {
        "is": draw(st.sampled_from(LIVE)),
        "cluster": cluster,
        "nodes": nodes,
        "epoch": 1 if calm else draw(st.integers(1, 3)),
        "began": draw(st.sampled_from(AGES)),
        "vanished": None if calm else draw(st.sampled_from([None, None, *AGES])),
        "gone": None if calm else draw(st.sampled_from([None, None, *AGES])),
        "edited": draw(st.integers(0, 3)) == 0,
    }
    if draw(st.integers(0, 4)) == 0:
        causes = ["Removed", "Edited", "Asked", "StartLimit", "AttemptLimit", "TotalLimit", "Drained"]
        attempt["stop"] = {"cause": draw(st.sampled_from(causes)), "last": draw(st.sampled_from(AGES))}
    return attempt


@st.composite
def _known(draw: st.DrawFn, short: str, desired: Words, ledger: Words) -> Words:
    if short in desired:
        choice = draw(st.integers(0, 5))
        unknown: Words | None = None if choice == 0 else {"like": short, "released": choice == 1}
        return {f"known/{short}": unknown} if choice < 2 else {}
    was_there = short in ledger or draw(st.booleans())
    return {f"known/{short}": {"released": draw(st.booleans())}} if was_there else {}


@st.composite
def _observed(draw: st.DrawFn, ledger: Words, calm: bool) -> Words:
    observed: Words = {}
    if calm:
        # Directories look as the ledger says.
        idle = {f"slot/other/worker/{node}": "none" for node in NODES}
        return {**{f"head/{cluster}": "answers" for cluster in CLUSTERS}, **idle}
    for cluster, node in CLUSTERS.items():
        if f"cluster/{cluster}" in ledger and draw(st.integers(0, 5)):
            observed[f"head/{cluster}"] = draw(_head(ledger))
        if draw(st.integers(0, 2)):
            observed[f"slot/{cluster}/head/{node}"] = draw(_slot())
        for each in NODES:
            if draw(st.integers(0, 2)):
                observed[f"slot/{cluster}/worker/{each}"] = draw(_slot())
    for key in live_of(ledger):
        if draw(st.booleans()):
            words = ["empty", "claimed", "burnt", "unreachable", "not looked at"]
            results = [{"exited": 0}, {"exited": 1}, {"stopped": None}, {"fenced": None}, {"timed-out": None}]
            observed[f"dir/{key}"] = draw(st.sampled_from([*words, *results]))
        if draw(st.booleans()):
            observed[f"claim/{key}"] = draw(
                st.sampled_from(["unclaimed", "alive", "gone", "elsewhere", "unreachable"])
            )
    return observed


def live_of(ledger: Words) -> list[str]:
    """Return the live attempts of a drawn ledger, as case files name them."""
    return [
        f"{key.removeprefix('job/')}/{len(words['attempts'])}"
        for key, words in ledger.items()
        if key.startswith("job/") and words["attempts"] and words["attempts"][-1]["is"] in LIVE
    ]


@st.composite
def _head(draw: st.DrawFn, ledger: Words) -> Any:
    if (choice := draw(st.integers(0, 9))) < 3:
        return ["absent", "unreachable", "answers"][choice]
    words: Words = {"ago": draw(st.sampled_from(["0s", "0s", "5s"])), "token": draw(st.integers(0, 9)) != 0}
    if draw(st.integers(0, 9)) == 0:
        words["session"] = "somebody-elses"
    states = st.sampled_from(["alive", "alive", "alive", "draining", "dead", {"is": "alive", "free": 2}])
    words["nodes"] = {node: draw(states) for node in NODES if draw(st.integers(0, 4))}
    told = st.sampled_from(["PENDING", "RUNNING", "RUNNING", "STOPPED", "FAILED", "SUCCEEDED"])
    words["jobs"] = {key: draw(told) for key in live_of(ledger) if draw(st.integers(0, 2))}
    return words


@st.composite
def _slot(draw: st.DrawFn) -> Any:
    if draw(st.integers(0, 3)) == 0:
        return "unreachable"
    state = draw(st.sampled_from(["none", "starting", "running", "running", "stopping", "failed", "stopped"]))
    return {"is": state} | ({"epoch": draw(st.integers(1, 3))} if draw(st.integers(0, 3)) == 0 else {})
