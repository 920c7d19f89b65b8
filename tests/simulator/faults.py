"""What goes wrong: the source, machines, Ray, doors, disks and the daemon itself."""

import copy
import errno
from datetime import timedelta

from tests.fakes.gate import Mishap
from tests.fakes.ray import Fault
from tests.fakes.slot import FakeMachine, Slot
from tests.simulator.daemon import Daemon
from tests.simulator.wishes import pick
from tests.simulator.world import World

# The source.


def rewrite_history(world: World, a: int, b: int) -> None:
    world.people.rewrite()


def delete_branch(world: World, a: int, b: int) -> None:
    world.source.delete_branch()


def restore_branch(world: World, a: int, b: int) -> None:
    world.people.restore()


def source_down(world: World, a: int, b: int) -> None:
    (world.source.unreachable if a % 2 else world.source.corrupt)()


def source_up(world: World, a: int, b: int) -> None:
    world.source.heal()


# Machines and Ray.


def _slot(world: World, number: int, role: str) -> Slot | None:
    found: Slot | None = pick([s for _, s in world.machines.slots() if s.role == role and s.running], number)
    return found


def _machine(world: World, number: int) -> FakeMachine:
    found: FakeMachine = pick(list(world.machines.all.values()), number)
    return found


def kill_head(world: World, a: int, b: int) -> None:
    if (slot := _slot(world, a, "head")) is not None:
        world.machines.kill_ray(slot)


def freeze_head(world: World, a: int, b: int) -> None:
    slot = _slot(world, a, "head")
    if slot is not None and slot.head is not None:
        world.machines.ray.freeze(slot.head)


def thaw_heads(world: World, a: int, b: int) -> None:
    for _, slot in world.machines.slots():
        if slot.role == "head" and slot.head is not None and slot.head.silent:
            world.machines.ray.thaw(slot.head)


def kill_raylet(world: World, a: int, b: int) -> None:
    if (slot := _slot(world, a, "worker")) is not None:
        world.machines.kill_ray(slot)


def kill_keeper(world: World, a: int, b: int) -> None:
    if (slot := _slot(world, a, ("worker", "head")[b % 2])) is not None:
        world.machines.kill_keeper(slot)


def reboot(world: World, a: int, b: int) -> None:
    world.machines.reboot(_machine(world, a))


def cut_off(world: World, a: int, b: int) -> None:
    machine = _machine(world, a).machine
    world.fate.cut.add(machine.host)
    world.gate.script(machine, (Mishap.UNREACHABLE, Mishap.SILENT, Mishap.HOST_KEY_CHANGED)[b % 3])


def reconnect(world: World, a: int, b: int) -> None:
    world.fate.cut.clear()
    for machine in world.machines.all:
        world.gate.mend(machine)


def start_fails(world: World, a: int, b: int) -> None:
    _machine(world, a).failing_starts = 1 + b % 2


def kill_runner(world: World, a: int, b: int) -> None:
    if (run := pick([run for run in world.machines.runners.runs if run.alive], a)) is not None:
        world.machines.kill_runner(run)


def crash_program(world: World, a: int, b: int) -> None:
    if (run := pick([run for run in world.machines.runners.runs if run.alive], a)) is not None:
        world.machines.runners.crash(run)


def slow_files(world: World, a: int, b: int) -> None:
    world.machines.runners.lag = float((0, 5, 45)[a % 3])


def delete_record(world: World, a: int, b: int) -> None:
    slot = _slot(world, a, "head")
    if slot is not None and slot.head is not None and (found := pick(sorted(slot.head.jobs), b)) is not None:
        del slot.head.jobs[found]


def stop_by_hand(world: World, a: int, b: int) -> None:
    slot = _slot(world, a, "head")
    if slot is not None and slot.head is not None and (found := pick(sorted(slot.head.jobs), b)) is not None:
        world.machines.ray.stop(slot.head, slot.head.jobs[found])


# Doors and disks.


def ray_fault(world: World, a: int, b: int) -> None:
    verb = ("submit", "submit", "submit", "stop", "delete", "drain", "look")[a % 7]
    world.fake_ray.fail(verb, list(Fault)[b % len(Fault)])


def gate_fault(world: World, a: int, b: int) -> None:
    mishaps = [m for m in Mishap if m is not Mishap.HOST_KEY_CHANGED]
    world.gate.script(_machine(world, a).machine, mishaps[b % len(mishaps)], times=1 + a % 2)


def late_request(world: World, a: int, b: int) -> None:
    world.fate.late = float((3, 30, 150)[a % 3])


def slow_effect(world: World, a: int, b: int) -> None:
    if world.daemon is not None:
        world.daemon.hands.slow = float((3, 25)[a % 2])


def disk_fault(world: World, a: int, b: int) -> None:
    files = (world.state, world.shared, world.status)[a % 3]
    step = ("", "write", "flush", "name", "flush folder", "open")[b % 6]
    number = (errno.ENOSPC, errno.EIO, errno.ESTALE, errno.EDQUOT, errno.EROFS)[b % 5]
    files.fail(number, step=step, times=1 + a % 4)


def disk_full(world: World, a: int, b: int) -> None:
    (world.state, world.shared, world.status)[a % 3].fail(errno.ENOSPC, step="write", times=40)


def unmount(world: World, a: int, b: int) -> None:
    world.shared.mounted = False


def disks_well(world: World, a: int, b: int) -> None:
    for files in (world.state, world.shared, world.status):
        files.mend()


# The daemon.


def die_at_door(world: World, a: int, b: int) -> None:
    world.fate.die_at = world.fate.points + 1 + a % 12
    world.power_fails = b % 3 == 0


def die_at_disk(world: World, a: int, b: int) -> None:
    files = (world.state, world.state, world.shared, world.status)[b % 4]
    files.die_at = files.steps + 1 + a % 40
    world.power_fails = a % 3 == 0


def restart(world: World, a: int, b: int) -> None:
    world.died("restarted")


def overtake(world: World, a: int, b: int) -> None:
    if world.daemon is not None and world.daemon.fault is None:
        former, world.daemon = world.daemon, None
        world._mortal(world._once)
        following: Daemon | None = world.daemon
        if following is not None and following.fault is None:
            world.former = former


def set_clock(world: World, a: int, b: int) -> None:
    world.clock.set_wall(timedelta(hours=(1, -1, 24, -24)[a % 4]))


def old_ledger(world: World, a: int, b: int) -> None:
    """Take a backup now; the next of these events puts it back while the daemon is down."""
    if world.newest is not None:
        return
    if world.backup is None:
        world.backup = copy.deepcopy(world.state._folders)
        return
    world.died("its state directory is restored from a backup")
    world.newest, world.state._folders = world.state._folders, world.backup
    world.backup = None


def lost_ledger(world: World, a: int, b: int) -> None:
    if world.newest is None:
        world.died("its state directory is lost")
        world.newest, world.state._folders = world.state._folders, type(world.state)()._folders


def newest_ledger(world: World, a: int, b: int) -> None:
    world.bring_back_ledger()
