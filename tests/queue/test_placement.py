"""The queue: FIFO within priority, whole gangs on distinct nodes, and no pool that waits for another."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.ids import ObjectId
from reconciler.model.moment import Moment
from reconciler.model.plan import Reason
from reconciler.queue.placement import Placement, Priority, Room, Waiting, place

START = Moment(datetime(2026, 3, 1, tzinfo=UTC), "boot", 0.0)


def job(name: str, nodes: int = 1, age: int = 0, priority: Priority = Priority.NORMAL, pool: str = "p") -> Waiting:
    """Return a job that waits for `age` seconds."""
    return Waiting(ObjectId("Job", "rl", name), pool, priority, START + timedelta(seconds=-age), nodes, 4)


def room(free: int, in_service: int | None = None, cluster: str = "main") -> Room:
    """Return a pool with free nodes `n0`, `n1`, …"""
    names = tuple(f"n{number}" for number in range(free))
    return Room(cluster, in_service if in_service is not None else free, names)


def admitted(placement: Placement) -> dict[str, int]:
    return {who.name: len(nodes) for who, nodes in placement.admitted.items()}


def reasons(placement: Placement) -> dict[str, Reason]:
    return {who.name: because.reason for who, because in placement.blocked.items()}


def test_the_oldest_goes_first() -> None:
    answer = place([job("new", age=1), job("old", age=9)], {"p": room(1)}, {"main": 9})
    assert admitted(answer) == {"old": 1}
    assert reasons(answer) == {"new": Reason.WAITS_FOR_NODES}


def test_priority_goes_before_age() -> None:
    jobs = [job("old", age=9), job("urgent", priority=Priority.HIGH), job("idle", age=99, priority=Priority.LOW)]
    answer = place(jobs, {"p": room(2)}, {"main": 9})
    assert admitted(answer) == {"urgent": 1, "old": 1}


def test_jobs_of_one_age_have_an_order_too() -> None:
    one, other = job("a"), job("b")
    for jobs in ([one, other], [other, one]):
        assert admitted(place(jobs, {"p": room(1)}, {"main": 9})) == {"a": 1}


def test_a_large_gang_keeps_its_turn() -> None:
    answer = place([job("gang", 3, age=9), job("small", age=1)], {"p": room(2, in_service=3)}, {"main": 9})
    assert not answer.admitted
    assert reasons(answer) == {"gang": Reason.WAITS_FOR_NODES, "small": Reason.BEHIND_OTHERS}


def test_a_gang_larger_than_its_pool_keeps_nobody_waiting() -> None:
    answer = place([job("gang", 4, age=9), job("small", age=1)], {"p": room(2, in_service=3)}, {"main": 9})
    assert admitted(answer) == {"small": 1}
    assert reasons(answer) == {"gang": Reason.TOO_LARGE_NOW}


def test_a_full_head_takes_no_more_though_nodes_are_free() -> None:
    answer = place([job("a", age=2), job("b", age=1)], {"p": room(2)}, {"main": 1})
    assert admitted(answer) == {"a": 1}
    assert reasons(answer) == {"b": Reason.HEAD_FULL}


@pytest.mark.parametrize("left", [0, -3])
def test_a_head_above_its_bound_takes_none(left: int) -> None:
    assert not place([job("a")], {"p": room(2)}, {"main": left}).admitted


def test_a_blocked_pool_blocks_no_other() -> None:
    rooms = {"p": room(0, in_service=1), "q": room(1)}
    answer = place([job("a", age=9), job("b", pool="q")], rooms, {"main": 9})
    assert admitted(answer) == {"b": 1}


def test_everybody_has_a_place_in_the_order() -> None:
    answer = place(
        [job("b", age=1), job("a", age=9), job("c", pool="q")], {"p": room(1), "q": room(0)}, {"main": 9}
    )
    assert {pool: [who.name for who in order] for pool, order in answer.order.items()} == {
        "p": ["a", "b"],
        "q": ["c"],
    }


SITES = st.dictionaries(
    st.sampled_from("pqr"), st.tuples(st.integers(0, 5), st.integers(0, 3), st.sampled_from("xy"))
)
JOBS = st.lists(st.tuples(st.integers(1, 5), st.integers(0, 9), st.sampled_from(Priority), st.sampled_from("pqr")))


def drawn(
    site: dict[str, tuple[int, int, str]], jobs: list[tuple[int, int, Priority, str]]
) -> tuple[list[Waiting], dict[str, Room]]:
    rooms = {pool: room(free, free + more, cluster) for pool, (free, more, cluster) in site.items()}
    waiting = [job(f"j{number}", *each[:3], each[3]) for number, each in enumerate(jobs) if each[3] in rooms]
    return waiting, rooms


@given(SITES, JOBS, st.integers(0, 5))
def test_nobody_gets_a_node_that_somebody_else_has(
    site: dict[str, tuple[int, int, str]], jobs: list[tuple[int, int, Priority, str]], cap: int
) -> None:
    waiting, rooms = drawn(site, jobs)
    answer = place(waiting, rooms, {"x": cap, "y": cap})
    for pool, each in rooms.items():
        given_out = [node for w in waiting if w.pool == pool for node in answer.admitted.get(w.job, ())]
        assert len(given_out) == len(set(given_out))
        assert set(given_out) <= set(each.free)
    assert all(len(answer.admitted[w.job]) == w.nodes for w in waiting if w.job in answer.admitted)
    for cluster in "xy":
        assert sum(1 for w in waiting if w.job in answer.admitted and rooms[w.pool].cluster == cluster) <= cap


@given(SITES, JOBS, st.integers(0, 5))
def test_everybody_is_admitted_or_told_why(
    site: dict[str, tuple[int, int, str]], jobs: list[tuple[int, int, Priority, str]], cap: int
) -> None:
    waiting, rooms = drawn(site, jobs)
    answer = place(waiting, rooms, {"x": cap, "y": cap})
    assert answer.admitted.keys() | answer.blocked.keys() == {w.job for w in waiting}
    assert not answer.admitted.keys() & answer.blocked.keys()


@given(SITES, JOBS, st.integers(0, 5))
def test_nobody_is_overtaken_in_a_pool_by_a_job_that_comes_later(
    site: dict[str, tuple[int, int, str]], jobs: list[tuple[int, int, Priority, str]], cap: int
) -> None:
    waiting, rooms = drawn(site, jobs)
    answer = place(waiting, rooms, {"x": cap, "y": cap})
    for w in waiting:
        because = answer.blocked.get(w.job)
        if because is not None and because.reason is not Reason.TOO_LARGE_NOW:
            later = [o for o in waiting if o.pool == w.pool and o.order > w.order]
            assert not [o for o in later if o.job in answer.admitted]


@given(SITES, JOBS, st.integers(0, 5), st.randoms(use_true_random=False))
def test_the_order_in_which_jobs_are_found_changes_nothing(
    site: dict[str, tuple[int, int, str]], jobs: list[tuple[int, int, Priority, str]], cap: int, chance: object
) -> None:
    waiting, rooms = drawn(site, jobs)
    mixed = list(waiting)
    chance.shuffle(mixed)  # type: ignore[attr-defined]  # Hypothesis hands in a Random that it can replay
    one, other = (place(each, rooms, {"x": cap, "y": cap}) for each in (waiting, mixed))
    assert one == other


@given(SITES, JOBS)
def test_without_a_bound_a_pool_decides_for_itself(
    site: dict[str, tuple[int, int, str]], jobs: list[tuple[int, int, Priority, str]]
) -> None:
    waiting, rooms = drawn(site, jobs)
    together = place(waiting, rooms, {"x": 99, "y": 99})
    for pool, each in rooms.items():
        alone = place([w for w in waiting if w.pool == pool], {pool: each}, {"x": 99, "y": 99})
        assert alone.admitted == {
            w.job: together.admitted[w.job] for w in waiting if w.pool == pool and w.job in together.admitted
        }
