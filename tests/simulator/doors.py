"""Doors that die: every effect has a moment before it and one after it in which the daemon may end."""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from reconciler.clock import Clock
from reconciler.model.json import JsonObject
from reconciler.model.machine import Machine
from reconciler.model.moment import Moment
from reconciler.model.outcome import FailureKind, NotDone, Outcome, Unknown
from reconciler.model.ray import HeadAddress, HeadSeen, Submission
from reconciler.model.sighting import Sighting, Unreachable
from tests.fakes.files import Crash
from tests.fakes.gate import FakeGate
from tests.fakes.ray import FakeRay

Told = Callable[[str, str], None]
"""Hears of every effect before it happens: its verb, and the attempt or slot that it concerns."""


@dataclass
class Fate:
    """When the daemon dies at a door, and what is late.

    `points` counts the moments passed so far. `inside` are those in which an effect was on its way: the one before
    it is that in which nothing was sent yet, the one after it that in which all was done and nobody had heard.
    """

    points: int = 0
    inside: list[int] = field(default_factory=list)
    die_at: int | None = None
    late: float = 0.0
    cut: set[str] = field(default_factory=set)
    under_way: int = 0

    def point(self) -> None:
        """Pass one moment, or die in it."""
        self.points += 1
        if self.die_at is not None and self.points >= self.die_at:
            self.die_at = None
            raise Crash("at a door")

    def send(self, arrive_in: Callable[[float], object]) -> None:
        """Pass the moment in which a request is on its way; if the daemon dies in it, the request still arrives."""
        self.inside.append(self.points + 1)
        try:
            self.point()
        except Crash:
            # Before the next life begins, while it learns what there is, or long after.
            arrive_in((0.5, 3.0, 45.0)[self.points % 3])
            raise

    def arrives(self, act: Callable[[], object]) -> Callable[[], None]:
        """Count a late request as under way until it does what it asks for."""
        self.under_way += 1

        def arrive() -> None:
            self.under_way -= 1
            act()

        return arrive

    def take_late(self) -> float:
        """Return by how much the next request is late; zero for most."""
        late, self.late = self.late, 0.0
        return late


class MortalGate:
    """Implements `Gate` on the fake one."""

    def __init__(self, gate: FakeGate, fate: Fate, told: Told, later: Callable[[float, Callable[[], Any]], None]):
        self._gate = gate
        self._fate = fate
        self._told = told
        self._later = later
        self._answer = gate._world

    def call(self, machine: Machine, request: JsonObject, timeout: timedelta) -> Outcome:
        """Carry a request, unless the daemon dies first."""
        self._fate.point()
        self._told(str(request["verb"]), _object_of(request["args"]))
        if not _only_looks(request):

            def arrive_in(seconds: float) -> None:
                self._later(seconds, self._fate.arrives(lambda: self._answer(machine, request)))

            if late := self._fate.take_late():
                arrive_in(late)
                return Unknown("no answer within the time limit")
            self._fate.send(arrive_in)
        outcome = self._gate.call(machine, request, timeout)
        self._fate.point()
        return outcome

    def close(self) -> None:
        """Nothing is open."""


def _only_looks(request: JsonObject) -> bool:
    return request["verb"] == "probe" or (request["verb"] == "sweep" and not request["args"]["kill"])


def _object_of(args: JsonObject) -> str:
    if "submissionId" in args:
        return f"{args['submissionId']} {args.get('kill')}"
    return f"{args.get('cluster')}/{args.get('role', '')}/{args.get('node')}"


class MortalRay:
    """Implements `RayApi` on the fake one; a head on a machine that is cut off is not reached."""

    def __init__(
        self, ray: FakeRay, fate: Fate, told: Told, later: Callable[[float, Callable[[], Any]], None], clock: Clock
    ) -> None:
        self._ray = ray
        self._fate = fate
        self._told = told
        self._later = later
        self._clock = clock

    def look(self, head: HeadAddress, submission_ids: Sequence[str], timeout: timedelta) -> Sighting[HeadSeen]:
        """Look, unless the machine is cut off."""
        self._fate.point()
        if head.host in self._fate.cut:
            return Unreachable("no route to host", self._clock.now())
        return self._ray.look(head, submission_ids, timeout)

    def submit(self, head: HeadAddress, submission: Submission, timeout: timedelta) -> Outcome:
        """Submit, unless the daemon dies first."""
        act = self._ray.submit
        return self._do("submit", submission.submission_id, head, lambda: act(head, submission, timeout))

    def stop(self, head: HeadAddress, submission_id: str, timeout: timedelta) -> Outcome:
        """Stop, unless the daemon dies first."""
        return self._do("stop-job", submission_id, head, lambda: self._ray.stop(head, submission_id, timeout))

    def delete(self, head: HeadAddress, submission_id: str, timeout: timedelta) -> Outcome:
        """Delete, unless the daemon dies first."""
        return self._do("delete", submission_id, head, lambda: self._ray.delete(head, submission_id, timeout))

    def drain(self, head: HeadAddress, node_id: str, reason: str, timeout: timedelta) -> Outcome:
        """Drain, unless the daemon dies first."""
        return self._do("drain", node_id, head, lambda: self._ray.drain(head, node_id, reason, timeout))

    def close(self) -> None:
        """Nothing is open."""

    def _do(self, verb: str, about: str, head: HeadAddress, act: Callable[[], Outcome]) -> Outcome:
        self._fate.point()
        self._told(verb, about)
        if head.host in self._fate.cut:
            return NotDone(FailureKind.TRANSIENT, "no route to host")

        def arrive_in(seconds: float) -> None:
            self._later(seconds, self._fate.arrives(act))

        if late := self._fate.take_late():
            arrive_in(late)
            return Unknown("no answer within the time limit")
        self._fate.send(arrive_in)
        outcome = act()
        self._fate.point()
        return outcome


class Hands(Executor):
    """An executor without threads: what was begun is done when the world lets it, in order.

    Everything takes `pace` seconds; what is begun next takes `slow` seconds more.
    """

    def __init__(self, clock: Clock, pace: float = 0.0) -> None:
        self._clock = clock
        self._pace = pace
        self._begun: list[tuple[Moment, Callable[[], object]]] = []
        self.slow = 0.0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Begin; the answer is handed on by the one who begins it."""
        due = self._clock.now() + timedelta(seconds=self._pace + self.slow)
        self.slow = 0.0
        self._begun.append((due, lambda: fn(*args, **kwargs)))
        return Future()

    def work(self) -> None:
        """Do what is due."""
        now = self._clock.now()
        due = [each for each in self._begun if not now.is_before(each[0])]
        for each in due:
            self._begun.remove(each)
            each[1]()

    @property
    def busy(self) -> bool:
        """Whether anything was begun and not done."""
        return bool(self._begun)
