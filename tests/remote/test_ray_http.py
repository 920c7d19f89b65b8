"""What a broken, hostile or foreign server can do to the Ray door: nothing but be reported, and in time."""

import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.clock import SystemClock
from reconciler.model.outcome import Done, FailureKind, NotDone, Unknown
from reconciler.model.ray import HeadAddress, Submission
from reconciler.model.sighting import Absent, Unreachable
from reconciler.remote.ray_client import RayClient
from reconciler.remote.tokens import Tokens
from tests.fakes.files import FakeFiles
from tests.remote.stub_head import Behaviour, drips, hangs_up, keeps_silent, says, sends, stub_head

TOKEN = "0123456789abcdef-canary"
LIMIT = timedelta(seconds=0.5)
# The machine is shared: what matters is that a call ends with its budget, not ten or a hundred times later.
LATE = 1.5
CLOCK = SystemClock()
JOB = Submission("rl-ppo-1", "exec true", {"OMP_NUM_THREADS": "1"}, {}, {})
ACCEPTED = says("200 OK", b'{"job_id": "rl-ppo-1", "submission_id": "rl-ppo-1"}')

# What each call would believe, were it whole.
EVERYTHING = (
    b'{"submission_id": "rl-ppo-1", "stopped": false, "deleted": true, "session_name": "s", "ray_version": "2"}'
)
RUBBISH: dict[str, Behaviour] = {
    "a failure": says("500 Internal Server Error", b"Traceback (most recent call last): ..."),
    "a page": says("200 OK", b"<html><body>It works!</body></html>", "Content-Type: text/html"),
    "nothing in it": says("200 OK"),
    "no content": says("204 No Content"),
    "half a document": says("200 OK", b'{"version": '),
    "a list": says("200 OK", b"[1, 2]"),
    "a number": says("200 OK", b"7"),
    "wrong types": says("200 OK", b'{"session_name": 7, "ray_version": ["2"], "submission_id": 1, "stopped": 3}'),
    "broken text": says("200 OK", b'{"session_name": "\xff\xfe"}'),
    "deep nesting": says("200 OK", b"[" * 100_000),
    "a huge body": says("200 OK", b"x" * (5 << 20)),
    "a huge claim": sends(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n{}", then_close=True),
    "a body cut short": sends(b"HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\n{}", then_close=True),
    "a right answer cut short": sends(
        b"HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\n" + EVERYTHING, then_close=True
    ),
    "a right answer and too much": says("200 OK", EVERYTHING + b" " * (5 << 20)),
    "a negative length": sends(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n{}", then_close=True),
    "broken chunks": sends(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", then_close=True),
    "a false zip": says("200 OK", b"{}", "Content-Encoding: gzip"),
    "endless headers": sends(b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 5000, then_close=True),
    "an endless header": sends(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200_000, then_close=True),
    "no HTTP at all": sends(b"SSH-2.0-OpenSSH_9.2\r\n", then_close=True),
    "a hang-up": hangs_up,
    "silence": keeps_silent,
    "dripping headers": drips(b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 200),
    "a dripping body": drips(b"HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\n" + b" " * 400, 0.02),
}


@contextmanager
def ray_client(token: str = TOKEN) -> Iterator[RayClient]:
    client = RayClient(CLOCK, lambda _cluster: token)
    try:
        yield client
    finally:
        client.close()


@pytest.mark.parametrize("behaviour", RUBBISH.values(), ids=RUBBISH)
def test_rubbish_is_unreachable_to_a_look_and_in_time(behaviour: Behaviour) -> None:
    with stub_head(behaviour) as stub, ray_client() as client:
        began = CLOCK.now().ticks
        assert isinstance(client.look(stub.head(), ["rl-ppo-1"], LIMIT), Unreachable)
        assert CLOCK.now().ticks - began < LATE


@pytest.mark.parametrize("behaviour", RUBBISH.values(), ids=RUBBISH)
def test_rubbish_leaves_an_effect_unknown_and_is_in_time(behaviour: Behaviour) -> None:
    with stub_head(behaviour) as stub, ray_client() as client:
        began = CLOCK.now().ticks
        assert isinstance(client.submit(stub.head(), JOB, LIMIT), Unknown)
        assert CLOCK.now().ticks - began < LATE
        assert len(stub.requests) == 1


@pytest.mark.parametrize("behaviour", RUBBISH.values(), ids=RUBBISH)
def test_rubbish_never_reads_as_stopped_or_deleted(behaviour: Behaviour) -> None:
    with stub_head(behaviour) as stub, ray_client() as client:
        assert isinstance(client.stop(stub.head(), "rl-ppo-1", LIMIT), Unknown)
        assert isinstance(client.delete(stub.head(), "rl-ppo-1", LIMIT), Unknown)


@given(body=st.binary(max_size=300), status=st.sampled_from([200, 200, 201, 404, 409, 500, 503]))
@settings(max_examples=60, deadline=None)
def test_no_answer_raises(body: bytes, status: int) -> None:
    with stub_head(says(f"{status} Word", body)) as stub, ray_client() as client:
        assert isinstance(client.look(stub.head(), [], LIMIT), Unreachable)
        assert not isinstance(client.submit(stub.head(), JOB, LIMIT), Done)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_refused_connection_means_not_done() -> None:
    nobody = HeadAddress("main", "127.0.0.1", free_port(), free_port(), 1)
    with ray_client() as client:
        for outcome in (
            client.submit(nobody, JOB, LIMIT),
            client.stop(nobody, "a", LIMIT),
            client.delete(nobody, "a", LIMIT),
        ):
            assert isinstance(outcome, NotDone)
            assert outcome.kind is FailureKind.TRANSIENT


def test_a_head_is_absent_only_when_dashboard_and_gcs_both_refuse() -> None:
    nobody = HeadAddress("main", "127.0.0.1", free_port(), free_port(), 1)
    with ray_client() as client:
        assert isinstance(client.look(nobody, [], LIMIT), Absent)
        with socket.create_server(("127.0.0.1", nobody.gcs_port)):
            assert isinstance(client.look(nobody, [], LIMIT), Unreachable)


def test_a_name_that_does_not_resolve_is_not_an_absent_head() -> None:
    lost = HeadAddress("main", "no-such-host.invalid", 1, 1, 1)
    with ray_client() as client:
        sighting = client.look(lost, [], LIMIT)
        assert isinstance(sighting, Unreachable)
        assert not sighting.asked, "a name server that is down is no silence of the head"
        assert isinstance(client.submit(lost, JOB, LIMIT), NotDone)


def test_a_head_that_says_nothing_of_use_was_asked() -> None:
    for behaviour in (
        hangs_up,
        says("500 Internal Server Error"),
        says("403 Forbidden"),
        says("200 OK", b"<html>"),
    ):
        with stub_head(behaviour) as stub, ray_client() as client:
            sighting = client.look(stub.head(), [], LIMIT)
            assert isinstance(sighting, Unreachable)
            assert sighting.asked


def test_too_many_open_files_here_are_no_silence_of_the_head() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with stub_head(ACCEPTED) as stub, ray_client() as client:
        spare = os.dup(0)
        os.close(spare)
        resource.setrlimit(resource.RLIMIT_NOFILE, (spare, before[1]))
        try:
            sighting = client.look(stub.head(), [], LIMIT)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert isinstance(sighting, Unreachable)
    assert "Too many open files" in sighting.reason
    assert not sighting.asked


def test_no_redirect_is_followed() -> None:
    with stub_head(ACCEPTED) as elsewhere:
        target = f"Location: http://127.0.0.1:{elsewhere.port}/api/jobs/"
        with stub_head(says("307 Temporary Redirect", b"", target)) as stub, ray_client() as client:
            outcome = client.submit(stub.head(), JOB, LIMIT)
            assert isinstance(outcome, NotDone)
            assert outcome.kind is FailureKind.REFUSED
            assert isinstance(client.look(stub.head(), [], LIMIT), Unreachable)
        assert elsewhere.requests == []


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with stub_head(ACCEPTED) as proxy, stub_head(ACCEPTED) as stub, ray_client() as client:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert isinstance(client.submit(stub.head(), JOB, LIMIT), Done)
        assert proxy.connections == 0


def test_connections_are_kept() -> None:
    with stub_head(ACCEPTED) as stub, ray_client() as client:
        for _ in range(3):
            client.submit(stub.head(), JOB, LIMIT)
        assert len(stub.requests) == 3
        assert stub.connections == 1


def test_a_rotated_token_is_read_again_once() -> None:
    tokens = iter(["old-token", "new-token"])
    client = RayClient(CLOCK, lambda _cluster: next(tokens))
    with stub_head(says("401 Unauthorized"), ACCEPTED) as stub:
        assert isinstance(client.submit(stub.head(), JOB, LIMIT), Done)
        assert [b"Bearer old-token" in stub.requests[0], b"Bearer new-token" in stub.requests[1]] == [True, True]
    client.close()


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden"])
def test_a_refused_token_is_said_without_its_value_and_not_sent_again(status: str) -> None:
    with stub_head(says(status, f"bad token {TOKEN}".encode())) as stub, ray_client() as client:
        outcome = client.submit(stub.head(), JOB, LIMIT)
        assert isinstance(outcome, NotDone)
        assert outcome.kind is FailureKind.REFUSED
        assert "token" in outcome.message
        assert TOKEN not in outcome.message
        assert len(stub.requests) == 1


@pytest.mark.parametrize("token", ["", "two words", "line\nX-Evil: 1", "é", "t" * 5000])
def test_a_token_that_cannot_be_sent_is_not_sent(token: str) -> None:
    with stub_head(ACCEPTED) as stub, ray_client(token) as client:
        assert isinstance(client.submit(stub.head(), JOB, LIMIT), NotDone)
        assert isinstance(client.look(stub.head(), [], LIMIT), Unreachable)
        assert isinstance(client.drain(stub.head(), "ab" * 28, "repair", LIMIT), NotDone)
        assert stub.requests == []


def test_an_unreadable_token_is_said_by_kind_only() -> None:
    def tokens(cluster: str) -> str:
        raise PermissionError(13, TOKEN)

    client = RayClient(CLOCK, tokens)
    sighting = client.look(HeadAddress("main", "127.0.0.1", 1, 1, 1), [], LIMIT)
    assert isinstance(sighting, Unreachable)
    assert "PermissionError" in sighting.reason
    assert TOKEN not in sighting.reason
    assert not sighting.asked
    client.close()


def test_a_token_that_is_missing_is_our_affair_and_the_way_out_is_told() -> None:
    client = RayClient(CLOCK, Tokens(FakeFiles()).reveal)
    sighting = client.look(HeadAddress("main", "127.0.0.1", 1, 1, 1), [], LIMIT)
    assert isinstance(sighting, Unreachable)
    assert "tokens/main in the state directory is missing; put it back" in sighting.reason
    assert not sighting.asked
    client.close()


@pytest.mark.parametrize(
    "bad", ["", "../x", "a/b", "proj#1", "Upper", "é", "a b", "-a", ".a", "a" * 122, "a\n", "<img>"]
)
def test_ids_that_ray_would_mistreat_never_reach_it(bad: str) -> None:
    with stub_head(ACCEPTED) as stub, ray_client() as client:
        job = Submission(bad, "exec true", {}, {}, {})
        for outcome in (
            client.submit(stub.head(), job, LIMIT),
            client.stop(stub.head(), bad, LIMIT),
            client.delete(stub.head(), bad, LIMIT),
            client.drain(stub.head(), bad, "repair", LIMIT),
        ):
            assert isinstance(outcome, NotDone)
            assert outcome.kind is FailureKind.INVALID
        assert stub.requests == []


def test_an_entrypoint_without_exec_is_our_bug() -> None:
    with stub_head(ACCEPTED) as stub, ray_client() as client:
        outcome = client.submit(stub.head(), Submission("a", "python x.py", {}, {}, {}), LIMIT)
        assert isinstance(outcome, NotDone)
        assert outcome.kind is FailureKind.BUG
        assert stub.requests == []


def test_the_submitted_form_is_ray_s() -> None:
    job = Submission("a", "exec true", {"A": "1"}, {"digest": "d"}, {"rayops-node": "in(w1,w2)"})
    with stub_head(ACCEPTED) as stub, ray_client() as client:
        client.submit(stub.head(), job, LIMIT)
        start, _, body = stub.requests[0].partition(b"\r\n\r\n")
        assert start.startswith(b"POST /api/jobs/ HTTP/1.1")
        assert orjson.loads(body) == {
            "submission_id": "a",
            "entrypoint": "exec true",
            "runtime_env": {"env_vars": {"A": "1"}},
            "metadata": {"digest": "d"},
            "entrypoint_label_selector": {"rayops-node": "in(w1,w2)"},
        }


def test_a_refusal_is_quoted_as_one_clean_line_without_values() -> None:
    text = "Traceback (most recent call last):\n  File x\nTypeError: env_vars \x1b[31mhush-hush\x07 is wrong\n.\n"
    job = Submission("a", "exec true", {"KEY": "hush-hush"}, {}, {})
    with stub_head(says("400 Bad Request", text.encode())) as stub, ray_client() as client:
        outcome = client.submit(stub.head(), job, LIMIT)
    assert outcome == NotDone(FailureKind.INVALID, "Ray refuses the job: TypeError: env_vars [31m… is wrong")


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        ("500 Error", "ValueError: Job with submission_id rl-ppo-1 already exists. Please use", Done),
        ("500 Error", "ValueError: Job with submission_id rl-ppo-11 already exists. Please use", Unknown),
        ("500 Error", "RuntimeError: Request failed with status code 400: ValueError: bad", NotDone),
        ("500 Error", "No available agent to submit job, please try again later.", Unknown),
        ("200 OK", '{"submission_id": "rl-ppo-2"}', Unknown),
        ("404 Not Found", "no such page", NotDone),
        ("405 Method Not Allowed", "not allowed for browser traffic", NotDone),
    ],
)
def test_a_submit_ends_as_the_answer_says(status: str, body: str, kind: type) -> None:
    with stub_head(says(status, body.encode())) as stub, ray_client() as client:
        assert isinstance(client.submit(stub.head(), JOB, LIMIT), kind)


def test_only_ray_itself_can_refuse_a_job_for_good() -> None:
    page = b"<html><h1>400 Bad Request</h1>The plain HTTP request was sent to HTTPS port</html>"
    with stub_head(says("400 Bad Request", page)) as stub, ray_client() as client:
        outcome = client.submit(stub.head(), JOB, LIMIT)
    assert isinstance(outcome, NotDone)
    assert outcome.kind is FailureKind.REFUSED, "tried again: no edit of the job mends what stands between"


def test_what_is_gone_already_counts_as_deleted_and_needs_no_stop() -> None:
    with stub_head(says("404 Not Found", b"Job rl-ppo-1 does not exist")) as stub, ray_client() as client:
        assert client.delete(stub.head(), "rl-ppo-1", LIMIT) == Done({"existed": False})
        assert client.stop(stub.head(), "rl-ppo-1", LIMIT) == Done({"known": False})
