"""The three answers of looking: present, absent, unreachable.

Two sightings are equal when they say the same, whenever they were made.
"""

from dataclasses import dataclass, field
from typing import Generic, TypeAlias, TypeVar

from reconciler.model.moment import Moment

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Present(Generic[T_co]):
    """It is there, and this is what was seen at `as_of`."""

    seen: T_co
    as_of: Moment = field(compare=False)


@dataclass(frozen=True, slots=True)
class Absent:
    """Somebody who must know says that it is not there."""

    as_of: Moment = field(compare=False)


@dataclass(frozen=True, slots=True)
class Unreachable:
    """Nobody could say. Nothing destructive is ever decided from this.

    With `asked` false the question never left us, or its answer may still come: nothing is said about the target.
    """

    reason: str
    as_of: Moment = field(compare=False)
    asked: bool = True


Sighting: TypeAlias = Present[T_co] | Absent | Unreachable
