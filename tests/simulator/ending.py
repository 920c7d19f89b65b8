"""What is still open before all is as people want it."""

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from reconciler.model.desired import Desired
from reconciler.model.ids import ObjectId
from reconciler.model.ledger import Ledger
from reconciler.model.machine import Machine
from reconciler.model.sighting import Unreachable
from reconciler.model.states import JobState
from tests.fakes.gate import Mishap
from tests.simulator.broken import Broken
from tests.simulator.people import SPARE, TEAMS, Wish

# How long the world goes on without faults until all must be settled.
CALM_PASSES = 900
# The shares of worlds in which a machine hangs at the end, and in which what is broken by then stays for a while.
HANGS = 0.15
STAYS_BROKEN = 0.3

# As many nodes as a job may ask for.
MOST_NODES = 2

# For how many seconds what was told may still be on its way to a slow status directory.
LATE_NEWS = 60

if TYPE_CHECKING:
    from tests.simulator.world import World


class Ending:
    """Says what is unfinished in one world."""

    def __init__(self, world: "World") -> None:
        self._world = world

    def unfinished(self) -> Iterator[str]:
        """Yield what is not yet as people want it."""
        people, daemon = self._world.people, self._world.daemon
        if daemon is None or daemon.ledger is None or daemon.loop is None or daemon.loop.world is None:
            yield "no daemon leads"
            return
        if daemon.loop.world.desired.revision != people.revisions[-1]:
            yield "the newest revision is not in force"
        if any(isinstance(head, Unreachable) for head in daemon.loop.world.observed.heads.values()):
            yield "a head was not asked again yet"
        yield from self._unfinished_heads(daemon.ledger, daemon.loop.world.desired)
        yield from self._unfinished_nodes(daemon.ledger)
        wanted = {f"job/{wish.team}/{wish.name}": wish for wish in people.jobs.values()}
        yield from (f"{name} has not ended" for name, wish in wanted.items() if self.is_due(daemon.ledger, wish))
        if self._world.fate.under_way:
            yield "a late request is under way"
        yield from (f"{run.submission_id} runs" for run in self._world.machines.runners.runs if run.alive)
        yield from (f"{name} is remembered" for name in daemon.ledger.jobs if name not in wanted)

    def _unfinished_heads(self, ledger: Ledger, desired: Desired) -> Iterator[str]:
        for cluster in self._world.people.clusters:
            record = ledger.clusters.get(cluster)
            if record is None or record.head is None or not record.head.published:
                yield f"{cluster} has no published head"
                continue
            if record.head.digest != desired.objects[ObjectId("Cluster", "", cluster)].digest:
                yield f"the head of {cluster} is not as the repo says"
            heads = self._world.machines.heads(cluster)
            wanted = self._world.people.env_of_head(cluster)
            yield from (f"the head of {cluster} runs with other settings" for h in heads if h.order.env != wanted)
            if not heads:
                yield f"the head of {cluster} is dead"

    def _unfinished_nodes(self, ledger: Ledger) -> Iterator[str]:
        people = self._world.people
        slots = [s for _, s in self._world.machines.slots() if s.role == "worker" and s.running]
        running = {f"{slot.cluster}/{slot.node}": slot for slot in slots}
        wanted = {f"{pool.cluster}/{node}": name for name, pool in people.pools.items() for node in pool.nodes}
        for key, pool in wanted.items():
            found = ledger.nodes.get(key)
            if found is None or found.joined is None or found.stopping is not None or key not in running:
                yield f"{key} is not in service"
            elif running[key].order.env != people.env_of_pool(pool):
                yield f"{key} runs with other settings than {pool} asks for"
        yield from (f"{key} is remembered" for key in ledger.nodes if key not in wanted)

    def others_go_on(self) -> None:
        """I33, I47: what one team broke, or one machine that hangs, keeps nobody else waiting."""
        world, people = self._world, self._world.people
        broken = {wish.team for wish in people.jobs.values() if wish.broken or wish.uid in people.doubled}
        hung = next((m for m in world.machines.all if m.host in world.fate.cut), None)
        if world.random.random() < HANGS:
            hung = hung or self._hang()
        elif world.random.random() > STAYS_BROKEN:
            return
        if not broken and hung is None:
            return
        world.mend(but=hung)
        for pool in people.pools:
            for team in sorted(set(TEAMS) - broken):
                people.new(Wish(uid=0, version=0, team=team, name="", pool=pool, seconds=5))
        people.commit()
        self.come_to_rest("I33" if broken else "I47", lambda: self._open_for(broken, hung))

    def _hang(self) -> Machine | None:
        """Let a worker's machine hang and its Ray end: nobody can say what became of it."""
        slots = [(m, slot) for m, slot in self._world.machines.slots() if slot.role == "worker" and slot.running]
        if not slots:
            return None
        machine, slot = self._world.random.choice(slots)
        self._world.gate.script(machine.machine, Mishap.SILENT)
        self._world.machines.kill_ray(slot)
        return machine.machine

    def _open_for(self, broken: set[str], hung: Machine | None) -> Iterator[str]:
        """Yield the jobs that have not ended although neither a broken file nor a hung machine concerns them."""
        people, daemon = self._world.people, self._world.daemon
        if daemon is None or daemon.ledger is None or daemon.loop is None or daemon.loop.world is None:
            yield "no daemon leads"
            return
        concerned = {*self._pools_of(hung, daemon.ledger, daemon.loop.world.desired), *self._narrow()}
        for wish in people.jobs.values():
            waits = wish.suspend or wish.after or wish.team in broken or wish.pool in concerned
            if not waits and self.is_due(daemon.ledger, wish):
                yield f"{wish.team}/{wish.name} has not ended"

    def _pools_of(self, hung: Machine | None, ledger: Ledger, desired: Desired) -> Iterator[str]:
        """Yield the pools that have a hung machine, and those of clusters whose head does or waits for an edit."""
        people = self._world.people
        for name, pool in people.pools.items():
            number_of_cluster = people.clusters.index(pool.cluster)
            heads = [f"10.0.0.{number_of_cluster + 1}", *([SPARE] if number_of_cluster == 0 else [])]
            mine = [*heads, *pool.nodes.values()]
            record = ledger.clusters.get(pool.cluster)
            loaded = desired.objects[ObjectId("Cluster", "", pool.cluster)]
            edited = record is not None and record.head is not None and record.head.digest != loaded.digest
            # Nodes that came from elsewhere wait until they have left there.
            if hung is not None and (hung.host in mine or edited or people.ever[name] != pool.places):
                yield name

    def _narrow(self) -> Iterator[str]:
        """Yield the pools that people keep from taking work of any size."""
        people = self._world.people
        for name, pool in people.pools.items():
            if name in people.frozen or len(pool.nodes) - len(pool.drains) < MOST_NODES:
                yield name

    def come_to_rest(self, promise: str, unfinished: Callable[[], Iterator[str]]) -> None:
        """Go on without further events until nothing is unfinished; it must not take for ever."""
        world = self._world
        for number in range(CALM_PASSES):
            report, world.calm = world.step(), number + 1
            quiet = report is not None and report.plan.empty and not report.finished
            if quiet and not world.daemon_is_busy and not any(unfinished()):
                return
            if number % 30 == 29:
                world._approve()
            world.advance(world._rest(report) * (4 if number > 300 else 1))
        raise Broken(promise, f"after {CALM_PASSES} passes: {'; '.join(unfinished())}{self._holds()}")

    def _holds(self) -> str:
        plan = json.loads(self._world.status.read_elsewhere("plan.json") or b"{}")
        return "".join(f"\n    {hold['object']}: {hold['message']}" for hold in plan.get("holds", ()))

    def nothing_more(self) -> None:
        """I28: once all is as people want it nothing is done, asked or written, not even after a restart."""
        world = self._world
        world.live(60, rest=30)
        for _ in range(LATE_NEWS):
            if world.daemon is None or not world.daemon.tells:
                break
            world.live(1)
        effects, sequence, written = world.oracle.effects, self._sequence, world.status._tick
        world.live(120, rest=30)
        if self._sequence != sequence:
            raise Broken("I28", "there was nothing to note, and the ledger was written")
        if world.status._tick != written:
            raise Broken("I28", "nothing happened, and status files were written")
        world.died("restarted, and nothing has changed")
        world.live(60, rest=30)
        if world.oracle.effects != effects:
            raise Broken("I28", f"there was nothing to do, and {world.oracle.effects - effects} effects were begun")
        if self._sequence != sequence + 1:
            raise Broken("I28", "a restart without any change noted more than its own term")

    @property
    def _sequence(self) -> int:
        daemon = self._world.daemon
        assert daemon is not None, "it leads"
        assert daemon.ledger is not None, "it leads"
        return daemon.ledger.sequence

    def is_due(self, ledger: Ledger, wish: Wish) -> bool:
        """Say whether a job can end and has not: what waits in vain is held for a person."""
        record = ledger.jobs.get(f"job/{wish.team}/{wish.name}")
        return (record is None or record.closed is None) and not self.waits_in_vain(ledger, wish)

    def waits_in_vain(self, ledger: Ledger, wish: Wish) -> bool:
        """Say whether what a job waits for is not there, or did not succeed."""
        if not wish.after:
            return False
        others = self._world.people.jobs.values()
        other = next((each for each in others if (each.team, each.name) == (wish.team, wish.after)), None)
        if other is None:
            return True
        record = ledger.jobs.get(f"job/{other.team}/{other.name}")
        if record is not None and record.closed is not None:
            return record.closed.state is not JobState.SUCCEEDED
        return self.waits_in_vain(ledger, other)
