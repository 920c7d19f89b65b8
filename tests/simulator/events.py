"""Stories: what happens in a world, one event after the other; data, so that a shorter story can be tried."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from tests.simulator import faults, lives, wishes
from tests.simulator.world import World

Happening = Callable[[World, int, int], None]


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happens; then `wait` seconds pass."""

    name: str
    a: int = 0
    b: int = 0
    wait: float = 1.0

    def happen(self, world: World) -> None:
        """Let it happen, and time pass."""
        world.say(f"{world.seconds:.1f} event {self.name} {self.a} {self.b}")
        ALL[self.name](world, self.a, self.b)
        world.live(self.wait)


PEOPLE: dict[Happening, int] = {
    wishes.new_job: 8,
    wishes.edit_job: 5,
    wishes.edit_many: 1,
    wishes.steer_job: 2,
    wishes.remove_job: 4,
    wishes.remove_many: 1,
    wishes.remove_many_beside_a_broken_file: 2,
    wishes.revert_removal: 2,
    wishes.rename_job: 3,
    wishes.suspend_job: 2,
    wishes.stop_job: 2,
    wishes.break_file: 2,
    wishes.new_broken_file: 1,
    wishes.two_files_one_name: 1,
    wishes.remove_all: 1,
    wishes.drain_node: 2,
    wishes.undrain: 1,
    wishes.edit_pool: 1,
    wishes.edit_head: 1,
    wishes.move_head: 1,
    wishes.approve: 2,
}

# What people want of machines, beside all that, in some seeds.
MACHINES: dict[Happening, int] = {
    wishes.drain_many: 2,
    wishes.drain_suspended: 2,
    wishes.suspend_pool: 1,
    wishes.suspend_cluster: 1,
    wishes.move_pool: 3,
    wishes.rename_node: 3,
    wishes.lend_node: 3,
}
ABOUT_MACHINES = 0.3

# Each seed takes some of these groups: all faults at once hide each other.
FAULTS: tuple[dict[Happening, int], ...] = (
    {
        faults.rewrite_history: 1,
        faults.delete_branch: 1,
        faults.restore_branch: 2,
        faults.source_down: 2,
        faults.unreadable_edit: 3,
        faults.unreadable_folder: 3,
        faults.source_up: 3,
    },
    {faults.kill_head: 2, faults.freeze_head: 2, faults.thaw_heads: 3, faults.forge_head_file: 2},
    {faults.kill_raylet: 2, faults.kill_keeper: 1},
    {faults.reboot: 2, lives.doze: 3},
    {faults.cut_off: 3, faults.reconnect: 3},
    {faults.start_fails: 2, faults.slow_effect: 2},
    {
        faults.kill_runner: 2,
        faults.crash_program: 2,
        faults.crash_renamed: 1,
        faults.slow_files: 2,
        faults.stranger_takes_number: 2,
    },
    {
        faults.delete_record: 2,
        faults.stop_by_hand: 2,
        faults.end_unseen: 2,
        faults.lose_sight: 2,
        faults.reconnect: 1,
    },
    {faults.ray_fault: 6, faults.late_request: 2},
    {faults.gate_fault: 6, faults.late_request: 2, faults.late_stop: 2},
    {faults.disk_fault: 5, faults.disk_full: 1, faults.publish_fails: 2, faults.disks_well: 2},
    {faults.unmount: 1, faults.lose_share: 2, faults.disks_well: 1},
    {lives.die_at_door: 5, lives.die_at_disk: 5, lives.restart: 1, lives.upgrade: 1},
    {lives.overtake: 2, lives.set_clock: 2, lives.doze: 3},
    {lives.old_ledger: 2, lives.lost_ledger: 1, lives.ledger_of_yesterday: 1, lives.newest_ledger: 4},
)

ALL: dict[str, Happening] = {
    happening.__name__: happening for group in (PEOPLE, MACHINES, *FAULTS) for happening in group
}


def story(seed: int, length: int = 25) -> list[Event]:
    """Return what happens in the world of a seed."""
    chance = random.Random(f"story {seed}")
    groups = chance.sample(FAULTS, chance.randint(0, 4))
    weights: dict[Happening, int] = {**PEOPLE}
    for group in groups:
        weights.update({each: weight * 2 for each, weight in group.items()})
    told = _some(chance, weights, chance.randint(5, length))
    also = random.Random(f"about machines {seed}")
    if also.random() < ABOUT_MACHINES:
        for event in _some(also, MACHINES, also.randint(2, 6)):
            told.insert(also.randint(0, len(told)), event)
    return told


def _some(chance: random.Random, weights: dict[Happening, int], count: int) -> list[Event]:
    names = chance.choices(list(weights), list(weights.values()), k=count)
    waits = (0.0, 1.0, 1.0, 3.0, 10.0, 30.0, 90.0)
    return [
        Event(each.__name__, chance.randrange(1000), chance.randrange(1000), chance.choice(waits)) for each in names
    ]
