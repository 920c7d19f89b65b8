"""The gate: one JSON request on stdin, one named verb, one JSON answer on stdout. Nothing else runs over SSH."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from reconciler.node import files
from reconciler.node.documents import DOCUMENT_LIMIT, Fields, parse
from reconciler.node.failure import BUG, INVALID, REFUSED, TRANSIENT, NotDone
from reconciler.node.orders import HEAD, TERM, TERM_LOCK, WORKER
from reconciler.node.verbs.clean import clean
from reconciler.node.verbs.probe import probe
from reconciler.node.verbs.start import start
from reconciler.node.verbs.stop import stop
from reconciler.node.verbs.sweep import sweep

PROTOCOL = 1
Verb = Callable[[Fields, Path], dict[str, object]]
VERBS: dict[str, Verb] = {
    "probe": probe,
    "start-head": partial(start, HEAD),
    "start-worker": partial(start, WORKER),
    "stop": stop,
    "sweep": sweep,
    "clean": clean,
}


def main() -> int:
    """Answer the request on stdin; the exit code is 0 whenever an answer was given."""
    answer = answer_to(sys.stdin.buffer.read(DOCUMENT_LIMIT + 1))
    sys.stdout.buffer.write(files.encode(answer))
    sys.stdout.buffer.flush()
    return 0


def answer_to(request: bytes) -> dict[str, Any]:
    """Return the answer to one request; it never raises."""
    try:
        return {"protocol": PROTOCOL, "ok": True, "result": _result(request)}
    except NotDone as failure:
        return _no(failure.kind, failure.message)
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        return _no(TRANSIENT, f"this machine said{where}: {error.strerror or type(error).__name__}")
    except Exception as error:  # noqa: BLE001 - whatever is wrong with us, the daemon gets an answer, without values
        return _no(BUG, f"the gate has a defect: {type(error).__name__} at {_place(error)}")


def _result(request: bytes) -> dict[str, object]:
    fields = Fields(parse(request, "the request"), "request")
    fields.integer("protocol", PROTOCOL, PROTOCOL)
    verb = VERBS.get(fields.text("verb"))
    if verb is None:
        raise NotDone(INVALID, f"request.verb is none of {', '.join(VERBS)}")
    site, term = fields.name("site"), fields.integer("term", 0, 1 << 53)
    folder, args = _node_folder(fields.text("nodeDir")), fields.fields("args")
    fields.end()
    files.own_folder(folder)
    home = files.own_folder(folder / site)
    with _term(home, term):
        return verb(args, home)


@contextmanager
def _term(site: Path, term: int) -> Iterator[None]:
    """Act for a leader: an older one is refused, and a newer one waits until this verb has ended."""
    lock = site / TERM_LOCK
    while True:
        with files.locked(lock, shared=True):
            known = _known_term(site)
            if known == term:
                yield
                return
        if known is None or known < term:
            with files.locked(lock):
                known = _known_term(site)
                if known is None or known < term:
                    files.write(site / TERM, b"%d\n" % term)
        if known is not None and known > term:
            raise NotDone(REFUSED, f"a newer leader (term {known}) has spoken")


def _known_term(site: Path) -> int | None:
    text = files.read(site / TERM, 64)
    if text is None:
        return None
    if not text.strip().isdigit():
        raise NotDone(REFUSED, f"{site / TERM} is damaged; write the daemon's present term into it")
    return int(text)


def _node_folder(text: str) -> Path:
    path = Path(text)
    if text.startswith("~/"):
        path = Path.home() / text[2:]
    if not path.is_absolute() or ".." in path.parts:
        raise NotDone(INVALID, "request.nodeDir is neither an absolute path nor one below ~/")
    return path


def _no(kind: str, message: str) -> dict[str, Any]:
    return {"protocol": PROTOCOL, "ok": False, "kind": kind, "message": message}


def _place(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else "an unknown place"
