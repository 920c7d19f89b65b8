"""What goes wrong with the source, machines, Ray, doors and disks."""

import errno
import json
import random
from collections import Counter
from dataclasses import replace

from reconciler.model.machine import Machine
from tests.fakes.gate import Mishap
from tests.fakes.job_runner import Run
from tests.fakes.ray import Fault
from tests.fakes.signer import FakeSigner
from tests.fakes.slot import FakeMachine, Slot
from tests.simulator.agreed import key_of
from tests.simulator.people import TEAMS
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


def unreadable_edit(world: World, a: int, b: int) -> None:
    """Let somebody push a content that nobody can read: a missing object."""
    if (uid := pick([u for u, wish in world.people.jobs.items() if not wish.broken], a)) is not None:
        world.people.edit(uid)
        world.source.hide(world.people.jobs[uid].document())
        world.people.commit()


def unreadable_folder(world: World, a: int, b: int) -> None:
    """Let a folder be unreadable, rather one of a small team: few removals pass the brakes."""
    jobs = Counter(wish.team for wish in world.people.jobs.values())
    world.source.lock(f"teams/{min(jobs, key=lambda team: (jobs[team], team), default=TEAMS[a % 2])}/jobs/")


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
    _cut_off(world, _machine(world, a).machine, b)


def _cut_off(world: World, machine: Machine, how: int = 0) -> None:
    world.fate.cut.add(machine.host)
    world.gate.script(machine, (Mishap.UNREACHABLE, Mishap.SILENT, Mishap.SILENT, Mishap.HOST_KEY_CHANGED)[how % 4])


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


def crash_renamed(world: World, a: int, b: int) -> None:
    """Rename a job that runs and may be tried again, and let its program crash."""
    wish = world.people.new(replace(world.some_wish(random.Random(a)), nodes=1, seconds=60, retry=2))
    world.people.commit()
    world.live(15)
    if wish.uid in world.people.jobs:
        world.people.steer(wish.uid, name=f"j{wish.uid}-{world.people.commits}")
        world.people.commit()
        world.live(5)
    for run in world.machines.runners.runs:
        if run.alive and key_of(run)[0] == wish.uid:
            world.machines.runners.crash(run)


def stranger_takes_number(world: World, a: int, b: int) -> None:
    """Kill a runner, and let somebody else's process get its number before anybody looks."""
    if (run := pick([run for run in world.machines.runners.runs if run.alive], a)) is not None:
        world.machines.runners.kill(run)
        world.machines.runners.take_number(run)


def forge_head_file(world: World, a: int, b: int) -> None:
    """Let somebody write a head file: unsigned, by another key, of another cluster, or none at all."""
    cluster, other = pick(list(world.people.clusters), a), pick(list(world.people.clusters), a + 1)
    named = (cluster, cluster, f"not-{other}")[b % 3]
    payload = json.dumps({"cluster": named, "epoch": 1000, "session": "forged", "host": "203.0.113.9"})
    signer = FakeSigner(("nobody", "another key", "key")[b % 3])
    data = json.dumps({"payload": payload, "signature": signer.sign(payload.encode())}).encode()
    data = data if b % 5 else data[: len(data) // 2]
    world.forged.add(data)
    world.shared.write_elsewhere(f".rayops/clusters/{cluster}/head.json", data)


def slow_files(world: World, a: int, b: int) -> None:
    world.machines.runners.lag = float((0, 5, 45)[a % 3])


def end_unseen(world: World, a: int, b: int) -> None:
    """Let a program end well while files are slow, and Ray forget it."""
    world.machines.runners.lag = 45.0
    if (run := pick([run for run in world.machines.runners.runs if run.alive], a)) is not None:
        world.machines.runners.finish(run)
        _forget(world, run)


def lose_sight(world: World, a: int, b: int) -> None:
    """Cut off a machine on which a job runs, and let Ray forget the job."""
    if (run := pick([run for run in world.machines.runners.runs if run.alive], a)) is not None:
        _cut_off(world, next(machine for machine in world.machines.all if machine.host == run.place.host))
        _forget(world, run)


def _forget(world: World, run: Run) -> None:
    for _, slot in world.machines.slots():
        if slot.role == "head" and slot.head is not None:
            slot.head.jobs.pop(run.submission_id, None)


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


def late_stop(world: World, a: int, b: int) -> None:
    """Let what asks a node to stop be late, until after the node was started again."""
    pool = pick(list(world.people.pools), b)
    world.people.change(pool, edit=world.people.commits)
    world.people.commit()
    world.fate.late, world.fate.late_verb = float((45, 90, 150)[a % 3]), "stop"


def slow_effect(world: World, a: int, b: int) -> None:
    if world.daemon is not None:
        world.daemon.hands.slow = float((3, 25)[a % 2])


def disk_fault(world: World, a: int, b: int) -> None:
    files = (world.state, world.shared, world.status)[a % 3]
    step = ("", "write", "flush", "name", "flush folder", "open")[b % 6]
    number = (errno.ENOSPC, errno.EIO, errno.ESTALE, errno.EDQUOT, errno.EROFS)[b % 5]
    files.fail(number, step=step, times=1 + a % 4)


def publish_fails(world: World, a: int, b: int) -> None:
    """Let the disk say no while the next head is published."""
    step = ("open", "write", "flush", "name")[b % 4]
    world.shared.fail(errno.ENOSPC, step=step, path=".rayops/clusters/", times=1 + a % 2)
    kill_head(world, a, b)


def disk_full(world: World, a: int, b: int) -> None:
    (world.state, world.shared, world.status)[a % 3].fail(errno.ENOSPC, step="write", times=40)


def unmount(world: World, a: int, b: int) -> None:
    world.shared.mounted = False


def lose_share(world: World, a: int, b: int) -> None:
    """Let machines of a pool lose the shared directory, perhaps all, and a job come: nothing begins there now."""
    pool = pick(list(world.people.pools), a)
    nodes = world.people.nodes(pool)[a % 2 :]
    hosts = {machine.machine.host for machine, slot in world.machines.slots() if slot.node in nodes}
    world.machines.runners.blind.update(hosts)
    world.people.new(replace(world.some_wish(random.Random(b)), pool=pool, nodes=1))
    world.people.commit()


def disks_well(world: World, a: int, b: int) -> None:
    for files in (world.state, world.shared, world.status):
        files.mend()
    world.machines.runners.blind.clear()
