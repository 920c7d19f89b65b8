"""What there is on a site before anything happens: chance decides."""

import random
from typing import TYPE_CHECKING

from reconciler.model.machine import Machine
from tests.simulator.people import EXIT_CODES, HOSTILE, SECONDS, SPARE, STOP_SECONDS, TEAMS, People, Wish

if TYPE_CHECKING:
    from tests.simulator.world import World


def furnish(world: "World") -> None:
    """Connect the machines, keep a token for each cluster, and let people think of some jobs."""
    people = world.people
    for n, cluster in enumerate(people.clusters):
        world.machines.add(Machine(f"10.0.0.{n + 1}", "ray"))
        # A canary in every token: it must come up nowhere.
        world.tokens[cluster] = f"canary-{cluster}-{'0' * 32}"
        world.state.write(f"tokens/{cluster}", world.tokens[cluster].encode())
    world.machines.add(Machine(SPARE, "ray"))
    for pool in people.pools.values():
        for host in pool.nodes.values():
            world.machines.add(Machine(host, "ray"))
    for _ in range(world.random.randint(1, 5)):
        people.new(some_wish(people, world.random))
    people.commit()


def some_wish(people: People, chance: random.Random) -> Wish:
    """Return a job that somebody may think of."""
    return Wish(
        uid=0,
        version=0,
        team=chance.choice(TEAMS),
        name="",
        pool=chance.choice(list(people.pools)),
        nodes=chance.choice((1, 1, 2)),
        seconds=chance.choice(SECONDS),
        code=chance.choice(EXIT_CODES),
        stop_seconds=chance.choice(STOP_SECONDS),
        retry=chance.choice((0, 0, 2)),
        limit=chance.choice((None, None, None, 30)),
        priority=chance.choice(("low", "normal", "high")),
        hostile=HOSTILE[people.commits % len(HOSTILE)],
    )
