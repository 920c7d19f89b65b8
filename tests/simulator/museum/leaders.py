"""Bugs about leaders, ledgers, heads and machines."""

from dataclasses import replace
from datetime import timedelta
from importlib import import_module
from typing import Any

import reconciler.kinds.cluster.case as cluster_case
import reconciler.kinds.job.observe as job_observe
import reconciler.record.ledger as record_ledger
import tests.simulator.world as simulated
from reconciler.kinds.job import doubt, live
from reconciler.kinds.job.case import Case
from reconciler.kinds.job.ending import lost
from reconciler.loop import Loop
from reconciler.model.plan import Because, Note, Reason
from reconciler.model.sighting import Absent, Present, Unreachable
from reconciler.model.world import ClaimState, Tuning, World
from reconciler.record.leader import Leadership
from tests.fakes import job_runner, machine
from tests.fakes.files import FakeFiles
from tests.fakes.ray import FakeRay
from tests.simulator.museum.patch import Patch, instead

# The package holds a function of the same name.
cluster_plan = import_module("reconciler.kinds.cluster.plan")

# The epoch of a head before which there were others.
LATER = 3


def no_intent() -> list[Patch]:
    """What is done is written down afterwards."""
    act = Loop._act

    def acts_first(self: Loop, plan: Any, world: Any) -> str:
        self._stages.runner.start(plan.actions)
        self._stages.runner._pool.work()  # type: ignore[union-attr]  # the simulator's own hands
        rest = replace(plan, notes=(*plan.notes, *(Note(a.target, a.because, a.before) for a in plan.actions)))
        return act(self, replace(rest, actions=()), world)

    return [(Loop, "_act", acts_first)]


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


def the_epoch_stays() -> list[Patch]:
    """A new head has the epoch of the one before."""
    start = cluster_case.Case._start

    def starts(self: Any, head: Any, epoch: int, because: Because) -> Any:
        return start(self, head, max(1, self.record.epoch), because)

    return [(cluster_case.Case, "_start", starts)]


def the_ledger_is_not_flushed() -> list[Patch]:
    """A line of the ledger is in memory only when the effect begins."""
    append = FakeFiles.append

    def appends(self: FakeFiles, path: str, data: bytes) -> None:
        folder, name = self._place(path)
        before = folder.live[name].durable if name in folder.live else b""
        append(self, path, data)
        folder.live[name].durable = before

    return [(FakeFiles, "append", appends)]


def an_overtaken_leader_goes_on() -> list[Patch]:
    """Nobody looks whether somebody else leads, nor who has written the ledger since."""
    return [(Leadership, "lost_to", lambda _: None), (record_ledger.LedgerStore, "_settle", lambda _: None)]


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

    return [(FakeRay, "look", looks), (live, "RULES", instead(live.RULES, "_head_silent", ends))]


def no_gate_heeds_terms() -> list[Patch]:
    """A lease without fencing: machines obey whoever asks."""
    verb = machine.Machines._verb

    def obeys(self: Any, at: Any, request: dict[str, Any]) -> dict[str, Any]:
        at.terms.clear()
        return verb(self, at, request)

    return [(machine.Machines, "_verb", obeys), (Leadership, "lost_to", lambda _: None)]


def a_stop_names_no_generation() -> list[Patch]:
    """A stop ends whatever runs in its slot when it arrives."""
    return [(machine, "_refuse_newer", lambda *_: None)]


def a_number_is_a_process() -> list[Patch]:
    """A process is known by its number alone."""

    def claimant(self: Any, place: Any, claim: dict[str, Any]) -> Any:
        return self.runners.process_at(place, claim["pid"])

    return [(machine.Machines, "_claimant", claimant)]


def any_head_file_is_believed() -> list[Patch]:
    """Runners end themselves for a head file that nobody signed."""
    return [(job_runner, "verify", lambda *_: True)]


def the_head_file_is_written_in_place() -> list[Patch]:
    """Readers may find half of a head file."""
    write = FakeFiles.write

    def writes(self: FakeFiles, path: str, data: bytes, *, mode: int = 0o644) -> None:
        if path.endswith("head.json"):
            folder, name = self._place(path)
            folder.live[name] = folder.durable[name] = self._new(data[: len(data) // 2], data[: len(data) // 2])
        write(self, path, data, mode=mode)

    return [(FakeFiles, "write", writes)]


def any_session_is_published() -> list[Patch]:
    """The head file is written before anybody knows which head answers."""
    publish = cluster_case.Case.publish

    def publishes(self: Any, because: Because, seen: Any) -> Any:
        action: Any = publish(self, because, seen)[0]
        return (replace(action, effect=replace(action.effect, session="session_000000")),)

    return [(cluster_case.Case, "publish", publishes)]


def an_old_head_is_published_again() -> list[Patch]:
    """What was to be written for the first head comes late, after that of others."""
    publish = cluster_case.Case.publish

    def publishes(self: Any, because: Because, seen: Any) -> Any:
        action: Any = publish(self, because, seen)[0]
        epoch = action.effect.epoch if action.effect.epoch < LATER else 1
        return (replace(action, effect=replace(action.effect, epoch=epoch)),)

    return [(cluster_case.Case, "publish", publishes)]


def a_ledger_of_yesterday_is_believed() -> list[Patch]:
    """Nobody compares a ledger with what was already done."""
    return [(record_ledger, "compare", lambda *_: None)]


def a_lost_ledger_is_an_empty_one() -> list[Patch]:
    """A state directory without a ledger is taken for that of a new site."""
    return [(record_ledger.LedgerStore, "_never_began", lambda *_: None)]


def two_heads_for_a_while() -> list[Patch]:
    """An edited head is replaced before it has ended."""

    def forgets(case: cluster_case.Case) -> Any:
        if case.head is None or case.spec is None or case.head.digest == case.digest or case.attempts:
            return None
        return case.note(Because(Reason.CHANGED, "edited"), case.without_head())

    return [(cluster_plan, "RULES", instead(cluster_plan.RULES, "_edited", forgets))]


def a_pause_is_a_silence() -> list[Patch]:
    """A head that was silent before a pause of the daemon and is silent after it counts as silent throughout."""
    return [(World, "counted_from", lambda _, since: since)]


def nobody_has_patience() -> list[Patch]:
    """A head is fenced as soon as it is silent."""

    def hasty() -> Tuning:
        return replace(Tuning(), head_silence=timedelta())

    return [(simulated, "Tuning", hasty)]
