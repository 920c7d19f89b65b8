"""The head file: whoever may write the directory may put anything there."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from reconciler.node.failure import NotDone
from reconciler.node.headfile import HeadFile, _read_payload, read_head
from tests.fuzz.engine import Broken
from tests.fuzz.target import Target

# The private half of this key exists no more: what it signed are the first cases.
SIGNERS = (Path(__file__).parents[1] / "keys" / "allowed_signers").read_text()
GENUINE = HeadFile("c0ffee", "main", 3, "session_1", "10.0.0.1", 6379)
_TEXT_LIMIT = 400

_folder = Path()


@contextmanager
def _a_folder() -> Iterator[None]:
    global _folder  # noqa: PLW0603 - of this process alone
    with tempfile.TemporaryDirectory() as folder:
        _folder = Path(folder)
        yield


def check_file(data: bytes) -> None:
    """Read a head file as a worker does that has seen epoch 2, and a payload as if its signature were good."""
    file = _folder / "head.json"
    file.write_bytes(data)
    file.chmod(0o644)
    head = _read(lambda: read_head(file, SIGNERS, "rayops", "main", at_least=2))
    if head not in {None, GENUINE}:
        raise Broken(f"another head: what nobody signed is believed: {head}")
    _read(lambda: _read_payload(data))


def _read(reader: Callable[[], HeadFile | None]) -> HeadFile | None:
    try:
        return reader()
    except NotDone as refusal:
        _check_refusal(refusal)
        return None


def _check_refusal(refusal: NotDone) -> None:
    if len(refusal.message) > _TEXT_LIMIT or not refusal.message.isprintable():
        raise Broken(f"no text for people: {refusal.message!r}")


def payloads() -> Iterator[bytes]:
    """Give a good payload."""
    yield (
        b'{"cluster": "main", "dashboardPort": 8265, "epoch": 3, "gcsPort": 6379, "host": "10.0.0.1", '
        b'"issuedAt": "2026-01-01T00:00:00Z", "rayVersion": "2.60.0", "session": "session_1", "site": "c0ffee"}'
    )


TARGETS = (
    Target(
        "headfile",
        "a head file names the head that was signed for this cluster and epoch, or is refused",
        check_file,
        payloads,
        around=_a_folder,
    ),
)
