"""What goes to a gate and what comes back, whatever carries it. Answers are hostile input."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from reconciler.model.json import JsonObject
from reconciler.model.machine import Machine
from reconciler.model.marks import MARKS
from reconciler.model.outcome import Done, FailureKind, NotDone, Outcome, Unknown
from reconciler.remote.gate import PROTOCOL

# One MiB holds the slots of a thousand clusters; what is longer is an accident or an attack.
DOCUMENT_LIMIT = 1 << 20
# A document of the gate is four levels deep; deeper ones would exhaust the stack of those who walk through it.
DEPTH_LIMIT = 12
MESSAGE_LIMIT = 2000
# Ours have 64 characters; hiding a short text everywhere would garble the answer instead.
SECRET_LENGTH = 16
# What coreutils' timeout and a shell answer for the gate (timeout(1), sh(1)); -1 is a lost connection.
_STATUSES = {
    -1: "the connection ended before the gate did",
    124: "the gate did not end in time and was stopped",
    125: "timeout could not run the gate",
    126: "python or the node program may not be run there",
    127: "timeout or python is not found there",
    137: "the gate did not end in time and was killed",
}
# What a terminal obeys or a reviewer misreads; lines and columns stay.
_OBEYED = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f{MARKS}]")


@dataclass(frozen=True, slots=True)
class Conversation:
    """One request to one machine, and how to read what comes back; the cluster's token never comes out of it."""

    where: str
    document: bytes = field(repr=False)
    token: str = field(repr=False, default="")

    @classmethod
    def of(cls, machine: Machine, request: JsonObject) -> "Conversation | NotDone":
        """Return the conversation that begins with `request`; one that no gate would read is not begun."""
        try:
            document = orjson.dumps(request)
        except orjson.JSONEncodeError:
            # The cause would quote the value, and the request carries the cluster's token.
            return NotDone(FailureKind.BUG, f"{machine}: the request is not a JSON document; nothing was sent")
        if len(document) > DOCUMENT_LIMIT:
            return NotDone(FailureKind.BUG, f"{machine}: the request is longer than {DOCUMENT_LIMIT} bytes")
        args = request.get("args")
        token = args.get("token") if isinstance(args, Mapping) else None
        return cls(str(machine), document, token if isinstance(token, str) and len(token) >= SECRET_LENGTH else "")

    def broke(self, error: Exception) -> Outcome:
        """Return what is known after the connection broke: the request may have been read and carried out."""
        text = one_line(str(error), 200) or type(error).__name__
        return Unknown(f"{self.where}: the connection broke after the request was sent: {text}")

    def outcome(self, answer: bytes, status: int, complaint: bytes) -> Outcome:
        """Return what the gate said; anything but status 0 and one whole, well-formed document is `Unknown`."""
        if len(answer) > DOCUMENT_LIMIT:
            return Unknown(f"{self.where}: the answer is longer than {DOCUMENT_LIMIT} bytes")
        if status != 0:
            last = self._line(complaint.decode("utf-8", "replace").strip().rpartition("\n")[2], 300)
            why = _STATUSES.get(status, f"the gate ended with status {status}")
            return Unknown(f"{self.where}: {why}" + (f": {last}" if last else ""))
        try:
            document = orjson.loads(answer)
        except orjson.JSONDecodeError:
            return Unknown(f"{self.where}: the gate ended without one whole JSON document")
        if not _is_answer(document):
            return Unknown(f"{self.where}: this is no answer of gate protocol {PROTOCOL}")
        if document["ok"]:
            return Done(self._clean(document["result"]))
        return NotDone(FailureKind(document["kind"]), self._line(document["message"]))

    def _line(self, text: str, limit: int = MESSAGE_LIMIT) -> str:
        # Cut last: half of a token is not found any more.
        return one_line(self._hide(one_line(text, 4 * limit)), limit)

    def _clean(self, value: Any) -> Any:
        """Strip control characters from every text; line breaks and tabs stay, since logs need them."""
        if isinstance(value, str):
            return self._hide(_OBEYED.sub("", value))
        if isinstance(value, Mapping):
            return {self._hide(_OBEYED.sub("", key)): self._clean(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._clean(item) for item in value]
        return value

    def _hide(self, text: str) -> str:
        """Return text as it will be shown without the token: escapes and hidden characters must be gone before."""
        return text.replace(self.token, "***") if self.token else text


def one_line(text: str, limit: int = MESSAGE_LIMIT) -> str:
    """Return foreign text as one line that is safe to show, cut to `limit` characters."""
    line = " ".join(_OBEYED.sub("", text[: 4 * limit].replace("\r", " ")).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def _is_answer(document: object) -> bool:
    if not isinstance(document, dict) or not _is_shallow(document):
        return False
    version = document.get("protocol")
    if type(version) is not int or version != PROTOCOL:
        return False
    if document.get("ok") is True:
        return document.keys() == {"protocol", "ok", "result"} and isinstance(document["result"], dict)
    return (
        document.get("ok") is False
        and document.keys() == {"protocol", "ok", "kind", "message"}
        and isinstance(document["message"], str)
        and document["kind"] in [kind.value for kind in FailureKind]
    )


def _is_shallow(document: object) -> bool:
    level: list[object] = [document]
    for _ in range(DEPTH_LIMIT):
        level = [child for value in level for child in _children(value)]
        if not level:
            return True
    return False


def _children(value: object) -> Sequence[object]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else ()
