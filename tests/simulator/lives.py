"""What happens to the daemon: it dies, is restarted, is overtaken, and its memory and its clock are replaced."""

import copy
from dataclasses import replace
from datetime import timedelta
from random import Random

from reconciler.desired.cache import FILE
from tests.simulator.daemon import Daemon
from tests.simulator.faults import freeze_head, thaw_heads
from tests.simulator.wishes import edit_job, new_job
from tests.simulator.world import World


def die_at_door(world: World, a: int, b: int) -> None:
    world.fate.die_at = world.fate.points + 1 + a % 12
    world.power_fails = b % 3 == 0


def die_at_disk(world: World, a: int, b: int) -> None:
    files = (world.state, world.state, world.shared, world.status)[b % 4]
    files.die_at = files.steps + 1 + a % 40
    world.power_fails = a % 3 == 0


def restart(world: World, a: int, b: int) -> None:
    world.died("restarted")


def upgrade(world: World, a: int, b: int) -> None:
    """Let another program follow: it cannot use what this one kept of files that were good."""
    world.died("upgraded")
    world.former = None
    for folders in (world.state._folders, world.backup, world.newest):
        if folders is not None:
            for names in (folders[""].live, folders[""].durable):
                names.pop(FILE, None)
    world.oracle.agreed.forget()


def doze(world: World, a: int, b: int) -> None:
    """Stop the daemon for minutes while a job runs; heads are well but for a bad moment before that and after."""
    world.people.new(replace(world.some_wish(Random(a)), nodes=1, seconds=600, limit=None))
    world.people.commit()
    world.live(20)
    for seconds in (float((95, 95, 600)[b % 3]), 0.0):
        for number, _ in enumerate(world.people.clusters):
            freeze_head(world, number, b)
        world.step()
        thaw_heads(world, a, b)
        world.nobody_looks(seconds)


def overtake(world: World, a: int, b: int) -> None:
    if world.daemon is not None and world.daemon.fault is None:
        former, world.daemon = world.daemon, None
        world._mortal(world._once)
        following: Daemon | None = world.daemon
        if following is not None and following.fault is None:
            world.former = former
            # Something that the former one would do as well.
            edit_job(world, a, b)


def set_clock(world: World, a: int, b: int) -> None:
    world.clock.set_wall(timedelta(hours=(1, -1, 24, -24)[a % 4]))


def old_ledger(world: World, a: int, b: int) -> None:
    """Take a backup now; the next of these events puts it back while the daemon is down."""
    if world.newest is not None:
        return
    if world.backup is None:
        world.backup, world.backup_effects = copy.deepcopy(world.state._folders), world.oracle.effects
        return
    world.died("its state directory is restored from a backup")
    world.newest, world.state._folders = world.state._folders, world.backup
    world.backup, world.forgotten = None, world.oracle.effects > world.backup_effects


def ledger_of_yesterday(world: World, a: int, b: int) -> None:
    """Put back a backup from before something was done."""
    if world.newest is None:
        world.backup = None
        old_ledger(world, a, b)
        new_job(world, a, b)
        world.live(60)
        old_ledger(world, a, b)


def lost_ledger(world: World, a: int, b: int) -> None:
    if world.newest is None:
        world.died("its state directory is lost")
        world.newest, world.state._folders = world.state._folders, type(world.state)()._folders
        world.forgotten = world.oracle.effects > 0


def newest_ledger(world: World, a: int, b: int) -> None:
    world.bring_back_ledger()
