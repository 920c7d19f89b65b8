"""How a verb says no: the four kinds of failure, as everywhere in RayOps."""

from __future__ import annotations

INVALID = "invalid"
TRANSIENT = "transient"
REFUSED = "refused"
BUG = "bug"


class NotDone(Exception):
    """What was asked for did not take place; `message` names the place and the next step, never a value."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
