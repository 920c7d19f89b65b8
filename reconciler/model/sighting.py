"""The three answers of looking: present, absent, unreachable."""

from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

from reconciler.model.moment import Moment

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Present(Generic[T_co]):
    """It is there, and this is what was seen at `as_of`."""

    seen: T_co
    as_of: Moment


@dataclass(frozen=True, slots=True)
class Absent:
    """Somebody who must know says that it is not there."""

    as_of: Moment


@dataclass(frozen=True, slots=True)
class Unreachable:
    """Nobody could say. Nothing destructive is ever decided from this."""

    reason: str
    as_of: Moment


Sighting: TypeAlias = Present[T_co] | Absent | Unreachable
