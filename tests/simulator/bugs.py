"""A museum of planted bugs: each is a mistake that somebody might make, and the simulator must find it.

They are planted from outside; the code under test knows nothing of them. A promise that no bug here can break is
a promise that nobody checks.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.simulator.events import story
from tests.simulator.museum import jobs, leaders, wishes
from tests.simulator.museum.patch import Bug
from tests.simulator.run import Found, play

# Which seed finds each bug first: `python -m tests.simulator --bugs --seeds 100` searches, and writes this.
FINDS = Path(__file__).parent / "museum" / "finds.json"

BUGS: tuple[Bug, ...] = (
    # Attempts.
    jobs.unknown_is_not_done,
    jobs.another_id_for_the_same_attempt,
    jobs.a_gone_process_has_no_result,
    jobs.asked_is_stopped,
    jobs.a_lost_record_is_a_lost_job,
    jobs.numbers_are_forgotten,
    jobs.every_failure_is_tried_again,
    jobs.what_never_began_has_failed,
    jobs.taken_nodes_are_free,
    jobs.a_machine_is_its_name,
    jobs.a_removed_job_is_forgotten,
    jobs.a_drain_does_not_wait,
    jobs.a_held_drain_has_a_deadline,
    jobs.a_suspended_pool_has_deadlines,
    jobs.a_limit_is_that_of_the_beginning,
    jobs.a_claim_is_no_claim,
    jobs.a_claim_may_be_taken_twice,
    jobs.a_retry_does_not_look,
    jobs.any_pool_will_do,
    jobs.any_node_will_do,
    jobs.an_argument_is_split,
    jobs.a_shell_reads_the_environment,
    jobs.a_token_is_told,
    # Leaders, ledgers, heads and machines.
    leaders.no_intent,
    leaders.silence_means_gone,
    leaders.the_epoch_stays,
    leaders.the_ledger_is_not_flushed,
    leaders.an_overtaken_leader_goes_on,
    leaders.a_silent_head_is_gone,
    leaders.no_gate_heeds_terms,
    leaders.a_stop_names_no_generation,
    leaders.a_number_is_a_process,
    leaders.any_head_file_is_believed,
    leaders.the_head_file_is_written_in_place,
    leaders.any_session_is_published,
    leaders.an_old_head_is_published_again,
    leaders.a_ledger_of_yesterday_is_believed,
    leaders.a_lost_ledger_is_an_empty_one,
    leaders.two_heads_for_a_while,
    leaders.a_pause_is_a_silence,
    leaders.nobody_has_patience,
    # What people want and are told.
    wishes.no_brakes,
    wishes.the_brake_forgets,
    wishes.one_approval_for_all,
    wishes.stops_are_not_weighed,
    wishes.drains_are_not_weighed,
    wishes.an_unreadable_file_is_a_deleted_one,
    wishes.an_unreadable_folder_is_an_empty_one,
    wishes.a_broken_file_is_a_deleted_one,
    wishes.a_broken_file_stops_everybody,
    wishes.a_rewritten_history_is_followed,
    wishes.of_two_files_one_wins,
    wishes.a_rename_is_a_removal,
    wishes.a_renamed_job_begins_at_zero,
    wishes.a_priority_is_an_edit,
    wishes.a_plan_follows_the_order_of_files,
    wishes.one_silent_machine_stops_everybody,
    wishes.what_failed_is_never_tried_again,
    wishes.status_is_as_of_its_writing,
    wishes.status_names_the_first_spec,
    wishes.status_is_always_new,
    wishes.a_rule_stumbles,
)


# Bugs that are about a promise of which a deeper one is mostly seen broken before.
AIMS = {
    jobs.a_claim_may_be_taken_twice: "I1",
    leaders.a_ledger_of_yesterday_is_believed: "I26",
    leaders.two_heads_for_a_while: "I20",
    wishes.a_rename_is_a_removal: "I37",
}


@dataclass(frozen=True, slots=True)
class Find:
    """Which seed finds a bug first, and by which promise."""

    seed: int
    promise: str


def known() -> dict[str, Find]:
    """Return by which seed every bug was found when somebody searched last."""
    return {name: Find(**find) for name, find in json.loads(FINDS.read_text()).items()}


def keep(finds: Mapping[str, Find]) -> None:
    """Write down by which seed every bug was found."""
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(asdict(find))}" for name, find in finds.items())
    FINDS.write_text(f"{{\n{lines}\n}}\n")


def row(bug: Bug, find: Find | None) -> str:
    """Return what the page about tests says of a bug."""
    told = f"{find.seed + 1} | {find.promise}" if find is not None else "not found | none"
    return f"| `{bug.__name__}` | {(bug.__doc__ or '').strip()} | {told} |"


@contextmanager
def planted(bug: Bug) -> Iterator[None]:
    """Let a bug be there for a while."""
    before = []
    for owner, name, patch in bug():
        before.append((owner, name, getattr(owner, name)))
        setattr(owner, name, patch)
    try:
        yield
    finally:
        for owner, name, original in reversed(before):
            setattr(owner, name, original)


def first_find(bug: Bug, seeds: Iterable[int]) -> Found | None:
    """Return what the first of these seeds finds while a bug is there, if need be about the promise it aims at."""
    with planted(bug):
        found = (play(seed, story(seed))[0] for seed in seeds)
        return next((each for each in found if each is not None and AIMS.get(bug) in {None, each.promise}), None)
