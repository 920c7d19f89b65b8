"""What must be true of what runs, judged by the processes themselves."""

from typing import TYPE_CHECKING

from reconciler.model.ledger import Ledger
from reconciler.model.moment import Moment
from reconciler.model.states import JobState
from tests.fakes.job_runner import Run
from tests.simulator.agreed import Agreed, Key, key_of
from tests.simulator.broken import Broken

if TYPE_CHECKING:
    from tests.simulator.world import World


class Running:
    """Watches the attempts of one world."""

    def __init__(self, world: "World", agreed: Agreed) -> None:
        self._world = world
        self._agreed = agreed
        self._intended: dict[str, Moment] = {}
        self._ledger: Ledger | None = None
        self._live: set[str] = set()
        self._judged = 0

    def check(self, ledger: Ledger | None) -> None:
        """Look at everything that runs, and at what the daemon believes about it."""
        running = [run for run in self._world.machines.runners.runs if run.alive]
        self._one_copy(running)
        self._one_job_per_node(running)
        self._began_as_agreed()
        self._not_fenced_for_nothing()
        self._no_stranger_ended()
        if ledger is None:
            return
        if ledger is not self._ledger:
            self._ledger = ledger
            self._live = {record.live.submission_id for record in ledger.jobs.values() if record.live is not None}
            self._no_id_again(ledger)
            self._ended_as_told(ledger)
        self._nothing_forgotten(running)

    def _one_copy(self, running: list[Run]) -> None:
        """I1: at most one running copy of a job as it was written."""
        seen: dict[Key, Run] = {}
        for run in running:
            other = seen.setdefault(key_of(run), run)
            if other is not run:
                raise Broken("I1", f"{other.submission_id} and {run.submission_id} run the same job at once")

    def _no_id_again(self, ledger: Ledger) -> None:
        """I2: an id belongs to one attempt for ever."""
        for record in ledger.jobs.values():
            if record.live is not None:
                since = self._intended.setdefault(record.live.submission_id, record.live.intended)
                if since != record.live.intended:
                    raise Broken("I2", f"the id {record.live.submission_id} was given to two attempts")

    def _one_job_per_node(self, running: list[Run]) -> None:
        """I7, I10: GPUs count as free only once nothing runs on them, whatever their machine is called."""
        hosts = self._world.people.hosts
        seen: dict[str, tuple[Run, str]] = {}
        for run in running:
            for node in run.nodes:
                other, name = seen.setdefault(hosts[node], (run, node))
                if other is not run:
                    same = (name, other.task["cluster"]) == (node, run.task["cluster"])
                    both = f"{other.submission_id} and {run.submission_id} both hold the machine of {node}"
                    raise Broken("I7" if same else "I10", both)

    def _nothing_forgotten(self, running: list[Run]) -> None:
        """I7, I25: what runs is in the ledger as something that may run."""
        for run in running:
            if run.submission_id not in self._live:
                raise Broken("I25", f"{run.submission_id} runs, and the ledger does not know it as running")

    def _began_as_agreed(self) -> None:
        runs = self._world.machines.runners.runs
        for run in runs[self._judged :]:
            if run.began:
                self._as_written(run)
                self._in_its_place(run)
                before = [each for each in runs if each.began and each is not run]
                self._again(run, [each for each in before if key_of(each) == key_of(run)])
        self._judged = len(runs)

    def _as_written(self, run: Run) -> None:
        """I25, I36, I39: what runs is what one readable file asked for when it was begun, to the byte."""
        meant = self._agreed.intents.get(run.submission_id)
        if meant is None:
            raise Broken("I25", f"{run.submission_id} runs, and the ledger never heard of it")
        if meant.key != key_of(run):
            raise Broken("I36", f"{run.submission_id} runs {key_of(run)}, {meant.key} was in force when it began")
        wish = self._world.people.written[key_of(run)]
        if run.task["argv"] != wish.argv or run.task["env"].get("NOTE", "") != wish.hostile:
            raise Broken("I39", f"{run.submission_id} runs {run.task['argv']}, and its file says {wish.argv}")

    def _in_its_place(self, run: Run) -> None:
        """I8: a job runs in the pool that its file names, on the machine of its first node."""
        people = self._world.people
        pool, cluster = people.written[key_of(run)].pool, run.task["cluster"]
        if not {(cluster, node) for node in run.nodes} <= people.ever[pool]:
            raise Broken("I8", f"{run.submission_id} is for {pool} and runs on {', '.join(run.nodes)}")
        slots = [
            (slot, machine) for machine, slot in self._world.machines.slots() if slot.raylet is run.process.node
        ]
        if [(slot.node, slot.cluster) for slot, _ in slots] != [(run.nodes[0], cluster)]:
            raise Broken("I8", f"{run.submission_id} is for {run.nodes[0]} of {cluster} and runs elsewhere")

    def _again(self, run: Run, others: list[Run]) -> None:
        """I2, I3: what succeeded never runs again, and no job runs oftener than it may."""
        key = key_of(run)
        since = self._agreed.changed.get(key[0], -1.0)
        others = [each for each in others if each.began_at >= since]
        for other in others:
            if other.outcome == "exited" and other.process.program.exit_code == 0 and other.signal is None:
                raise Broken("I3", f"{run.submission_id} runs although {other.submission_id} had succeeded")
        limit = self._world.people.written[key].retry
        # An attempt that had to make room is not counted.
        counted = [each for each in others if each.submission_id not in self._agreed.condemned]
        if len(counted) > limit:
            raise Broken("I2", f"{run.submission_id} is run no. {len(counted) + 1} of a job with {limit} retries")

    def _not_fenced_for_nothing(self) -> None:
        """I22: only a head that there is ends the jobs of an older one; a forged head file ends nothing."""
        newest: dict[str, int] = {}
        for _, slot in self._world.machines.slots():
            if slot.role == "head":
                newest[slot.cluster] = max(newest.get(slot.cluster, 0), slot.order.epoch)
        for run in self._world.machines.runners.runs:
            if run.outcome == "fenced" and int(run.task["epoch"]) >= newest.get(run.task["cluster"], 0):
                raise Broken("I22", f"{run.submission_id} ended itself for a head that never was")

    def _no_stranger_ended(self) -> None:
        """I16: nothing is ended that is not ours, whatever its process number was before."""
        for stranger in self._world.machines.runners.strangers:
            if not stranger.alive:
                raise Broken("I16", f"process {stranger.pid} of somebody else was ended")

    def _ended_as_told(self, ledger: Ledger) -> None:
        """I44: what the ledger calls succeeded did succeed, and what it calls lost has not said how it ended."""
        for name, record in ledger.jobs.items():
            if record.closed is None or not record.attempts:
                continue
            last = self._world.machines.runners.of(record.attempts[-1].submission_id)
            well = last is not None and last.outcome == "exited" and last.process.program.exit_code == 0
            if record.closed.state is JobState.SUCCEEDED and not well:
                raise Broken("I44", f"{name} counts as succeeded, and its program did not")
            if record.closed.state is JobState.LOST and well:
                raise Broken("I44", f"{name} counts as lost, and its program has succeeded")
