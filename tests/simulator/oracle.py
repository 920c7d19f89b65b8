"""What must be true, judged by the truth that the daemon cannot see. The numbers are those of the promises.

`docs/testing.md` lists the promises and where each is judged; here are those about what the daemon asks of others,
and all that must be looked at after each step.
"""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import TYPE_CHECKING, Any

from reconciler.model.json import JsonObject
from reconciler.model.machine import Machine
from reconciler.model.plan import Plan
from reconciler.remote.command import node_command
from tests.fakes.job_runner import Run
from tests.fakes.slot import ALIVE, Slot
from tests.promises.plans import settled, written
from tests.promises.worlds import shuffled
from tests.simulator.agreed import Agreed
from tests.simulator.broken import Broken
from tests.simulator.daemon import PROGRAM, PROGRAM_SHA256
from tests.simulator.ending import Ending
from tests.simulator.heads import Heads
from tests.simulator.readers import Readers
from tests.simulator.running import Running

if TYPE_CHECKING:
    from tests.simulator.world import World

__all__ = ["Broken", "Oracle"]

# What changes nothing: `saw` and `probed` are answers.
LOOKS = frozenset({"look", "probe", "saw", "probed"})
# A head that lives is ended only after it was silent for so long, in passes that are no further apart than this.
SILENCE, GAP = 90.0, 60.0
# Every so many passes, at least, the plan is made again from the same world in another order.
SHUFFLED = 32
COMMAND = shlex.join(node_command("python3", PROGRAM, PROGRAM_SHA256, "run"))
ENTRYPOINT = re.compile(rf"exec {re.escape(COMMAND)} /shared/jobs/[a-z0-9.-]+ [0-9a-f]{{64}}")
SAFE_PATH = re.compile(r"[A-Za-z0-9._/-]*")


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request that has arrived at a gate: which slot it found alive, if any, and when it was sent."""

    machine: Machine
    request: JsonObject
    slot: Slot | None
    sent: int


class Oracle:
    """Watches one world. `effects` counts what the daemon has begun to ask of others."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.effects = 0
        self.agreed = Agreed(world)
        self.ending = Ending(world)
        self._running = Running(world, self.agreed)
        self._heads = Heads(world)
        self._readers = Readers(world, self.ending)
        # By what an effect concerns: when it was last begun, and when that was last looked at.
        self._begun: dict[str, int] = {}
        self._looked: dict[str, int] = {}
        # By cluster: when its head answered last, and by the clock on the wall, which jumps, whenever it did.
        self._answered: dict[str, float] = {}
        self._answers: dict[str, set[datetime]] = {}
        # Clusters whose silent head was rightly asked to end: the request may be repeated until another one starts.
        self._fenced: set[str] = set()
        # When the last pass began, and since when there was no gap between two of them.
        self._pass = self._watched = 0.0
        self._terms: dict[Machine, int] = {}
        self._started: dict[tuple[str, str, str, int], int] = {}
        self._submissions = 0
        self._chance = Random(0)

    # Before an effect.

    def told(self, verb: str, about: str) -> int:
        """Hear of a call before it happens, or of an answer; return how many effects were begun so far."""
        if verb in LOOKS or about.endswith(" False"):
            self._look(verb, about)
            return self.effects
        self.effects += 1
        self._world.say(f"  {verb} {about}")
        if self._world.forgotten:
            raise Broken("I26", f"{verb} {about} is begun on a ledger that is not the newest")
        if verb in {"submit", "start-head", "start-worker"}:
            self._not_blindly(verb, about)
            if verb == "start-head":
                self._fenced.discard(about.split("/", maxsplit=1)[0])
        elif verb == "stop-job":
            self._may_stop(self._world.machines.runners.of(about), "asked to stop")
        elif verb == "delete":
            self._may_forget(self._world.machines.runners.of(about))
        elif verb == "sweep":
            run = self._world.machines.runners.of(about.split(maxsplit=1)[0])
            if run is not None and self._ray_watches(run):
                self._may_stop(run, "swept while Ray runs it")
        elif verb == "stop":
            self._slot_may_stop(*about.split("/"))
        return self.effects

    def _look(self, verb: str, about: str) -> None:
        if verb == "saw":
            cluster, *seen = about.split()
            self._answered[cluster] = self._world.seconds
            self._answers.setdefault(cluster, set()).add(self._world.clock.now().wall)
            self._looked.update(dict.fromkeys(seen, self.effects))
        elif verb == "probed":
            self._looked[about] = self.effects

    def _not_blindly(self, verb: str, about: str) -> None:
        """I4: what was begun before, with whatever outcome, is looked at before it is begun again."""
        before = self._begun.get(about)
        # What a leader had begun may still arrive after the next one has looked and begun it again: that both are
        # one is up to the claim, and judged by what runs.
        alone = self._world.former is None
        if alone and before is not None and self._looked.get(about, 0) < before:
            raise Broken("I4", f"{verb} {about} is repeated, and nobody looked what became of it before")
        self._begun[about] = self.effects

    def _may_stop(self, run: Run | None, how: str) -> None:
        """I5 and what follows from it: nothing is stopped that nobody asked to stop."""
        if run is None or not run.alive or self.agreed.may_stop(run):
            return
        promise = self.agreed.broken_by_stopping(run.submission_id)
        raise Broken(promise, f"{run.submission_id} runs and was {how}, and nobody asked for it")

    def _may_forget(self, run: Run | None) -> None:
        """I2: Ray is told to forget an attempt only once it has ended: its id would be free again."""
        if run is not None and run.alive and self._ray_watches(run):
            raise Broken("I2", f"Ray is told to forget {run.submission_id}, which runs")

    def _ray_watches(self, run: Run) -> bool:
        if not run.process.node.running:
            return False
        for _, slot in self._world.machines.slots():
            if slot.role == "head" and slot.running and slot.head is not None:
                job = slot.head.jobs.get(run.submission_id)
                if job is not None and job.process is run.process and not job.status.ended:
                    return True
        return False

    def _slot_may_stop(self, cluster: str, role: str, node: str) -> None:
        """I5: no node and no head is taken from under a job that runs there as it should."""
        if role == "head" and (cluster in self._fenced or self._is_silent(cluster, self._world.seconds)):
            self._fenced.add(cluster)
            return
        for run in self._world.machines.runners.runs:
            there = bool(run.task) and run.task["cluster"] == cluster and (role == "head" or node in run.nodes)
            if run.alive and there and self._ray_watches(run) and not self.agreed.may_stop(run):
                raise Broken("I5", f"{role} {node} was stopped under {run.submission_id}")

    def _is_silent(self, cluster: str, now: float) -> bool:
        return now - max(self._watched, self._answered.get(cluster, 0.0)) >= SILENCE

    def watches(self, *, anew: bool = False) -> None:
        """Hear that a pass begins, or a life of the daemon: what nobody watched is no silence."""
        now = self._world.seconds
        if anew:
            # That it is to end may have been written down by then, and nothing more.
            self._fenced |= {each for each in self._world.people.clusters if self._is_silent(each, self._pass)}
        if anew or now - self._pass > GAP:
            self._watched = now
        self._pass = now

    # At a machine.

    def arrives(self, machine: Machine, request: JsonObject, sent: int) -> Arrival:
        """Hear that a request arrives, perhaps late: `sent` effects were begun when it was sent."""
        verb, args = request["verb"], request["args"]
        if verb not in {"start-head", "start-worker", "stop"}:
            return Arrival(machine, request, None, sent)
        role = verb.removeprefix("start-") if verb != "stop" else args["role"]
        if verb != "stop":
            key = (args["cluster"], role, args["node"], int(args.get("generation", args["epoch"])))
            self._started.setdefault(key, sent)
        slot = self._world.machines.all[machine].slots.get((request["site"], args["cluster"], role, args["node"]))
        alive = slot if slot is not None and self._world.machines.state_of(slot) in ALIVE else None
        return Arrival(machine, request, alive, sent)

    def arrived(self, arrival: Arrival, answer: Mapping[str, Any]) -> None:
        """I24: a gate obeys no leader older than one it has heard, and ends nothing that was started later."""
        term = int(arrival.request["term"])
        if answer["ok"] and term < self._terms.get(arrival.machine, 0):
            raise Broken("I24", f"{arrival.machine} obeyed term {term} after a later one")
        self._terms[arrival.machine] = max(term, self._terms.get(arrival.machine, 0))
        slot = arrival.slot
        if slot is None or arrival.request["verb"] != "stop" or not answer["ok"]:
            return
        if arrival.sent < self._started[slot.cluster, slot.role, slot.node, slot.order.generation]:
            raise Broken("I24", f"a late stop ended {slot.role} {slot.node}, which was started after it was sent")

    # After a step.

    def check(self) -> None:
        """Look at the truth after a step."""
        daemon = self._world.daemon
        ledger = daemon.ledger if daemon is not None else None
        if ledger is not None:
            self.agreed.judge(ledger)
        self._running.check(ledger)
        self._heads.check()
        self._nothing_leaks_into_commands()
        self._readers.check(self._answers)
        if daemon is not None and daemon.plan is not None:
            self.agreed.offered(daemon.plan.held)

    def passed(self, plan: Plan) -> None:
        """I31: now and then, and where several things are decided at once, look whether their order matters."""
        loop = self._world.daemon.loop if self._world.daemon is not None else None
        if loop is None or loop.world is None or (loop.passes % SHUFFLED and len(plan.actions) < 2):
            return
        if written(settled(shuffled(loop.world, self._chance))[0]) != written(settled(loop.world)[0]):
            raise Broken("I31", "the same world in another order gives another plan")

    def _nothing_leaks_into_commands(self) -> None:
        """I39: no word of a file gets into a command line or a path but through its encoder."""
        heads = [
            slot.head for _, slot in self._world.machines.slots() if slot.role == "head" and slot.head is not None
        ]
        count = sum(len(head.jobs) for head in heads)
        if count == self._submissions:
            return
        self._submissions = count
        for head in heads:
            for job in head.jobs.values():
                if not ENTRYPOINT.fullmatch(job.submission.entrypoint):
                    raise Broken("I39", f"a command line is {job.submission.entrypoint}")

    # At the end.

    def read(self) -> None:
        """Look at all that people can read, once nothing more happens."""
        self._readers.status_is_true()
        self._readers.no_secret_told()
        for files in (self._world.state, self._world.shared, self._world.status):
            for path, _ in files.everything():
                if not SAFE_PATH.fullmatch(path):
                    raise Broken("I39", f"a file is called {path}")
