"""What must be true of what people read."""

import json
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from reconciler.model.ids import ObjectId
from tests.simulator.broken import Broken
from tests.simulator.ending import Ending
from tests.simulator.people import Wish

if TYPE_CHECKING:
    from tests.simulator.world import World

IN_VAIN = frozenset({"WaitsForDependency", "DependencyFailed", "Invalid"})


class Readers:
    """Reads what one world tells its people."""

    def __init__(self, world: "World", ending: Ending) -> None:
        self._world = world
        self._ending = ending
        self._ready: dict[str, bytes] = {}

    def check(self, answers: Mapping[str, Collection[datetime]]) -> None:
        """I44: a head is told as ready only as of a moment at which it answered; `answers` says when that was."""
        for cluster in self._world.people.clusters:
            data = self._world.status.read_elsewhere(f"cluster/{cluster}.json")
            if data is None or self._ready.get(cluster) == data:
                continue
            self._ready[cluster] = data
            said = json.loads(data)
            as_of = datetime.fromisoformat(said["observed"]["asOf"])
            if said["state"] == "Ready" and as_of not in answers[cluster]:
                raise Broken("I44", f"{cluster} is told as ready as of {as_of}, and it did not answer then")

    def status_is_true(self) -> None:
        """I44, I45: at the end the status files say how each job ended, and that nothing is left to do."""
        daemon = self._world.daemon
        assert daemon is not None, "somebody leads at the end"
        assert daemon.ledger is not None, "somebody leads at the end"
        for wish in self._world.people.jobs.values():
            said = self._read(f"job/{wish.team}/{wish.name}.json")
            record = daemon.ledger.jobs.get(f"job/{wish.team}/{wish.name}")
            if record is not None and record.closed is not None and said["state"] != record.closed.state.value:
                raise Broken("I44", f"{wish.name} is told as {said['state']} and ended as {record.closed.state}")
            closed = record is not None and record.closed is not None
            if not closed and self._ending.waits_in_vain(daemon.ledger, wish) and said["reason"] not in IN_VAIN:
                raise Broken("I44", f"{wish.name} waits in vain, and its status says {said['reason']}")
            self._is_current(wish, said)
        summary = self._read("summary.json")
        if summary["revision"] != self._world.people.revisions[-1] or summary["readOnly"] or summary["source"]:
            raise Broken("I45", f"all is well at the newest revision, and the summary says {summary}")

    def _is_current(self, wish: Wish, said: dict[str, Any]) -> None:
        """I45: what is told of an object is of what is in force, and of no revision that nobody was given yet."""
        daemon = self._world.daemon
        assert daemon is not None, "somebody leads at the end"
        assert daemon.loop is not None, "somebody leads at the end"
        assert daemon.loop.world is not None, "it has made a pass"
        loaded = daemon.loop.world.desired.objects[ObjectId("Job", wish.team, wish.name)]
        told = said["observed"]
        if told["specDigest"] != loaded.digest or told["revision"] not in self._world.people.said:
            raise Broken("I45", f"{wish.name} is told of {told}, and {loaded.digest} is in force")

    def _read(self, path: str) -> dict[str, Any]:
        data = self._world.status.read_elsewhere(path)
        if data is None:
            raise Broken("I44", f"{path} is not there")
        said: dict[str, Any] = json.loads(data)
        return said

    def no_secret_told(self) -> None:
        """I40: the tokens of clusters are nowhere that others read: files, records of Ray, what is told."""
        secrets = [f"canary-{cluster}".encode() for cluster in self._world.people.clusters]
        for where, content in self._told():
            if any(secret in content for secret in secrets):
                raise Broken("I40", f"a token is in {where}")

    def _told(self) -> Iterator[tuple[str, bytes]]:
        world = self._world
        for files in (world.status, world.shared):
            yield from files.everything()
        for _, slot in world.machines.slots():
            for job in slot.head.jobs.values() if slot.role == "head" and slot.head is not None else ():
                yield "a record of Ray", repr(job.submission).encode()
        yield "what the daemon says", "\n".join(world.log).encode()
