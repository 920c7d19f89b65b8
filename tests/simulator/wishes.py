"""What people do: they commit, edit, rename, delete, drain, break files and approve what is held."""

import random
from dataclasses import replace
from typing import Any

from tests.simulator.agreed import key_of
from tests.simulator.grounds import NODES_PER_POOL
from tests.simulator.people import TEAMS
from tests.simulator.world import World


def pick(things: list[Any], number: int) -> Any:
    """Return one of some things, None when there is none."""
    return things[number % len(things)] if things else None


def new_job(world: World, a: int, b: int) -> None:
    wish = world.people.new(world.some_wish(random.Random(a)))
    if b % 4 == 0 and (other := pick([w for w in world.people.jobs.values() if w.team == wish.team], b)) != wish:
        world.people.steer(wish.uid, after=other.name)
    world.people.commit()


def edit_job(world: World, a: int, b: int) -> None:
    if (uid := pick(list(world.people.jobs), a)) is not None:
        pool = pick(list(world.people.pools), b) if b % 4 == 0 else world.people.jobs[uid].pool
        world.people.edit(uid, seconds=(10, 30, 90)[b % 3], code=b % 5 // 4, pool=pool)
        world.people.commit()


def edit_many(world: World, a: int, b: int) -> None:
    """Edit more running jobs at once than may be stopped; as many as miss are begun first."""
    for n in range(3 - len(_running(world) & world.people.jobs.keys())):
        world.people.new(replace(world.some_wish(random.Random(a + n)), nodes=1, seconds=240, limit=None))
    world.people.commit()
    world.live(15)
    for uid in busiest(world)[: 3 + a % 2]:
        world.people.edit(uid, seconds=(10, 30, 90)[b % 3])
    world.people.commit()


def busiest(world: World) -> list[int]:
    """Return the jobs that can be edited or removed, those that run first."""
    running = _running(world)
    return sorted(world.people.jobs, key=lambda uid: (uid not in running, uid))


def _running(world: World) -> set[int]:
    return {key_of(run)[0] for run in world.machines.runners.runs if run.alive}


def steer_job(world: World, a: int, b: int) -> None:
    if b % 4 == 0:
        change_limit(world, a, b // 4)
    elif (uid := pick(list(world.people.jobs), a)) is not None:
        world.people.steer(uid, priority=("low", "normal", "high")[b % 3], note=f"n{a % 7}")
        world.people.commit()


def change_limit(world: World, a: int, b: int) -> None:
    """Begin a job that has too little time, and give it more as long as it runs; or less."""
    wish = world.people.new(replace(world.some_wish(random.Random(a)), nodes=1, seconds=60, limit=30))
    world.people.commit()
    world.live(15)
    if wish.uid in world.people.jobs:
        world.people.steer(wish.uid, limit=(200, None, 10)[b % 3])
        world.people.commit()


def remove_job(world: World, a: int, b: int) -> None:
    if (uid := pick(list(world.people.jobs), a)) is not None:
        world.people.remove([uid])
        world.people.commit()


def remove_many(world: World, a: int, b: int) -> None:
    world.people.remove(list(world.people.jobs)[b % 2 :][: 3 + a % 3])
    world.people.commit()


def remove_many_beside_a_broken_file(world: World, a: int, b: int) -> None:
    """Remove more than is allowed, but of neither team more than that, and break a file of one of them."""
    uids = busiest(world)
    new_broken_file(world, a, b)
    of_team = {team: [uid for uid in uids if world.people.jobs[uid].team == team] for team in TEAMS}
    world.people.remove([uid for team in TEAMS for uid in of_team[team][:2]])
    world.people.commit()


def revert_removal(world: World, a: int, b: int) -> None:
    if (uid := pick(list(world.people.removed), a)) is not None:
        world.people.bring_back(uid)
        world.people.commit()


def rename_job(world: World, a: int, b: int) -> None:
    # A name that two files give is refused, so that such a rename is no rename.
    if (uid := pick(list(world.people.jobs), a)) is not None and uid not in world.people.doubled:
        wish = world.people.jobs[uid]
        world.people.steer(uid, name=f"j{uid}-{world.people.commits}")
        for other in world.people.jobs.values():
            if other.after == wish.name and other.team == wish.team:
                world.people.steer(other.uid, after=world.people.jobs[uid].name)
        world.people.commit()


def suspend_job(world: World, a: int, b: int) -> None:
    if (uid := pick(list(world.people.jobs), a)) is not None:
        world.people.steer(uid, suspend=not world.people.jobs[uid].suspend)
        world.people.commit()


def stop_job(world: World, a: int, b: int) -> None:
    if (uid := pick(list(world.people.jobs), a)) is not None:
        world.people.steer(uid, stop=True)
        world.people.commit()


def break_file(world: World, a: int, b: int) -> None:
    if (uid := pick(list(world.people.jobs), a)) is not None:
        world.people.steer(uid, broken=not world.people.jobs[uid].broken)
        world.people.commit()


def new_broken_file(world: World, a: int, b: int) -> None:
    wish = world.people.new(world.some_wish(random.Random(a)))
    world.people.steer(wish.uid, broken=True)
    world.people.commit()


def two_files_one_name(world: World, a: int, b: int) -> None:
    never_renamed = [wish.uid for wish in world.people.jobs.values() if wish.name == f"j{wish.uid}"]
    if (uid := pick(never_renamed, a)) is not None:
        world.people.doubled ^= {uid}
        world.people.commit()


def remove_all(world: World, a: int, b: int) -> None:
    world.people.remove(list(world.people.jobs))
    world.people.commit()


def drain_node(world: World, a: int, b: int) -> None:
    pool = pick(list(world.people.pools), a)
    node = pick(world.people.nodes(pool), b)
    if len(world.people.pools[pool].drains) < NODES_PER_POOL - 2:
        world.people.drain(pool, [node], (None, 20, 200)[b % 3])
        world.people.commit()


def drain_many(world: World, a: int, b: int) -> None:
    """Ask for more nodes of a pool to leave than its share."""
    pool, _ = _at_work(world, a)
    world.people.drain(pool, world.people.nodes(pool)[: 2 + b % 2], (0, 20, None)[b % 3])
    world.people.commit()


def _at_work(world: World, a: int) -> tuple[str, str]:
    """Return a pool and a node of it on which a job runs, or is begun to see to that; it need not succeed."""
    pool = pick(list(world.people.pools), a)
    busy = {node for run in world.machines.runners.runs if run.alive for node in run.nodes}
    if not busy & {*world.people.nodes(pool)}:
        world.people.new(replace(world.some_wish(random.Random(a)), pool=pool, seconds=240, limit=None))
        world.people.commit()
        world.live(15)
        busy = {node for run in world.machines.runners.runs if run.alive for node in run.nodes}
    nodes = world.people.nodes(pool)
    return pool, next((node for node in nodes if node in busy), nodes[0])


def drain_suspended(world: World, a: int, b: int) -> None:
    """Ask for a node to leave a pool to which nothing is to be done, or to whose cluster nothing is."""
    pool, node = _at_work(world, a)
    if b % 2:
        world.people.change(pool, suspended=True)
    else:
        world.people.suspended |= {world.people.pools[pool].cluster}
    world.people.drain(pool, [node], (0, 20)[a % 2])
    world.people.commit()


def undrain(world: World, a: int, b: int) -> None:
    for pool in world.people.pools:
        world.people.change(pool, drains={})
    world.people.commit()


def suspend_pool(world: World, a: int, b: int) -> None:
    pool = pick(list(world.people.pools), a)
    world.people.change(pool, suspended=not world.people.pools[pool].suspended)
    world.people.commit()


def suspend_cluster(world: World, a: int, b: int) -> None:
    world.people.suspended ^= {pick(list(world.people.clusters), a)}
    world.people.commit()


def move_pool(world: World, a: int, b: int) -> None:
    """Ask for a pool in another cluster, if there is one."""
    pool = pick(list(world.people.pools), a)
    elsewhere = [each for each in world.people.clusters if each != world.people.pools[pool].cluster]
    if elsewhere:
        world.people.change(pool, cluster=pick(elsewhere, b))
        world.people.commit()


def rename_node(world: World, a: int, b: int) -> None:
    """Give a machine another name."""
    pool = pick(list(world.people.pools), a)
    old, new = pick(world.people.nodes(pool), b), f"{pool}-n{world.people.commits}"
    nodes = world.people.pools[pool].nodes
    world.people.change(pool, nodes={new if name == old else name: host for name, host in nodes.items()})
    world.people.commit()


def lend_node(world: World, a: int, b: int) -> None:
    """Move a node to another pool, if there is one and enough are left for what jobs ask for."""
    pool = pick(list(world.people.pools), a)
    other = pick([each for each in world.people.pools if each != pool], b)
    nodes = world.people.pools[pool].nodes
    if other is None or len(nodes) < NODES_PER_POOL:
        return
    lent = pick(list(nodes), b)
    world.people.change(pool, nodes={name: host for name, host in nodes.items() if name != lent})
    world.people.change(other, nodes={**world.people.pools[other].nodes, lent: nodes[lent]})
    world.people.commit()


def edit_pool(world: World, a: int, b: int) -> None:
    pool = pick(list(world.people.pools), a)
    world.people.change(pool, edit=world.people.commits)
    world.people.commit()


def edit_head(world: World, a: int, b: int) -> None:
    cluster = pick(list(world.people.clusters), a)
    world.people.head_env[cluster] = world.people.commits
    world.people.commit()


def move_head(world: World, a: int, b: int) -> None:
    """Ask for the head of the first cluster on the other of its two machines."""
    world.people.moved ^= {world.people.clusters[0]}
    world.people.commit()


def approve(world: World, a: int, b: int) -> None:
    world._approve()
