"""A museum of planted bugs: each is a mistake that somebody might make, and the simulator must find it.

They are planted from outside; the code under test knows nothing of them. A promise that no bug here can break is
a promise that nobody checks.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from importlib import import_module
from typing import Any

import reconciler.kinds.cluster.case as cluster_case
import reconciler.kinds.job.observe as job_observe
import reconciler.kinds.job.queue as job_queue
import reconciler.kinds.job.submit as job_submit
from reconciler.kinds.job import doubt, live
from reconciler.kinds.job.case import Case
from reconciler.kinds.job.ending import lost, never_ran, stopped
from reconciler.loop import Loop
from reconciler.model.plan import Because, Note, Reason, Weight
from reconciler.model.sighting import Absent, Present, Unreachable
from reconciler.model.site import Brakes
from reconciler.model.world import AttemptSeen, ClaimState
from reconciler.plan import brakes
from reconciler.record.leader import Leadership
from tests.fakes.files import FakeFiles
from tests.fakes.ray import FakeRay

# The package holds a function of the same name.
job_plan = import_module("reconciler.kinds.job.plan")

Patch = tuple[Any, str, Any]
Rules = tuple[Callable[..., Any], ...]


def _instead(rules: Rules, name: str, rule: Callable[[Case], Any]) -> Rules:
    return tuple(rule if each.__name__ == name else each for each in rules)


def unknown_is_not_done() -> list[Patch]:
    """An attempt whose submission nobody can vouch for is given up, and another one follows."""

    def rule(case: Case) -> Any:
        if case.attempt.submitted is None and case.ray is None:
            return case.end(never_ran(case.attempt, "no answer", case.now))
        return None

    return [(live, "RULES", _instead(live.RULES, "_not_submitted", rule))]


def another_id_for_the_same_attempt() -> list[Patch]:
    """Each try to submit has an id of its own."""
    submit, counter = FakeRay.submit, iter(range(1, 1_000_000))

    def with_suffix(self: FakeRay, head: Any, submission: Any, timeout: timedelta) -> Any:
        own = replace(submission, submission_id=f"{submission.submission_id}x{next(counter)}")
        return submit(self, head, own, timeout)

    return [(FakeRay, "submit", with_suffix)]


def no_intent() -> list[Patch]:
    """What is done is written down afterwards."""
    act = Loop._act

    def acts_first(self: Loop, plan: Any, world: Any) -> str:
        self._stages.runner.start(plan.actions)
        self._stages.runner._pool.work()  # type: ignore[union-attr]  # the simulator's own hands
        rest = replace(plan, notes=(*plan.notes, *(Note(a.target, a.because, a.before) for a in plan.actions)))
        return act(self, replace(rest, actions=()), world)

    return [(Loop, "_act", acts_first)]


def a_gone_process_has_no_result() -> list[Patch]:
    """Nobody waits for a result that is still on its way."""
    return [
        (doubt, "_process_gone", lambda case, text: case.end(lost(text, case.now))),
    ]


def no_brakes() -> list[Patch]:
    """Whatever leaves the repo goes at once, all of it if need be."""
    none = Brakes(max_removals=1000, max_stops=1000, max_drain_percent=100)
    load = brakes._removals

    def removals(world: Any, _: Brakes) -> Any:
        return replace(load(world, none), allowed=1000)

    def stops(*given: Any) -> Any:
        return replace(weigh(*given), allowed=1000)

    weigh = brakes._stops
    return [(brakes, "_removals", removals), (brakes, "_stops", stops)]


def silence_means_gone() -> list[Patch]:
    """A machine that does not answer is taken for one on which nothing runs."""
    see: Any = vars(job_observe)["see_claim"]

    def sees(*args: Any) -> Any:
        match see(*args):
            case Unreachable(as_of=now):
                return Present(ClaimState.GONE, now)
            case answer:
                return answer

    return [(job_observe, "see_claim", sees), (doubt, "_process_gone", lambda c, t: c.end(lost(t, c.now)))]


def asked_is_stopped() -> list[Patch]:
    """A job counts as ended once it was asked to end."""
    rule = next(each for each in live.RULES if each.__name__ == "_stop_wanted")

    def ends(case: Case) -> Any:
        if case.attempt.stop is not None:
            return case.end(stopped(case.attempt, "asked to stop", case.now))
        return rule(case)

    return [(live, "RULES", _instead(live.RULES, "_stop_wanted", ends))]


def the_epoch_stays() -> list[Patch]:
    """A new head has the epoch of the one before."""
    start = cluster_case.Case._start

    def starts(self: Any, head: Any, epoch: int, because: Because) -> Any:
        return start(self, head, max(1, self.record.epoch), because)

    return [(cluster_case.Case, "_start", starts)]


def a_lost_record_is_a_lost_job() -> list[Patch]:
    """What Ray does not know any more is taken for ended, whatever its claim says."""

    def ends(case: Case, text: str, _: Any) -> Any:
        return case.end(lost(text, case.now))

    return [(live, "in_doubt", ends)]


def numbers_are_forgotten() -> list[Patch]:
    """Attempts are counted by what is remembered of them."""

    def number(world: Any, job: Any) -> int:
        record = world.ledger.job(job)
        return len(record.attempts) + 1 if record is not None else 1

    return [(module, "next_number", number) for module in (job_submit, job_plan)]


def the_ledger_is_not_flushed() -> list[Patch]:
    """A line of the ledger is in memory only when the effect begins."""
    append = FakeFiles.append

    def appends(self: FakeFiles, path: str, data: bytes) -> None:
        folder, name = self._place(path)
        before = folder.live[name].durable if name in folder.live else b""
        append(self, path, data)
        folder.live[name].durable = before

    return [(FakeFiles, "append", appends)]


def every_failure_is_tried_again() -> list[Patch]:
    """The retry policy is not asked."""
    return [(job_plan, "next_try", lambda record, _: record.of_generation()[-1].ended.at)]


def an_overtaken_leader_goes_on() -> list[Patch]:
    """Nobody looks whether somebody else leads."""
    return [(Leadership, "lost_to", lambda _: None)]


def taken_nodes_are_free() -> list[Patch]:
    """Nodes count as free although an attempt holds them."""
    return [(job_queue, "holders", lambda _: {})]


def a_removed_job_is_forgotten() -> list[Patch]:
    """A job leaves the memory with its file, not with its last process."""

    def forgets(case: Case) -> Any:
        if case.job is None:
            return (Note(case.id, Because(Reason.REMOVED, "gone"), case.set(None), Weight.REMOVES),)
        return None

    return [(job_plan, "RULES", (forgets, *job_plan.RULES))]


def a_drain_does_not_wait() -> list[Patch]:
    """Jobs on a node under drain are stopped at once."""
    return [(job_plan, "_deadlines", _no_deadlines)]


def _no_deadlines(world: Any) -> Mapping[str, timedelta]:
    return dict.fromkeys(world.ledger.drains, timedelta())


def a_claim_is_no_claim() -> list[Patch]:
    """The job directory is not looked at before something is tried again."""
    see = job_observe.see_attempt

    def sees(doors: Any, attempt: Any) -> Any:
        match see(doors, attempt):
            case Present(seen=seen, as_of=now) if seen.result is None:
                return Present(AttemptSeen(claimed=False), now)
            case answer:
                return answer

    return [(job_observe, "see_attempt", sees)]


def a_silent_head_is_gone() -> list[Patch]:
    """A head that does not answer is taken for one that refuses connections, and its jobs for lost."""
    look = FakeRay.look

    def looks(self: FakeRay, head: Any, ids: Any, timeout: timedelta) -> Any:
        match look(self, head, ids, timeout):
            case Unreachable(as_of=now):
                return Absent(now)
            case answer:
                return answer

    def ends(case: Case) -> Any:
        return case.end(lost("its head is gone", case.now)) if case.seen is None else None

    return [(FakeRay, "look", looks), (live, "RULES", _instead(live.RULES, "_head_silent", ends))]


BUGS: tuple[Callable[[], list[Patch]], ...] = (
    unknown_is_not_done,
    another_id_for_the_same_attempt,
    no_intent,
    no_brakes,
    asked_is_stopped,
    the_epoch_stays,
    a_lost_record_is_a_lost_job,
    numbers_are_forgotten,
    the_ledger_is_not_flushed,
    every_failure_is_tried_again,
    an_overtaken_leader_goes_on,
    taken_nodes_are_free,
    a_removed_job_is_forgotten,
    a_drain_does_not_wait,
    a_claim_is_no_claim,
    a_silent_head_is_gone,
)


# Not found in 280 worlds since results may be seen before the claims that came first: the stories want a machine
# that answers while the result of its job is still on its way.
HIDDEN: tuple[Callable[[], list[Patch]], ...] = (a_gone_process_has_no_result, silence_means_gone)


@contextmanager
def planted(bug: Callable[[], list[Patch]]) -> Iterator[None]:
    """Let a bug be there for a while."""
    before = []
    for owner, name, patch in bug():
        before.append((owner, name, getattr(owner, name)))
        setattr(owner, name, patch)
    try:
        yield
    finally:
        for owner, name, original in reversed(before):
            setattr(owner, name, original)
