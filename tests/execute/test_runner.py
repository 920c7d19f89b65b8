"""What a daemon that was overtaken had still to do is left undone: Ray would do it for anybody with the token."""

import pytest

from reconciler.execute.runner import Runner
from reconciler.kind import Doors, Site
from reconciler.model.effect import BurnClaim
from reconciler.model.ids import ObjectId
from reconciler.model.outcome import Done, FailureKind, NotDone, Outcome
from reconciler.model.plan import Action, Because, Reason
from reconciler.remote.files import FilesError
from reconciler.remote.tokens import Tokens
from tests.fakes.clock import FakeClock
from tests.fakes.files import FakeFiles
from tests.fakes.gate import FakeGate
from tests.fakes.machine import Machines
from tests.fakes.ray import FakeRay
from tests.fakes.signer import FakeSigner

ACTION = Action(ObjectId("Job", "rl", "ppo"), BurnClaim("rl.ppo-1-1"), Because(Reason.NEW, ""), pace="attempt:1")


def doors() -> Doors:
    shared, clock = FakeFiles(), FakeClock()
    machines, tokens = Machines(shared), Tokens(FakeFiles())
    gate, ray = FakeGate(machines.answer, clock.advance), FakeRay(machines.ray, clock, tokens.reveal)
    return Doors(
        gate, ray, shared, FakeSigner(), tokens, clock, Site("s", 1, "/shared", "/p", "0" * 64, "~/.rayops")
    )


def unreadable() -> int | None:
    raise FilesError(FailureKind.TRANSIENT, "the share is gone")


@pytest.mark.parametrize(
    ("leader", "outcome", "done"),
    [
        (lambda: None, Done(), 1),
        (lambda: 8, NotDone(FailureKind.REFUSED, "another daemon leads this site now (term 8)"), 0),
        (unreadable, NotDone(FailureKind.TRANSIENT, "the share is gone"), 0),
    ],
)
def test_an_effect_is_begun_by_the_leader_only(leader: object, outcome: Outcome, done: int) -> None:
    begun: list[BurnClaim] = []

    def burn(_: Doors, effect: BurnClaim) -> Outcome:
        begun.append(effect)
        return Done()

    runner = Runner(doors(), {BurnClaim: burn}, None, lost_to=leader)  # type: ignore[arg-type]
    runner.start([ACTION])
    (finished,) = runner.finished()
    assert (finished.outcome, len(begun)) == (outcome, done)
