"""What became of an effect: done, not done, or unknown."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias


class FailureKind(StrEnum):
    """The four kinds of failure, everywhere."""

    INVALID = "invalid"  # wait for a new commit
    TRANSIENT = "transient"  # back off and look again
    REFUSED = "refused"  # a machine or service said no: tell the user
    BUG = "bug"  # ours: stop acting on this object, keep what runs


@dataclass(frozen=True, slots=True)
class Done:
    """The effect took place. `result` is what the other side answered."""

    result: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NotDone:
    """The effect certainly did not take place."""

    kind: FailureKind
    message: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nobody can say: a reply was lost or late. Settled by looking, never by a blind repeat."""

    message: str


Outcome: TypeAlias = Done | NotDone | Unknown
