"""What must be true, judged by the truth that the daemon cannot see. The numbers are those of the promises.

`docs/architecture.md` tells the promises; here each of them is a few lines that can fail.
"""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from reconciler.model.desired import Desired
from reconciler.model.ids import ObjectId
from reconciler.model.ledger import JobState, Ledger
from reconciler.model.moment import Moment
from tests.fakes.job_runner import Run
from tests.fakes.signer import FakeSigner, verify
from tests.simulator.people import Wish

if TYPE_CHECKING:
    from tests.simulator.world import World

LOOKS = frozenset({"probe"})


class Broken(BaseException):
    """A promise does not hold: its number, and what happened in words. No handler of the daemon may swallow it."""

    def __init__(self, promise: str, what: str) -> None:
        super().__init__(f"{promise}: {what}")
        self.promise = promise
        self.what = what


def key_of(run: Run) -> tuple[int, int]:
    """Return which job and version an attempt runs."""
    uid, _, version = str(run.task["argv"][4]).partition(".")
    return int(uid), int(version)


class Oracle:
    """Watches one world."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._epochs: dict[str, int] = {}
        self._sessions: dict[tuple[str, int], str] = {}
        self._commit_at_begin: dict[str, int] = {}
        self._published: dict[str, bytes] = {}
        self._intended: dict[str, Moment] = {}
        self._judged = 0
        self.effects = 0

    # Before an effect.

    def told(self, verb: str, about: str) -> None:
        """Hear of a call before it happens."""
        if verb in LOOKS or about.endswith(" False"):
            return
        self.effects += 1
        self._world.say(f"  {verb} {about}")
        if verb == "stop-job":
            self._may_stop(self._world.machines.runners.of(about), "asked to stop")
        elif verb == "sweep":
            run = self._world.machines.runners.of(about.split(maxsplit=1)[0])
            if run is not None and self._ray_watches(run):
                self._may_stop(run, "swept while Ray runs it")
        elif verb == "stop":
            self._slot_may_stop(*about.split("/"))

    def _may_stop(self, run: Run | None, how: str) -> None:
        """I5, I6, I32, I34, I35: nothing is stopped that nobody asked to stop."""
        if run is None or not run.alive or self._asked(run) or self._out_of_time(run):
            return
        raise Broken("I5", f"{run.submission_id} runs and was {how}, and nobody asked for it")

    def _asked(self, run: Run) -> bool:
        people = self._world.people
        if key_of(run) in people.allowed.stops:
            return True
        return any(self._world.seconds >= people.drain_deadlines.get(node, float("inf")) for node in run.nodes)

    def _out_of_time(self, run: Run) -> bool:
        limit = run.task["attemptLimitSeconds"]
        return limit is not None and self._world.seconds - run.began_at > limit

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
        """I5: a node is not taken from under a job that runs there as it should."""
        if role != "worker":
            return
        for run in self._world.machines.runners.runs:
            if run.alive and node in run.nodes and self._ray_watches(run) and not self._asked(run):
                head = run.process.node
                raise Broken("I5", f"{node} was stopped under {run.submission_id} ({head.state})")

    # After a step.

    def check(self) -> None:
        """Look at the truth after a step."""
        running = [run for run in self._world.machines.runners.runs if run.alive]
        self._one_copy(running)
        self._no_id_again()
        self._one_job_per_node(running)
        self._nothing_forgotten(running)
        self._runs_only_when_asked()
        for cluster in self._world.people.clusters:
            self._one_head(cluster)
            self._head_file(cluster)
        self._ended_as_told()

    def _one_copy(self, running: list[Run]) -> None:
        """I1: at most one running copy of a job as it was written."""
        seen: dict[tuple[int, int], Run] = {}
        for run in running:
            other = seen.setdefault(key_of(run), run)
            if other is not run:
                raise Broken("I1", f"{other.submission_id} and {run.submission_id} run the same job at once")

    def _no_id_again(self) -> None:
        """I2: an id belongs to one attempt for ever."""
        ledger = self._world.daemon.ledger if self._world.daemon is not None else None
        for record in ledger.jobs.values() if ledger is not None else ():
            if record.live is not None:
                wall = self._intended.setdefault(record.live.submission_id, record.live.intended)
                if wall != record.live.intended:
                    raise Broken("I2", f"the id {record.live.submission_id} was given to two attempts")

    def _one_job_per_node(self, running: list[Run]) -> None:
        """I7, I10: GPUs count as free only once nothing runs on them."""
        seen: dict[str, Run] = {}
        for run in running:
            for node in run.nodes:
                other = seen.setdefault(node, run)
                if other is not run:
                    raise Broken("I7", f"{other.submission_id} and {run.submission_id} both hold {node}")

    def _nothing_forgotten(self, running: list[Run]) -> None:
        """I7, I25: what runs is in the ledger as something that may run."""
        ledger = self._world.daemon.ledger if self._world.daemon is not None else None
        if ledger is None or not running:
            return
        live = {record.live.submission_id for record in ledger.jobs.values() if record.live is not None}
        for run in running:
            if run.submission_id not in live:
                raise Broken("I25", f"{run.submission_id} runs, and the ledger does not know it as running")

    def _runs_only_when_asked(self) -> None:
        """I2, I3: a job that succeeded never runs again, and no job runs oftener than it may."""
        runs = self._world.machines.runners.runs
        for run in runs[self._judged :]:
            if not run.began:
                continue
            self._commit_at_begin[run.submission_id] = self._world.people.commits
            before = [each for each in runs if each.began and each is not run]
            self._again(run, [each for each in before if key_of(each) == key_of(run)])
        self._judged = len(runs)

    def _again(self, run: Run, others: list[Run]) -> None:
        uid, _ = key_of(run)
        touched = self._world.people.allowed.touched.get(uid, 0)
        for other in others:
            if touched > self._commit_at_begin.get(other.submission_id, 0):
                return
            if other.outcome == "exited" and other.process.program.exit_code == 0 and other.signal is None:
                raise Broken("I3", f"{run.submission_id} runs although {other.submission_id} had succeeded")
        limit = self._world.people.retries.get(uid, 0)
        counted = [each for each in others if not self._made_room(each)]
        if len(counted) > limit:
            raise Broken("I2", f"{run.submission_id} is run no. {len(counted) + 1} of a job with {limit} retries")

    def _made_room(self, run: Run) -> bool:
        return self._asked(run)

    def _one_head(self, cluster: str) -> None:
        """I20: never two live heads of one cluster."""
        heads = self._world.machines.heads(cluster)
        if len(heads) > 1:
            raise Broken("I20", f"{cluster} has {len(heads)} live heads")
        for slot in heads:
            assert slot.head is not None, "what runs has a head"
            self._sessions[cluster, slot.order.epoch] = slot.head.session

    def _head_file(self, cluster: str) -> None:
        """I18, I19, I21: the head file is whole, signed, true, and its epoch only rises."""
        data = self._world.shared.read_elsewhere(f".rayops/clusters/{cluster}/head.json")
        if data is None or self._published.get(cluster) == data:
            return
        self._published[cluster] = data
        head = json.loads(data)
        if not verify(head["payload"].encode(), head["signature"], FakeSigner().allowed_signers()):
            raise Broken("I21", f"the head file of {cluster} is not signed")
        payload = json.loads(head["payload"])
        epoch = payload["epoch"]
        if epoch < self._epochs.get(cluster, 0):
            raise Broken("I19", f"the head file of {cluster} went back to epoch {epoch}")
        self._epochs[cluster] = epoch
        if self._sessions.get((cluster, epoch)) != payload["session"]:
            raise Broken("I18", f"the head file of {cluster} names a session that epoch {epoch} never had")

    def _ended_as_told(self) -> None:
        """I44: what the ledger calls succeeded did succeed, and what it calls ended is not running."""
        ledger = self._world.daemon.ledger if self._world.daemon is not None else None
        if ledger is None:
            return
        for name, record in ledger.jobs.items():
            if record.closed is None or record.closed.state is not JobState.SUCCEEDED:
                continue
            last = self._world.machines.runners.of(record.attempts[-1].submission_id)
            if last is None or last.outcome != "exited" or last.process.program.exit_code != 0:
                raise Broken("I44", f"{name} counts as succeeded, and its program did not")

    # At the end.

    def unfinished(self) -> Iterator[str]:
        """Yield what is not yet as people want it."""
        people, daemon = self._world.people, self._world.daemon
        if daemon is None or daemon.ledger is None or daemon.loop is None or daemon.loop.world is None:
            yield "no daemon leads"
            return
        if daemon.loop.world.desired.revision != people.revisions[-1]:
            yield "the newest revision is not in force"
        yield from self._unfinished_heads(daemon.ledger, daemon.loop.world.desired)
        yield from self._unfinished_nodes(daemon.ledger)
        wanted = {f"job/{wish.team}/{wish.name}": wish for wish in people.jobs.values()}
        yield from (f"{name} has not ended" for name, wish in wanted.items() if self._due(daemon.ledger, wish))
        if self._world.fate.under_way:
            yield "a late request is under way"
        yield from (f"{run.submission_id} runs" for run in self._world.machines.runners.runs if run.alive)
        yield from (f"{name} is remembered" for name in daemon.ledger.jobs if name not in wanted)

    def _unfinished_heads(self, ledger: Ledger, desired: Desired) -> Iterator[str]:
        for cluster in self._world.people.clusters:
            record = ledger.clusters.get(cluster)
            if record is None or record.head is None or not record.head.published:
                yield f"{cluster} has no published head"
            elif not self._world.machines.heads(cluster):
                yield f"the head of {cluster} is dead"
            elif record.head.digest != desired.objects[ObjectId("Cluster", "", cluster)].digest:
                yield f"the head of {cluster} is not as the repo says"

    def _unfinished_nodes(self, ledger: Ledger) -> Iterator[str]:
        running = {slot.node for _, slot in self._world.machines.slots() if slot.role == "worker" and slot.running}
        for pool, cluster in self._world.people.pools.items():
            for node in self._world.people.nodes(pool):
                found = ledger.nodes.get(f"{cluster}/{node}")
                if found is None or found.joined is None or found.stopping is not None or node not in running:
                    yield f"{node} is not in service"

    def _due(self, ledger: Ledger, wish: Wish) -> bool:
        """Say whether a job can end and has not: what waits in vain is held for a person."""
        record = ledger.jobs.get(f"job/{wish.team}/{wish.name}")
        return (record is None or record.closed is None) and not self._waits_in_vain(ledger, wish)

    def _waits_in_vain(self, ledger: Ledger, wish: Wish) -> bool:
        if not wish.after:
            return False
        others = self._world.people.jobs.values()
        other = next((each for each in others if (each.team, each.name) == (wish.team, wish.after)), None)
        if other is None:
            return True
        record = ledger.jobs.get(f"job/{other.team}/{other.name}")
        if record is not None and record.closed is not None:
            return record.closed.state is not JobState.SUCCEEDED
        return self._waits_in_vain(ledger, other)

    def status_is_true(self) -> None:
        """I44, I45: the status files say how each job ended, at the revision in force."""
        world = self._world
        assert world.daemon is not None, "somebody leads at the end"
        ledger = world.daemon.ledger
        assert ledger is not None, "somebody leads at the end"
        for wish in world.people.jobs.values():
            data = world.status.read_elsewhere(f"job/{wish.team}/{wish.name}.json")
            if data is None:
                raise Broken("I44", f"{wish.team}/{wish.name} has no status file")
            said = json.loads(data)
            record = ledger.jobs.get(f"job/{wish.team}/{wish.name}")
            if record is not None and record.closed is not None and said["state"] != record.closed.state.value:
                raise Broken("I44", f"{wish.name} is told as {said['state']} and ended as {record.closed.state}")

    def no_secret_told(self) -> None:
        """I40: the tokens of clusters are in no file that others read."""
        world = self._world
        secrets = [f"canary-{cluster}".encode() for cluster in world.people.clusters]
        for files in (world.status, world.shared):
            for folder in files._folders.values():
                for name, found in folder.live.items():
                    if any(secret in found.live for secret in secrets):
                        raise Broken("I40", f"a token is in {name}")
