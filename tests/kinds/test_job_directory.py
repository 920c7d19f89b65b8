"""What a job may leave in its directory is read as what it is, and as nothing where it is nothing of ours."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from reconciler.kind import Doors
from reconciler.kinds.job.observe import FILE_LIMIT, MESSAGE_LIMIT, see_attempt
from reconciler.model.sighting import Present, Unreachable
from reconciler.model.views import live_attempts
from reconciler.model.world import AttemptSeen, Result
from tests.fakes.clock import FakeClock
from tests.fakes.files import FakeFiles
from tests.kinds.shorthand import world_of

CLOCK = FakeClock()
(ATTEMPT,) = (attempt for _, _, attempt in live_attempts(world_of({"ledger": {"job/rl/ppo": "running"}}).ledger))
DEEP = b"[" * 1020 + b"]" * 1020
RESULTS: list[tuple[str, bytes, Result]] = [
    (
        "a good one",
        b'{"outcome":"exited","exitCode":7,"signal":null,"message":"so"}',
        Result("exited", 7, None, "so"),
    ),
    ("nothing in it", b"{}", Result("", None, None, "")),
    ("true is no number", b'{"outcome":"exited","exitCode":true,"signal":false}', Result("exited", None, None, "")),
    (
        "a number that no machine has",
        b'{"outcome":"exited","exitCode":4294967296}',
        Result("exited", None, None, ""),
    ),
    ("values that are no texts", b'{"outcome":["exited"],"message":{"a":1}}', Result("", None, None, "")),
    ("a message of a thousand levels", b'{"message":' + DEEP + b"}", Result("", None, None, "")),
    ("a long message", b'{"message":"' + b"x" * 9000 + b'"}', Result("", None, None, "x" * MESSAGE_LIMIT)),
]
NO_OBJECTS = [b"", b"null", b"[]", b'"x"', b"{", b'{"a":' * 2000, b"\xff", b" " * (FILE_LIMIT + 1)]


@pytest.mark.parametrize(("written", "read"), [case[1:] for case in RESULTS], ids=[case[0] for case in RESULTS])
def test_a_result_is_read_strictly(written: bytes, read: Result) -> None:
    assert _seen(written) == Present(AttemptSeen(claimed=True, result=read), CLOCK.now())


@pytest.mark.parametrize("written", NO_OBJECTS, ids=range(len(NO_OBJECTS)))
def test_what_is_no_object_says_nothing(written: bytes) -> None:
    found = _seen(written)
    assert isinstance(found, Unreachable)
    assert "result.json" in found.reason


def _seen(result: bytes) -> Any:
    shared = FakeFiles()
    shared.write(f"jobs/{ATTEMPT.submission_id}/claim.json", b"{}")
    shared.write(f"jobs/{ATTEMPT.submission_id}/result.json", result)
    return see_attempt(cast(Doors, SimpleNamespace(shared=shared, clock=CLOCK)), ATTEMPT)
