"""`plan.json`: what waits and why, and what the brakes hold, for readers without access to the cluster."""

from typing import Any

import orjson

from reconciler.model.json import fitted
from reconciler.model.plan import Held, Hold, Plan
from reconciler.record.text import MAX_ITEMS, Redaction, plain


class PlanFile:
    """Encodes one plan after the other; a hold that stays is encoded once."""

    def __init__(self, redaction: Redaction) -> None:
        self._redaction = redaction
        self._clean_of = redaction.values
        # By identity, and with the hold itself, so that no other object takes its place in memory.
        self._rows: dict[int, tuple[Hold, bytes]] = {}

    def encoded(self, plan: Plan) -> bytes:
        """Return the file, with one line for each of the first holds."""
        if self._clean_of != self._redaction.values:
            self._clean_of, self._rows = self._redaction.values, {}
        rows = {id(hold): self._rows.get(id(hold)) or (hold, self._row(hold)) for hold in plan.holds[:MAX_ITEMS]}
        self._rows = rows
        left_out = len(plan.holds) - len(rows)
        more = b',\n"holdsOmitted":%d' % left_out if left_out else b""
        held = orjson.dumps(plain([_held(each) for each in plan.held], self._redaction))
        lines = b",\n".join(row for _, row in rows.values())
        return b'{"revision":%s,\n"held":%s%s,\n"holds":[\n%s\n]}\n' % (
            orjson.dumps(plan.revision),
            held,
            more,
            lines,
        )

    def _row(self, hold: Hold) -> bytes:
        because = hold.because
        shown = {
            "object": str(hold.target),
            "part": hold.part,
            "reason": because.reason.value,
            "message": because.text,
        }
        return fitted(orjson.dumps(plain(shown, self._redaction)))


def _held(held: Held) -> dict[str, Any]:
    return {"brake": held.brake, "digest": held.digest, "message": held.message, "what": list(held.what)}
