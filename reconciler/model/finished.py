"""An effect that has ended."""

from dataclasses import dataclass

from reconciler.model.outcome import Outcome
from reconciler.model.plan import Action


@dataclass(frozen=True, slots=True)
class Finished:
    """An action and what became of it."""

    action: Action
    outcome: Outcome
