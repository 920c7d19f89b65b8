"""What a kind must provide, and the doors that its looking and doing go through."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol, TypeAlias

from reconciler.clock import Clock
from reconciler.model.effect import Effect
from reconciler.model.ids import ObjectId
from reconciler.model.json import JsonObject
from reconciler.model.ledger import Change, Ledger
from reconciler.model.machine import Machine
from reconciler.model.moment import Moment
from reconciler.model.outcome import Outcome
from reconciler.model.plan import Decision, Plan
from reconciler.model.sighting import Sighting
from reconciler.model.status import ObjectStatus
from reconciler.model.world import World
from reconciler.remote.files import Files
from reconciler.remote.gate import PROTOCOL, Gate
from reconciler.remote.ray import RayApi
from reconciler.remote.tokens import Tokens


class Signer(Protocol):
    """Signs head files."""

    def sign(self, payload: bytes) -> str:
        """Return the armoured signature of a payload."""

    def allowed_signers(self) -> str:
        """Return the text by which others verify."""


@dataclass(frozen=True, slots=True)
class Site:
    """What the doors need to know about this installation. `shared_root` and `program` are absolute paths."""

    id: str
    term: int
    shared_root: str
    program: str
    program_sha256: str
    node_dir: str
    call_timeout: timedelta = timedelta(seconds=60)
    request_timeout: timedelta = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Doors:
    """Everything that looking and doing may touch."""

    gate: Gate
    ray: RayApi
    shared: Files
    signer: Signer
    tokens: Tokens
    clock: Clock
    site: Site

    def ask(self, machine: Machine, verb: str, args: JsonObject) -> Outcome:
        """Let the gate of a machine do one verb."""
        request = {
            "protocol": PROTOCOL,
            "verb": verb,
            "site": self.site.id,
            "term": self.site.term,
            "nodeDir": self.site.node_dir,
            "args": args,
        }
        return self.gate.call(machine, request, self.site.call_timeout)


@dataclass(frozen=True, slots=True)
class Look:
    """One thing to look at. `table` and `key` say where the answer goes in Observed; `target` shares a breaker.

    `by_gate` tells that a machine is asked, and not a head or a file: machines hang in numbers. `about` names the
    target of effects that change the answer: what was seen before one of them ended is none. A target that is just
    coming up is asked eagerly: its silence is no reason to ask it less often.
    """

    table: str
    key: Any
    target: str
    see: Callable[[Doors], Sighting[Any]]
    about: str = ""
    by_gate: bool = False
    eagerly: bool = False


# A FilesError that it raises means that it did nothing.
Do: TypeAlias = Callable[[Doors, Any], Outcome]
Settle: TypeAlias = Callable[[Ledger, ObjectId, Any, Moment], tuple[Change, ...]]


def no_looks(_: Ledger | World) -> Iterable[Look]:
    """Return nothing to look at."""
    return ()


def no_extras(_: World) -> Mapping[str, object]:
    """Return no documents besides those of objects."""
    return {}


def no_decisions(_: World) -> Iterable[Decision]:
    """Return nothing to do: the kind has no live parts."""
    return ()


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of object. Everything but `looks` and `effects` is pure.

    `looks` come first in a pass, and go on while the source is asked: they follow from what was done so far.
    `looks_then` follow, with the desired state and the answers to all first looks in the world. `effects`
    maps each of its effects to what carries it out, and `settle` to the changes that its success makes. `extras`
    are further status documents, by path. A kind of which there are very many tells with `status_of` about those
    objects whose file, record or place in the plan changed, and about those that change by time alone.
    """

    name: str
    plural: str
    short: tuple[str, ...]
    status: Callable[[World, Plan], Iterable[ObjectStatus]]
    status_of: Callable[[World, Plan, Collection[ObjectId]], Iterable[ObjectStatus]] | None = None
    plan: Callable[[World], Iterable[Decision]] = no_decisions
    looks: Callable[[Ledger], Iterable[Look]] = no_looks
    looks_then: Callable[[World], Iterable[Look]] = no_looks
    extras: Callable[[World], Mapping[str, object]] = no_extras
    effects: Mapping[type[Effect], Do] = field(default_factory=dict)
    settle: Mapping[type[Effect], Settle] = field(default_factory=dict)
