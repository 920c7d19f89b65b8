"""How a look puts two witnesses together, dashboard and GCS, when either may lie."""

import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from reconciler.clock import SystemClock
from reconciler.model.ray import HeadSeen, RayJobStatus, RayNodeState
from reconciler.model.sighting import Present, Sighting, Unreachable
from reconciler.remote.ray_client import RayClient
from tests.remote.stub_head import says, stub_head

LIMIT = timedelta(seconds=10)
VERSION = says("200 OK", b'{"version": "4", "ray_version": "2.60.0", "session_name": "session_1"}')
CLOSED, OPEN = says("401 Unauthorized"), VERSION

# Says that it is ready, then tells what lies beside it, whatever it is asked.
STAND_IN = """
import os, sys
print('{"ok": {"ready": true}}', flush=True)
for _ in sys.stdin:
    print(open(os.path.join(os.path.dirname(sys.argv[0]), "answer")).read(), flush=True)
"""

Told = dict[str, Any]


def told() -> Told:
    """Return what an honest GCS tells of one node and one job."""
    return {
        "session": "session_1",
        "tokenRequired": True,
        "nodes": [
            {
                "id": "ab" * 28,
                "address": "10.0.0.1",
                "status": "IDLE",
                "labels": {"rayops-node": "w1"},
                "total": {"CPU": 4.0, "node:__internal_head__": 1.0},
                "available": {"CPU": 3.5, "node:__internal_head__": 1.0},
            }
        ],
        "jobs": {
            "rl-1": {
                "status": "FAILED",
                "message": "Job failed",
                "errorType": "JOB_ENTRYPOINT_COMMAND_ERROR",
                "exitCode": 7,
                "nodeId": "ab" * 28,
                "metadata": {"digest": "d1"},
            }
        },
    }


@pytest.fixture
def gcs(tmp_path: Path) -> Iterator[Callable[[Told], RayClient]]:
    """Return a door whose GCS child is a stand-in that tells what the test wants."""
    clients = []

    def door(answer: Told) -> RayClient:
        python = tmp_path / "python"
        (tmp_path / "answer").write_bytes(orjson.dumps({"ok": answer}))
        python.write_text(f"#!{sys.executable}\n{STAND_IN}", encoding="utf-8")
        python.chmod(0o755)
        clients.append(RayClient(SystemClock(), lambda _cluster: "token", lambda _cluster: str(python)))
        return clients[-1]

    yield door
    for client in clients:
        client.close()


def look(client: RayClient, *behaviours: Any, ids: tuple[str, ...] = ("rl-1",)) -> Sighting[HeadSeen]:
    with stub_head(*behaviours) as stub:
        return client.look(stub.head(), ids, LIMIT)


def test_an_honest_pair_is_believed(gcs: Callable[[Told], RayClient]) -> None:
    sighting = look(gcs(told()), VERSION, CLOSED)
    assert isinstance(sighting, Present), sighting
    view = sighting.seen
    assert (view.session, view.ray_version, view.token_required) == ("session_1", "2.60.0", True)
    (node,) = view.nodes
    assert (node.state, node.is_head, node.total, node.available) == (
        RayNodeState.ALIVE,
        True,
        {"CPU": 4},
        {"CPU": 3.5},
    )
    assert (view.jobs["rl-1"].status, view.jobs["rl-1"].exit_code) == (RayJobStatus.FAILED, 7)


def without(key: str) -> Callable[[Told], None]:
    return lambda answer: answer.pop(key)


def with_(value: object, *path: Any) -> Callable[[Told], None]:
    def change(answer: Told) -> None:
        place: Any = answer
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value

    return change


LIES: dict[str, Callable[[Told], None]] = {
    "another session": with_("session_2", "session"),
    "no session": without("session"),
    "no nodes": without("nodes"),
    "nodes that are none": with_({}, "nodes"),
    "a node that is none": with_(["x"], "nodes"),
    "an unknown state": with_("SLEEPING", "nodes", 0, "status"),
    "an amount that is a text": with_("4", "nodes", 0, "total", "CPU"),
    "an amount that is true": with_(True, "nodes", 0, "available", "CPU"),
    "a label that is a list": with_([], "nodes", 0, "labels", "rayops-node"),
    "a thousand labels": with_({str(n): "" for n in range(1000)}, "nodes", 0, "labels"),
    "no jobs": without("jobs"),
    "a job that nobody asked for": with_(told()["jobs"]["rl-1"], "jobs", "rl-2"),
    "an unknown status": with_("PAUSED", "jobs", "rl-1", "status"),
    "a record without a status": with_({}, "jobs", "rl-1"),
    "an exit code that is a text": with_("7", "jobs", "rl-1", "exitCode"),
    "an exit code that is true": with_(True, "jobs", "rl-1", "exitCode"),
    "metadata that is none": with_("d1", "jobs", "rl-1", "metadata"),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_what_is_not_ray_s_form_makes_a_look_useless(
    gcs: Callable[[Told], RayClient], lie: Callable[[Told], None]
) -> None:
    answer = told()
    lie(answer)
    assert isinstance(look(gcs(answer), VERSION, CLOSED), Unreachable)


def test_texts_are_cut_and_shown_without_control_characters(gcs: Callable[[Told], RayClient]) -> None:
    answer = told()
    answer["jobs"]["rl-1"]["message"] = "line 1\x1b]8;;http://evil\x07\nline 2\x00\u202e" + "x" * 50_000
    sighting = look(gcs(answer), VERSION, CLOSED)
    assert isinstance(sighting, Present)
    message = sighting.seen.jobs["rl-1"].message
    assert message.startswith("line 1]8;;http://evil\nline 2x")
    assert len(message) <= 4000


@pytest.mark.parametrize(
    ("stranger", "gcs_refuses", "closed"),
    [(CLOSED, True, True), (CLOSED, False, False), (OPEN, True, False), (says("403 Forbidden"), True, True)],
    ids=["both refuse", "the GCS is open", "the dashboard is open", "both forbid"],
)
def test_a_head_counts_as_closed_only_when_both_doors_refuse_strangers(
    gcs: Callable[[Told], RayClient], stranger: Any, *, gcs_refuses: bool, closed: bool
) -> None:
    sighting = look(gcs({**told(), "tokenRequired": gcs_refuses}), VERSION, stranger)
    assert isinstance(sighting, Present)
    assert sighting.seen.token_required is closed


def test_strangers_are_tried_once_per_session_and_without_token(gcs: Callable[[Told], RayClient]) -> None:
    client = gcs(told())
    with stub_head(VERSION, CLOSED, VERSION) as stub:
        for _ in range(3):
            sighting = client.look(stub.head(), [], LIMIT)
            assert isinstance(sighting, Unreachable | Present)
        assert [b"Authorization" in request for request in stub.requests] == [True, False, True, True]


def test_a_new_session_is_tried_anew_although_the_one_before_was_closed(
    gcs: Callable[[Told], RayClient], tmp_path: Path
) -> None:
    client = gcs(told())
    after = says("200 OK", b'{"version": "4", "ray_version": "2.60.0", "session_name": "session_2"}')
    with stub_head(VERSION, CLOSED, after, OPEN) as stub:
        first = client.look(stub.head(), ["rl-1"], LIMIT)
        (tmp_path / "answer").write_bytes(orjson.dumps({"ok": {**told(), "session": "session_2"}}))
        second = client.look(stub.head(), ["rl-1"], LIMIT)
    assert [each.seen.token_required for each in (first, second) if isinstance(each, Present)] == [True, False]


def test_an_open_head_is_tried_again_at_each_look(gcs: Callable[[Told], RayClient]) -> None:
    client = gcs(told())
    with stub_head(VERSION, OPEN, VERSION, OPEN, VERSION, CLOSED) as stub:
        sightings = [client.look(stub.head(), ["rl-1"], LIMIT) for _ in range(3)]
    assert [each.seen.token_required for each in sightings if isinstance(each, Present)] == [False, False, True]


def test_a_stranger_without_an_answer_leaves_the_look_unreachable(gcs: Callable[[Told], RayClient]) -> None:
    def hang_up(peer: Any, _over: Any) -> None:
        peer.shutdown(2)

    assert isinstance(look(gcs(told()), VERSION, hang_up), Unreachable)


def test_a_gcs_that_refuses_our_token_is_told_as_that(gcs: Callable[[Told], RayClient], tmp_path: Path) -> None:
    client = gcs(told())
    refusal = {"failed": "UNAUTHENTICATED", "message": "InvalidAuthToken: Authentication token is missing"}
    (tmp_path / "answer").write_bytes(orjson.dumps(refusal))
    sighting = look(client, VERSION)
    assert isinstance(sighting, Unreachable)
    assert sighting.asked
    assert sighting.reason == "the GCS refuses our token; check the cluster's token file"


def test_a_child_of_ours_that_cannot_run_is_no_silence_of_the_head(tmp_path: Path) -> None:
    client = RayClient(SystemClock(), lambda _cluster: "token", lambda _cluster: str(tmp_path / "no-python"))
    sighting = look(client, VERSION)
    client.close()
    assert isinstance(sighting, Unreachable)
    assert not sighting.asked


def test_an_id_that_is_none_is_not_asked_for(gcs: Callable[[Told], RayClient]) -> None:
    sighting = look(gcs(told()), VERSION, CLOSED, ids=("rl-1", "../x", "A"))
    assert isinstance(sighting, Present)
    assert sighting.seen.asked == {"rl-1"}
