"""Faults of the outside world against the real daemon: nothing is lost, nothing is done twice, and people are told.

All stories share one site: a real head and real nodes on machines of their own, a real Git remote over HTTP. It is
well before and after each of them, and one job on it never notices anything.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import grpc  # type: ignore[import-untyped]  # grpcio ships no types
import pytest
from ray.core.generated import gcs_service_pb2, gcs_service_pb2_grpc

from tests import netns
from tests.gitremote import needs
from tests.outages.damage import HARMS, damaged
from tests.outages.illness import ILLNESSES, mute_about_starts, raylets
from tests.outages.scene import (
    CALL_SECONDS,
    FETCH_SECONDS,
    SECONDS,
    SILENCE_SECONDS,
    Scene,
    Work,
    pool,
    scene,
)
from tests.remote.stub_head import Behaviour, drips, hangs_up, keeps_silent, says

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with scene(tmp_path_factory.mktemp("hosts")) as made:
        yield made


@pytest.fixture
def site(shared: Scene) -> Iterator[Scene]:
    shared.is_well()
    yield shared
    shared.is_well()


# Machines, reached by ssh.

needs_hosts = pytest.mark.skipif(bool(netns.missing()), reason=netns.missing())


def row(site: Scene, name: str) -> dict[str, str]:
    """Return what people read about a node of the far pool."""
    rows = (site.site.object("nodepool/far") or {"detail": {"nodes": []}})["detail"]["nodes"]
    found = [each for each in rows if each["name"] == f"node-{name}"]
    return found[0] if found else {"message": "", "reason": ""}


def is_said(site: Scene, name: str, words: str) -> bool:
    found = row(site, name)
    return found["reason"] == "MachineUnreachable" and words in found["message"]


def is_answering(site: Scene, name: str) -> bool:
    return row(site, name)["reason"] != "MachineUnreachable"


@needs_hosts
def test_ill_machines_delay_only_themselves_say_why_and_come_back_by_themselves(site: Scene) -> None:
    for name, illness in ILLNESSES.items():
        illness.begins(site, site.host(name))
    work = Work(site.site, "meanwhile")
    nodes = [site.node(f"node-{name}", name) for name in ILLNESSES]
    site.site.commit("Ask for nodes and for a job", {**pool("far", *nodes), **work.files()})
    asked = datetime.now(UTC)
    for name, illness in ILLNESSES.items():
        site.until(partial(is_said, site, name, illness.said), f"{name}: {illness.said}")
    work.begins()
    (submitted,) = [event for event in site.site.events(work.path) if event["type"] == "Action"]
    waited = datetime.fromisoformat(submitted["at"]) - asked
    assert waited.total_seconds() < CALL_SECONDS, "it did not wait for a machine that hangs"
    work.ends()
    assert work.lives() == ["began 1", "ended 1"]
    assert not any(is_answering(site, name) for name in ILLNESSES)
    for name, illness in ILLNESSES.items():
        illness.ends(site, site.host(name))
    for name in ILLNESSES:
        site.until(partial(is_answering, site, name), f"{name} is used")
    site.site.commit("They are not needed after all", {"nodepools/far.yaml": None})
    site.site.until_gone("nodepool/far")


@needs_hosts
def test_a_link_that_is_cut_in_the_middle_of_a_start_is_settled_by_looking(site: Scene) -> None:
    host = site.host("link")
    mute, diary = mute_about_starts(site)
    mute(site, host)
    site.site.commit("Ask for one more", pool("far", site.node("node-link", "link")))
    site.until(diary.exists, "the start has reached the machine")
    host.cut()
    site.until(lambda: "Unknown" in told(site, "nodepool/far"), "nobody can say what became of the start")
    host.mend()
    site.site.until("nodepool/far", "Ready", seconds=SECONDS)
    assert diary.read_text() == "started\n", "it was started once"
    assert len(raylets(host)) == 1
    site.site.commit("It is not needed any more", {"nodepools/far.yaml": None})
    site.site.until_gone("nodepool/far")
    assert raylets(host) == []


def told(site: Scene, target: str) -> set[str]:
    """Return the sorts of events that people were told about an object."""
    return {event["type"] for event in site.site.events(target)}


# The API of the head.

PAGE = b"<html><body>It works!</body></html>"
SUBMIT = b"POST /api/jobs/ "

# What the head answers, and what people read about it.
FAULTS: dict[str, tuple[Behaviour, str]] = {
    "500": (says("500 Internal Server Error", b"Traceback (most recent call last)"), "the head answered HTTP 500"),
    "page": (says("200 OK", PAGE, "Content-Type: text/html"), "the answer is not a JSON document"),
    "rubbish": (says("200 OK", b'{"version": [[]]}'), "names no session"),
    "flood": (says("200 OK", b" " * (5 << 20)), "an answer of more than 4194304 bytes"),
    "nothing": (keeps_silent, "no whole answer"),
    "drip": (drips(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000), "no whole answer"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_head_that_answers_wrongly_is_told_and_left_alone(site: Scene, fault: str) -> None:
    behaviour, said = FAULTS[fault]
    before = site.cluster["detail"]["head"]
    with site.head.faulty(behaviour):
        site.site.until("cluster/main", "Silent")
        site.until(lambda: said in site.cluster["message"], said)
        assert "UTC if it stays so" in site.cluster["message"]
        (ready,) = [each for each in site.cluster["conditions"] if each["type"] == "Ready"]
        assert ready["status"] == "False"
        # A look that is still awaited comes first: whether the head is silent is not known then.
        assert ready["lastTransitionTime"] <= site.cluster["since"]
        assert site.steady.status["state"] == "Running"
        assert site.steady.status["reason"] == "HeadUnreachable"
    site.site.until("cluster/main", "Ready")
    assert site.cluster["detail"]["head"] == before, "the same head, never fenced"


@pytest.mark.parametrize(
    ("delivers", "behaviour"),
    [(True, hangs_up), (False, says("400 Bad Request", PAGE))],
    ids=["reply lost", "request refused"],
)
def test_a_submit_that_nobody_confirms_runs_once(site: Scene, behaviour: Behaviour, *, delivers: bool) -> None:
    asked = site.head.asked(SUBMIT)
    work = Work(site.site, f"unsure-{asked}")
    with site.head.faulty(behaviour, concerns=SUBMIT, delivers=delivers):
        site.site.commit("Add it", work.files())
        site.until(lambda: told(site, work.path) & {"Unknown", "NotDone"}, "the submit was not confirmed")
    work.begins()
    site.site.until(work.path, "Running")
    # Where the head had it, looking settled the doubt; where it had not, it was handed over again.
    assert (site.head.asked(SUBMIT) - asked == 1) is delivers
    # Its end is its own word, whatever its head says by then.
    with site.head.gone():
        site.site.until("cluster/main", "Silent")
        work.ends(seconds=SILENCE_SECONDS)
        assert site.cluster["state"] == "Silent"
    assert work.lives() == ["began 1", "ended 1"]
    assert len(work.attempts) == 1


# People at work on the head, past RayOps.


def token(site: Scene) -> str:
    return (site.site.home / "state/tokens/main").read_text().strip()


def runner_of(work: Work) -> int:
    folder = work.site.shared / "jobs" / work.attempts[-1]["submissionId"]
    return int(json.loads((folder / "claim.json").read_text())["pid"])


def kill_program(_: Scene, work: Work) -> None:
    runner = runner_of(work)
    (program,) = map(int, Path(f"/proc/{runner}/task/{runner}/children").read_text().split())
    os.kill(program, signal.SIGKILL)


def kill_runner(_: Scene, work: Work) -> None:
    os.kill(runner_of(work), signal.SIGKILL)


def delete_record(site: Scene, work: Work) -> None:
    key = f"_ray_internal_job_info_{work.attempts[-1]['submissionId']}".encode()
    with grpc.insecure_channel(f"{site.head.place[0]}:{site.site.ports[0]}") as channel:
        # Ray's own interface refuses to delete the record of a running job.
        request = gcs_service_pb2.InternalKVDelRequest(key=key, namespace=b"job")
        store = gcs_service_pb2_grpc.InternalKVGcsServiceStub(channel)
        mine = (("authorization", f"Bearer {token(site)}"),)
        assert store.InternalKVDel(request, timeout=SECONDS, metadata=mine).deleted_num == 1


def stop(site: Scene, work: Work) -> None:
    host, port = site.head.server
    address = f"http://{host}:{port}/api/jobs/{work.attempts[-1]['submissionId']}/stop"
    request = Request(address, method="POST", headers={"Authorization": f"Bearer {token(site)}"})
    with urlopen(request, timeout=SECONDS) as answer:
        assert json.load(answer) == {"stopped": True}


# What is done to one attempt after the other, and what people read about each of them.
ACTS: list[tuple[Callable[[Scene, Work], None], str, str]] = [
    (kill_program, "Failed", "ended by signal 9"),
    (kill_runner, "Lost", "no result; Ray says FAILED"),
    (delete_record, "Lost", "Ray no longer ran it"),
    (stop, "Stopped", ""),
]


def test_whatever_people_do_to_a_job_there_is_one_copy_of_it_and_a_true_word_for_it(site: Scene) -> None:
    work = Work(site.site, "handled").begun("  grace: 1s\n  retry: {limit: 3, backoff: 1s, maxBackoff: 1s}\n")
    for number, (act, _, _) in enumerate(ACTS, start=1):
        work.begins(number)
        site.until(partial(is_running, work, number), f"attempt {number} runs")
        act(site, work)
    site.site.until(work.path, "Stopped")
    assert work.lives() == [f"began {number}" for number in range(1, len(ACTS) + 1)]
    for attempt, (act, state, words) in zip(work.attempts, ACTS, strict=True):
        assert attempt["state"] == state, act
        assert words in attempt["message"], act
    assert work.attempts[-1]["reason"] == "StoppedByHand"
    said = [event["reason"] for event in site.site.events(work.path)]
    assert "ProcessLeft" in said, "what Ray had no record of was found alive, and ended by its machine"


def is_running(work: Work, number: int) -> bool:
    return bool(work.status["state"] == "Running" and work.attempts[-1]["number"] == number)


# The Git remote.

USER = "apiVersion: rayops/v1\nkind: User\nmetadata: {{name: {0}}}\nspec: {{displayName: {0}}}\n"


def user(name: str) -> dict[str, str]:
    return {f"users/{name}.yaml": USER.format(name)}


def told_since(site: Scene) -> float:
    """Return how many seconds ago the trouble began, as people read it."""
    since = datetime.fromisoformat(site.source["since"])
    return (datetime.now(UTC) - since).total_seconds()


def test_a_remote_that_is_gone_is_told_with_its_age_and_followed_when_it_is_back(site: Scene) -> None:
    before = site.objects
    with site.remote.gone():
        began = time.monotonic()
        site.site.commit("Nobody sees this yet", user("carol"))
        said = site.source_is("Unreachable")
        assert "Connection refused" in said["message"] or "Failed to connect" in said["message"]
        site.until(lambda: told_since(site) >= 2, "it grows old")
        assert told_since(site) <= time.monotonic() - began + 1
        assert site.objects == before
    site.site.until("user/carol", "Ready")


def test_a_remote_that_drips_keeps_nobody_waiting(site: Scene) -> None:
    work = Work(site.site, "patient").begun()
    asked = len(site.remote.requests)
    with site.remote.faulty(drips(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000, 1.0)):
        site.until(lambda: len(site.remote.requests) > asked, "the remote is asked")
        assert "no answer yet" in site.source_is("Unreachable")["message"]
        began = time.monotonic()
        work.ends()
        assert site.source["fault"] == "Unreachable"
        # A daemon that starts meanwhile knows what was in force, and one that ends waits for no remote either.
        assert site.site.stop(signal.SIGTERM) == 0
        site.site.start()
        heard = site.site.object("heartbeat")
        site.until(lambda: site.site.object("heartbeat") != heard, "the new daemon beats")
        site.source_is("Unreachable")
        assert site.cluster["state"] == "Ready"
        assert time.monotonic() - began < FETCH_SECONDS
    assert work.lives() == ["began 1", "ended 1"]


def test_a_rewritten_history_is_held_until_an_operator_accepts_it(site: Scene) -> None:
    site.site.commit("Add dave", user("dave"))
    site.site.until("user/dave", "Ready")
    site.site.git("reset", "--quiet", "--hard", "HEAD~1")
    revision = site.site.commit("Add erin instead", user("erin"))
    said = site.source_is("HistoryRewritten")
    assert said["revision"] == revision
    assert f"accept {revision}" in said["message"]
    assert "user/dave.json" in site.objects
    assert "user/erin.json" not in site.objects
    site.site.rayops("accept", revision)
    site.site.until("user/erin", "Ready")
    site.site.until_gone("user/dave")
    # The word was for that change alone: another force push back to the same revision is held again.
    site.site.commit("Add frank", user("frank"))
    site.site.until("user/frank", "Ready")
    frank = site.site.git("rev-parse", "HEAD").strip()
    site.site.git("reset", "--quiet", "--hard", revision)
    site.site.rayops("sync")
    said = site.source_is("HistoryRewritten")
    assert (said["revision"], frank in said["message"]) == (revision, True), "by its whole name, for `git fetch`"
    assert "user/frank.json" in site.objects
    site.site.git("reset", "--quiet", "--hard", frank)
    site.site.rayops("sync")


@pytest.mark.parametrize("harm", HARMS)
def test_a_damaged_remote_is_held_and_followed_once_it_is_whole(site: Scene, harm: str) -> None:
    before, name = site.objects, f"grace-{harm}"
    with ExitStack() as stack:
        # It is damaged before anybody sees the commit.
        with site.remote.gone():
            site.site.commit(f"Add {name}", user(name))
            stack.enter_context(damaged(site.site, f"users/{name}.yaml", harm))
        assert site.source_is("Corrupt")["message"]
        assert site.objects == before
    site.site.until(f"user/{name}", "Ready")


def test_a_deleted_branch_deletes_nothing(site: Scene) -> None:
    before, tip = site.objects, site.site.git("rev-parse", "HEAD").strip()
    site.site.git("update-ref", "-d", "refs/heads/main")
    try:
        assert site.source_is("NoBranch")["message"]
        assert site.objects == before
    finally:
        site.site.git("update-ref", "refs/heads/main", tip)


def test_an_emptied_tree_empties_nothing(site: Scene) -> None:
    before = site.objects
    site.site.git("rm", "-rq", ".")
    site.site.commit("Remove everything", {})
    try:
        assert "no desired file" in site.source_is("EmptyTree")["message"]
        assert site.objects == before
    finally:
        site.site.git("revert", "--no-edit", "HEAD")


# The token of the cluster.


def file_of(site: Scene) -> Path:
    return site.site.home / "state/tokens/main"


def test_a_lost_token_ends_nothing_and_the_status_says_where_it_is(site: Scene) -> None:
    file, before = file_of(site), site.cluster["detail"]["head"]
    token = file.read_bytes()
    file.unlink()
    try:
        site.site.until("cluster/main", "Unknown")
        assert "tokens/main in the state directory is missing; put it back" in site.cluster["message"]
        assert site.steady.status["state"] == "Running"
        assert not file.exists(), "none was made in its place"
    finally:
        file.write_bytes(token)
    site.site.until("cluster/main", "Ready")
    assert site.cluster["detail"]["head"] == before


def test_a_wrong_token_is_told_and_the_right_one_mends_it(site: Scene) -> None:
    file, before = file_of(site), site.cluster["detail"]["head"]
    token = file.read_bytes()
    file.write_bytes(b"f" * 64)
    try:
        site.site.until("cluster/main", "Silent")
        site.until(lambda: "refuses our token" in site.cluster["message"], "the head refuses it")
        site.until(lambda: "UTC if it stays so" in site.cluster["message"], "how long it may")
        assert site.steady.status["state"] == "Running"
    finally:
        file.write_bytes(token)
    site.site.until("cluster/main", "Ready")
    assert site.cluster["detail"]["head"] == before


@needs("openssl")
def test_a_rotated_token_costs_a_new_head_and_not_before_the_limit(shared: Scene) -> None:
    shared.is_well()
    file, epoch = file_of(shared), shared.cluster["detail"]["epoch"]
    old = file.read_text().strip()
    # As docs/operations.md tells operators to.
    subprocess.run(["sh", "-c", f"umask 077; openssl rand -hex 32 > {file}"], check=True)
    shared.until(lambda: moments_of(shared, "Action"), "the old head is fenced")
    # Both are told a moment after they were decided.
    waited = moments_of(shared, "Action")[-1] - moments_of(shared, "State")[-1]
    assert waited.total_seconds() > SILENCE_SECONDS - 1
    for machine in (shared.host("calm"), shared.host("busy")) if shared.hosts is not None else ():
        # These hosts share one table of processes. `ray start` looks there for raylets that name its address, and
        # would refuse until those of the old head's nodes give it up, after a minute.
        for pid in raylets(machine):
            os.kill(pid, signal.SIGKILL)
    shared.until(lambda: shared.cluster["detail"]["epoch"] > epoch, "another head")
    for path in ("cluster/main", "nodepool/calm", "nodepool/gpu"):
        shared.site.until(path, "Ready", seconds=SECONDS)
    assert file.read_text().strip() != old
    host, port = shared.head.server
    stranger = Request(f"http://{host}:{port}/api/version", headers={"Authorization": f"Bearer {old}"})
    with pytest.raises(HTTPError, match="403"):
        urlopen(stranger, timeout=SECONDS)
    # Its head is gone, and with it the attempt, which is told; nothing ran twice.
    shared.site.until(shared.steady.path, "Lost")
    assert shared.steady.lives() == ["began 1"]


def moments_of(site: Scene, kind: str) -> list[datetime]:
    """Return when the head was told to be silent (`State`), or fenced for it (`Action`)."""
    events = site.site.events("cluster/main")
    return [datetime.fromisoformat(e["at"]) for e in events if (e["type"], e["reason"]) == (kind, "HeadSilent")]
