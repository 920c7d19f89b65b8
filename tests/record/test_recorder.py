"""Promise: what the recorder writes pass by pass is what it would write of the last world alone."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.kinds import ALL
from reconciler.loop import settled_plan
from reconciler.model.ids import ObjectId
from reconciler.model.plan import Because, Reason
from reconciler.model.world import World
from reconciler.record.history import History
from reconciler.record.recorder import Recorder
from reconciler.record.scribe import Scribe
from reconciler.record.status import StatusWriter
from reconciler.record.text import Redaction, written
from reconciler.record.touched import Told
from tests.fakes.files import FakeFiles
from tests.kinds.desired_words import desired_of
from tests.kinds.shorthand import world_of
from tests.promises.worlds import worlds
from tests.record.clock import HandClock


class Site:
    """A status directory and its recorder."""

    def __init__(self, files: FakeFiles | None = None) -> None:
        clock, self.files = HandClock(), files or FakeFiles()
        self.status = StatusWriter(self.files, clock, Redaction())
        self.recorder = Recorder(Scribe(self.status, History(self.files, clock, Redaction())), ALL, clock)

    def record(self, world: World) -> None:
        plan, after = settled_plan(world, ALL)
        self.recorder.record(after, plan, (), None, "")

    def says(self) -> dict[str, Mapping[str, Any]]:
        """Return what all documents say, without since when and after what."""
        found = {path: orjson.loads(self.files.read(path) or b"") for path in self.status.paths()}
        for each in found.values():
            for node in each["detail"]["nodes"] if each["kind"] == "NodePool" else ():
                del node["since"]
        return {path: {key: each[key] for key in SAID} for path, each in found.items()}


SAID = ("kind", "metadata", "state", "sync", "health", "reason", "message", "detail")


def afresh(world: World) -> dict[str, Mapping[str, Any]]:
    site = Site()
    site.record(world)
    return site.says()


@settings(max_examples=40, deadline=None)
@given(st.lists(worlds(), min_size=2, max_size=4))
def test_pass_by_pass_is_the_same_as_the_last_world_alone(passes: list[World]) -> None:
    site = Site()
    for world in passes:
        site.record(world)
    assert site.says() == afresh(passes[-1])


@settings(max_examples=40, deadline=None)
@given(worlds(), worlds(), worlds())
def test_what_an_overtaken_daemon_still_writes_is_set_right_by_the_next_pass(
    one: World, two: World, old: World
) -> None:
    leader = Site()
    overtaken = Site(leader.files)
    overtaken.record(one)
    leader.record(two)
    overtaken.record(old)
    leader.record(two)
    assert leader.says() == afresh(two)


@settings(max_examples=40, deadline=None)
@given(worlds(), st.timedeltas(timedelta(0), timedelta(days=3)))
def test_what_time_alone_changes_is_told_too(world: World, later: timedelta) -> None:
    site = Site()
    site.record(world)
    after = replace(world, now=world.now + later)
    site.record(after)
    assert site.says() == afresh(after)


def test_a_job_is_told_about_when_only_its_file_its_place_or_its_problem_changed() -> None:
    before = world_of({"desired": {"job/rl/a": {}, "job/rl/b": {}}, "ledger": {"job/rl/a": "queued"}})
    suspended = desired_of({"job/rl/a": {"suspend": True}, "job/rl/b": {}})
    impossible = replace(before.desired, problems={ObjectId("Job", "rl", "b"): ("there is no such user",)})
    placed = settled_plan(before, ALL)[0]
    otherwise = replace(placed, holds=tuple(replace(each, because=OTHERWISE) for each in placed.holds))
    assert placed.holds
    told = Told.of(before, placed)
    changed = {
        "the file": Told.of(replace(before, desired=suspended), placed),
        "the place": Told.of(before, otherwise),
        "the problem": Told.of(replace(before, desired=impossible), placed),
        "nothing": Told.of(before, placed),
    }
    touched = {what: {each.name for each in after.touched_since(told)} for what, after in changed.items()}
    assert touched["the place"] == {each.target.name for each in placed.holds}
    assert "a" in touched["the file"]
    assert touched["the problem"] == {"b"}
    assert touched["nothing"] == set()


OTHERWISE = Because(Reason.HEAD_FULL, "another reason")


def test_nothing_is_told_as_of_later_than_its_head_answered() -> None:
    case = {
        "desired": {"cluster/main": {}},
        "ledger": {"cluster/main": "running"},
        "observed": {"head/main": {"ago": "50s"}},
    }
    world = world_of(case)
    site = Site()
    site.record(world)
    said = orjson.loads(site.files.read("cluster/main.json") or b"")
    assert said["state"] == "Ready"
    assert said["observed"]["asOf"] == written((world.now + timedelta(seconds=-50)).wall)
