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
from reconciler.model.outcome import Done, FailureKind, NotDone, Outcome, Unknown
from reconciler.model.ray import HeadAddress, HeadSeen, Submission
from reconciler.model.sighting import Present, Sighting, Unreachable
from reconciler.model.snapshot import Snapshot, SourceProblem
from tests.fakes.files import Crash
from tests.fakes.gate import FakeGate
from tests.fakes.ray import FakeRay
from tests.fakes.source import FakeSource

Told = Callable[[str, str], int]
"""Hears of every effect before it happens: its verb, and what it concerns. Says how many were begun so far."""

Hear = Callable[[Machine, JsonObject, int], JsonObject]
"""What stands behind the gates: hears a request, and how many effects were begun when it was sent."""


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
    late_verb: str = ""
    cut: set[str] = field(default_factory=set)
    under_way: int = 0
    # Whether what happens now was sent before.
    arriving: bool = False

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
            self.arriving = True
            try:
                act()
            finally:
                self.arriving = False

        return arrive

    def take_late(self, verb: str) -> float:
        """Return by how much a request is late; zero for most. One verb may be waited for."""
        if self.late_verb not in {"", verb}:
            return 0.0
        late, self.late, self.late_verb = self.late, 0.0, ""
        return late


class WatchedSource(FakeSource):
    """A source that says which revisions it hands out."""

    def __init__(self) -> None:
        super().__init__()
        self.given: Callable[[Snapshot], None] = lambda _: None

    def latest(self, applied: str | None, accepted: frozenset[str] = frozenset()) -> Snapshot | SourceProblem:
        """Hand out the newest revision."""
        return self._hand_out(super().latest(applied, accepted))

    def at(self, revision: str) -> Snapshot | SourceProblem:
        """Hand out one revision."""
        return self._hand_out(super().at(revision))

    def _hand_out(self, found: Snapshot | SourceProblem) -> Snapshot | SourceProblem:
        if isinstance(found, Snapshot):
            self.given(found)
        return found


class MortalGate:
    """Implements `Gate` on the fake one."""

    def __init__(
        self, gate: FakeGate, fate: Fate, told: Told, later: Callable[[float, Callable[[], Any]], None], hear: Hear
    ) -> None:
        self._gate = gate
        self._fate = fate
        self._told = told
        self._later = later
        self._hear = hear

    def call(self, machine: Machine, request: JsonObject, timeout: timedelta) -> Outcome:
        """Carry a request, unless the daemon dies first."""
        self._fate.point()
        verb, args = str(request["verb"]), request["args"]
        sent = self._told(verb, _object_of(verb, args))
        if not _only_looks(request):

            def arrive_in(seconds: float) -> None:
                self._later(seconds, self._fate.arrives(lambda: self._hear(machine, request, sent)))

            if late := self._fate.take_late(verb):
                arrive_in(late)
                return Unknown("no answer within the time limit")
            self._fate.send(arrive_in)
        outcome = self._gate.call(machine, request, timeout)
        if verb == "probe" and isinstance(outcome, Done):
            for slot in args["slots"]:
                self._told("probed", _object_of(verb, slot))
        self._fate.point()
        return outcome

    def close(self) -> None:
        """Nothing is open."""


def _only_looks(request: JsonObject) -> bool:
    return request["verb"] == "probe" or (request["verb"] == "sweep" and not request["args"]["kill"])


def _object_of(verb: str, args: JsonObject) -> str:
    if "submissionId" in args:
        return f"{args['submissionId']} {args.get('kill')}"
    role = args.get("role") or verb.removeprefix("start-")
    return f"{args.get('cluster')}/{role}/{args.get('node')}"


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
        seen = self._ray.look(head, submission_ids, timeout)
        if isinstance(seen, Present):
            self._told("saw", " ".join([head.cluster, *submission_ids]))
        return seen

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

        if late := self._fate.take_late(verb):
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
