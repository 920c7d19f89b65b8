"""From outcomes to ledger changes: what succeeded, and when what failed may be tried again."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from reconciler.execute.backoff import after_failure
from reconciler.kind import Settle
from reconciler.model.effect import Effect
from reconciler.model.finished import Finished
from reconciler.model.ids import ObjectId
from reconciler.model.ledger import Change, Ledger, Table
from reconciler.model.moment import Moment
from reconciler.model.outcome import Done, FailureKind, NotDone, Unknown
from reconciler.model.world import Tuning


@dataclass(frozen=True, slots=True)
class Settling:
    """What deciding about outcomes needs besides them: each kind's rules and the specs in force."""

    rules: Mapping[type[Effect], Settle]
    digests: Mapping[ObjectId, str]
    now: Moment
    tuning: Tuning

    def changes(self, ledger: Ledger, finished: Iterable[Finished]) -> tuple[Change, ...]:
        """Return what outcomes change in the ledger, each on top of those before it."""
        changes: list[Change] = []
        for each in finished:
            current = ledger.apply(changes) if changes else ledger
            changes.extend(self._one(current, each))
        return tuple(changes)

    def _one(self, ledger: Ledger, finished: Finished) -> Iterable[Change]:
        """Clear the back-off after a success; after an unknown outcome only slow down: looking settles it."""
        action = finished.action
        match finished.outcome:
            case Done():
                if action.pace in ledger.backoffs:
                    yield Change(Table.BACKOFFS, action.pace, None)
                rule = self.rules.get(type(action.effect))
                if rule is not None:
                    yield from rule(ledger, action.target, action.effect, self.now)
            case NotDone() as failure:
                yield self._back_off(ledger, finished, failure)
            case Unknown(message=message):
                yield self._back_off(ledger, finished, NotDone(FailureKind.TRANSIENT, message))

    def _back_off(self, ledger: Ledger, finished: Finished, failure: NotDone) -> Change:
        action = finished.action
        before = ledger.backoffs.get(action.pace)
        digest = self.digests.get(action.target, "")
        after = after_failure(before, failure, action.pace, digest, self.now, self.tuning)
        return Change(Table.BACKOFFS, action.pace, after)
