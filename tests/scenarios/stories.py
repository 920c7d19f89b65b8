"""What stories are told with: a small site on the simulated world, and its status as people read it."""

import json
from typing import Any

from reconciler.loop import Loop
from tests.simulator.people import People, Wish
from tests.simulator.world import World

START = 30.0


class Story:
    """A site whose heads and nodes are up, and on which nothing runs yet."""

    def __init__(self, seed: int = 1) -> None:
        self.world = World(seed)
        self.world.steady()
        for uid in list(self.people.jobs):
            self.people.remove([uid])
        self.people.commit()
        self.live(START)

    @property
    def people(self) -> People:
        """Those who commit."""
        return self.world.people

    @property
    def loop(self) -> Loop:
        """The loop of the daemon that leads."""
        assert self.world.daemon is not None
        assert self.world.daemon.loop is not None
        return self.world.daemon.loop

    def live(self, seconds: float) -> None:
        """Let time pass."""
        self.world.live(seconds)

    def job(self, name: str, *, team: str = "rl", **spec: Any) -> Wish:
        """Think of a job."""
        wish = self.people.new(Wish(uid=0, version=0, team=team, name="", pool="p0", **spec))
        self.people.steer(wish.uid, name=name)
        return self.people.jobs[wish.uid]

    def status(self, path: str) -> dict[str, Any]:
        """Return a status file as a reader finds it."""
        found: dict[str, Any] = json.loads(self.world.status.read_elsewhere(f"{path}.json") or b"{}")
        return found

    def state(self, path: str) -> str:
        """Return the state that a status file tells."""
        return str(self.status(path).get("state"))

    def history(self, target: str) -> list[str]:
        """Return what happened to an object, as a reader of the history finds it."""
        days = [f"history/{name}" for name in self.world.status.list("history")]
        lines = b"".join(self.world.status.read_elsewhere(day) or b"" for day in days).splitlines()
        events = [json.loads(line) for line in lines]
        return [event["message"] for event in events if event["object"] == target]

    def runs(self) -> list[tuple[str, str]]:
        """Return what really ran, and how each of it ended."""
        return [(run.submission_id, run.outcome or "runs") for run in self.world.machines.runners.runs if run.began]
