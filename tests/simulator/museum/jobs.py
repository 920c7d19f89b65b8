"""Bugs about attempts: when they begin, how they end, what follows."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from importlib import import_module
from typing import Any

import reconciler.kinds.job.execute as job_execute
import reconciler.kinds.job.observe as job_observe
import reconciler.kinds.job.queue as job_queue
import reconciler.kinds.job.submit as job_submit
from reconciler.execute.runner import Runner
from reconciler.kinds.job import doubt, live
from reconciler.kinds.job.case import Case
from reconciler.kinds.job.ending import lost, never_ran, stopped
from reconciler.model.occupants import Occupants
from reconciler.model.outcome import Unknown
from reconciler.model.plan import Because, Note, Reason, Weight
from reconciler.model.sighting import Present
from reconciler.model.views import pool_of
from reconciler.model.world import AttemptSeen
from tests.fakes import job_runner
from tests.fakes.files import FakeFiles
from tests.fakes.ray import FakeRay
from tests.simulator.museum.patch import Patch, instead

# The package holds a function of the same name.
job_plan = import_module("reconciler.kinds.job.plan")


def unknown_is_not_done() -> list[Patch]:
    """An attempt whose submission nobody can vouch for is given up, and another one follows."""

    def rule(case: Case) -> Any:
        if case.attempt.submitted is None and case.ray is None:
            return case.end(never_ran(case.attempt, "no answer", case.now))
        return None

    return [(live, "RULES", instead(live.RULES, "_not_submitted", rule))]


def another_id_for_the_same_attempt() -> list[Patch]:
    """Each try to submit has an id of its own."""
    submit, counter = FakeRay.submit, iter(range(1, 1_000_000))

    def with_suffix(self: FakeRay, head: Any, submission: Any, timeout: timedelta) -> Any:
        own = replace(submission, submission_id=f"{submission.submission_id}x{next(counter)}")
        return submit(self, head, own, timeout)

    return [(FakeRay, "submit", with_suffix)]


def a_gone_process_has_no_result() -> list[Patch]:
    """Nobody waits for a result that is still on its way."""
    return [
        (doubt, "_process_gone", lambda case, text: case.end(lost(text, case.now))),
    ]


def asked_is_stopped() -> list[Patch]:
    """A job counts as ended once it was asked to end."""
    rule = next(each for each in live.RULES if each.__name__ == "_stop_wanted")

    def ends(case: Case) -> Any:
        if case.attempt.stop is not None:
            return case.end(stopped(case.attempt, "asked to stop", case.now))
        return rule(case)

    return [(live, "RULES", instead(live.RULES, "_stop_wanted", ends))]


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


def every_failure_is_tried_again() -> list[Patch]:
    """The retry policy is not asked."""
    return [(job_plan, "next_try", lambda record, _: record.of_generation()[-1].ended.at)]


def taken_nodes_are_free() -> list[Patch]:
    """Nodes count as free although an attempt holds them."""
    return [(job_queue, "holders", lambda _: {})]


def a_machine_is_its_name() -> list[Patch]:
    """A machine under another name, or in another cluster, is another machine."""
    return [(Occupants, "beside", lambda *_: {}), (job_queue, "workers", lambda _: defaultdict(tuple))]


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


def a_held_drain_has_a_deadline() -> list[Patch]:
    """What a brake keeps from leaving loses its jobs all the same."""
    return [(job_plan, "held_drains", lambda _: {})]


def a_suspended_pool_has_deadlines() -> list[Patch]:
    """Jobs are stopped for a drain in a pool or a cluster to which nothing is to be done."""

    def unless_held(_: Any, pool: Any, __: str, held: Any) -> Any:
        return held.get(pool.name)

    return [(job_plan, "no_stops", unless_held)]


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


def a_retry_does_not_look() -> list[Patch]:
    """What nobody can vouch for is sent again at once."""

    run = Runner._run

    def runs(self: Runner, action: Any) -> None:
        effect, effects = type(action.effect), self._effects
        self._effects = {effect: lambda *given: _until_known(effects[effect], *given)}
        try:
            run(self, action)
        finally:
            self._effects = effects

    return [(Runner, "_run", runs)]


def _until_known(do: Any, *given: Any) -> Any:
    outcome = do(*given)
    return do(*given) if isinstance(outcome, Unknown) else outcome


def a_claim_may_be_taken_twice() -> list[Patch]:
    """A runner begins although another one took its claim; Ray forgets what it was asked, and is asked again."""
    begin, submit = job_runner.Runners._begin, FakeRay.submit

    def begins(self: job_runner.Runners, *given: Any) -> None:
        shared, self._shared = self._shared, _Unclaimed(self._shared)  # type: ignore[assignment]  # as far as it is asked
        try:
            begin(self, *given)
        finally:
            self._shared = shared

    def twice(self: FakeRay, head: Any, submission: Any, timeout: timedelta) -> Any:
        outcome = submit(self, head, submission, timeout)
        there = self.world.head_at(head)
        if there is not None and submission.submission_id in there.jobs:
            del there.jobs[submission.submission_id]
            submit(self, head, submission, timeout)
        return outcome

    return [(job_runner.Runners, "_begin", begins), (FakeRay, "submit", twice)]


class _Unclaimed:
    """A shared directory in which no claim is seen."""

    def __init__(self, files: FakeFiles) -> None:
        self._files = files

    def __getattr__(self, name: str) -> Any:
        return getattr(self._files, name)

    def read_elsewhere(self, path: str) -> bytes | None:
        return None if path.endswith("/claim.json") else self._files.read_elsewhere(path)


def any_node_will_do() -> list[Patch]:
    """Ray may choose the node on which a job begins."""
    submit = FakeRay.submit

    def anywhere(self: FakeRay, head: Any, submission: Any, timeout: timedelta) -> Any:
        return submit(self, head, replace(submission, label_selector={}), timeout)

    return [(FakeRay, "submit", anywhere)]


def any_pool_will_do() -> list[Patch]:
    """A job is placed in another pool than its own."""
    return [(job_queue, "pool_of", lambda world, _: pool_of(world, "p0"))]


def an_argument_is_split() -> list[Patch]:
    """The program's arguments are put together and taken apart again."""
    attempt = job_execute._attempt

    def split(doors: Any, effect: Any) -> Any:
        return attempt(doors, replace(effect, argv=tuple(" ".join(effect.argv).split())))

    return [(job_execute, "_attempt", split)]


def a_shell_reads_the_environment() -> list[Patch]:
    """What a job's file says about its environment is put into the command line."""
    entrypoint = job_execute._entrypoint

    def composed(doors: Any, effect: Any, attempt: bytes) -> str:
        said = f"exec env NOTE='{effect.env.get('NOTE', '')}' "
        return entrypoint(doors, effect, attempt).replace("exec ", said, 1)

    return [(job_execute, "_entrypoint", composed)]


def a_token_is_told() -> list[Patch]:
    """The token of the cluster is in the environment that the job directory shows."""
    environment = job_execute._environment

    def complete(doors: Any, effect: Any) -> dict[str, str]:
        return {**environment(doors, effect), "RAY_AUTH_TOKEN": doors.tokens.of(effect.head.cluster).reveal()}

    return [(job_execute, "_environment", complete)]
