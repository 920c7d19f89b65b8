"""Bugs about what people want, what holds it back, and what they are told."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import import_module
from typing import Any

import reconciler.desired.parse as desired_parse
import reconciler.execute.settle as execute_settle
import reconciler.plan.planner as plan_planner
import reconciler.record.recorder as record_recorder
import reconciler.record.status as record_status
from reconciler.desired.load import Loader
from reconciler.execute.backoff import after_failure
from reconciler.model.desired import Desired
from reconciler.model.ids import ObjectId
from reconciler.model.json import digest
from reconciler.model.plan import Plan
from reconciler.model.shares import Load
from reconciler.model.sighting import Unreachable
from reconciler.model.snapshot import Snapshot, SourceProblem
from reconciler.model.spec import spec_digest
from reconciler.model.views import object_id
from reconciler.plan import brakes
from reconciler.plan.planner import settled
from reconciler.record.document import document
from tests.fakes.source import FakeSource
from tests.simulator.museum.patch import Patch

job_plan = import_module("reconciler.kinds.job.plan")


def no_brakes() -> list[Patch]:
    """Whatever leaves the repo goes at once, all of it if need be."""
    load, weigh = brakes._removals, brakes._stops

    def removals(*given: Any) -> Any:
        return replace(load(*given), allowed=1000)

    def stops(*given: Any) -> Any:
        return replace(weigh(*given), allowed=1000)

    return [(brakes, "_removals", removals), (brakes, "_stops", stops)]


def the_brake_forgets() -> list[Patch]:
    """What a broken file holds back is not weighed until it is mended."""
    leaving = brakes._leaving

    def certain(world: Any) -> list[str]:
        return [k for k in leaving(world) if not brakes._perhaps_elsewhere(world, object_id(k))]

    return [(brakes, "_leaving", certain)]


def one_approval_for_all() -> list[Patch]:
    """An approval names the brake, and not what it holds."""
    return [(Load, "digest", property(lambda self: digest(self.brake)))]


def stops_are_not_weighed() -> list[Patch]:
    """Any number of running jobs may be stopped by one edit."""
    weigh = brakes._stops
    return [(brakes, "_stops", lambda *given: replace(weigh(*given), allowed=1000))]


def drains_are_not_weighed() -> list[Patch]:
    """Any number of a pool's nodes may leave at once."""
    return [(brakes, "held_drains", lambda _: {})]


def an_unreadable_file_is_a_deleted_one() -> list[Patch]:
    """A content that cannot be read counts as gone."""
    return _gone(lambda found: found is None)


def a_broken_file_is_a_deleted_one() -> list[Patch]:
    """A file with a mistake in it counts as gone."""
    return _gone(lambda found: isinstance(found, tuple))


def _gone(counts: Callable[[Any], bool]) -> list[Patch]:
    judge = Loader._judge

    def judges(self: Loader, path: str, content_id: str, found: Any, touched: set[ObjectId]) -> None:
        if counts(found):
            touched |= self._forget(path)
        else:
            judge(self, path, content_id, found, touched)

    return [(Loader, "_judge", judges)]


def an_unreadable_folder_is_an_empty_one() -> list[Patch]:
    """A folder that cannot be read counts as one without files, and what was in it is removed."""
    latest = FakeSource.latest

    def listed(self: FakeSource, applied: str | None, accepted: frozenset[str] = frozenset()) -> Any:
        folder, self.unreadable = self.unreadable, ""
        found = latest(self, applied, accepted)
        self.unreadable = folder
        if not folder or isinstance(found, SourceProblem):
            return found
        return Snapshot(found.revision, {p: c for p, c in found.files.items() if not p.startswith(folder)})

    return [(FakeSource, "latest", listed)]


def a_broken_file_stops_everybody() -> list[Patch]:
    """A revision with a mistake in any file is not taken in at all."""
    load = Loader.load

    def loads(self: Loader, snapshot: Any, read: Any) -> Desired:
        before = self._desired
        found = load(self, snapshot, read)
        if found.errors and before.revision:
            self._desired = before
        return self._desired

    return [(Loader, "load", loads)]


def a_rewritten_history_is_followed() -> list[Patch]:
    """Nobody looks whether a revision descends from the applied one."""
    return [(FakeSource, "_descends", lambda *_: True)]


def of_two_files_one_wins() -> list[Patch]:
    """An object that two files describe is what one of them says."""
    accept = Loader._accept

    def accepts(self: Loader, who: ObjectId, unsettled: frozenset[str]) -> Any:
        paths = self._claims.get(who, ())
        if len(paths) > 1:
            self._claims[who] = (max(paths),)
        accepted = accept(self, who, unsettled)
        if paths:
            self._claims[who] = paths
        return accepted

    return [(Loader, "_accept", accepts)]


def a_rename_is_a_removal() -> list[Patch]:
    """An object under another name is another object."""
    return [(plan_planner, "moves", lambda _: ()), (plan_planner, "perhaps_moved", lambda _: {})]


def a_priority_is_an_edit() -> list[Patch]:
    """What only steers a job counts as a change of what it runs."""

    def digest_of_all(document: Any) -> str:
        steered = getattr(document.spec, "priority", "")
        return digest([spec_digest(document), steered, dict(document.metadata.labels)])

    return [(desired_parse, "spec_digest", digest_of_all)]


def a_plan_follows_the_order_of_files() -> list[Patch]:
    """Jobs are decided about in the order in which they were found."""
    restless = job_plan.restless

    def as_found(world: Any) -> list[ObjectId]:
        wanted = Counter(restless(world))
        return [who for who in world.desired.objects if who in wanted]

    return [(job_plan, "restless", as_found)]


def one_silent_machine_stops_everybody() -> list[Patch]:
    """Nothing is done while anything cannot be seen."""

    def waits(world: Any, planners: Mapping[str, Any]) -> tuple[Plan, Any]:
        seen = world.observed
        tables = (seen.heads, seen.slots, seen.attempts, seen.claims)
        blind = any(isinstance(each, Unreachable) for table in tables for each in table.values())
        plan, world = settled(world, planners)
        return (replace(plan, actions=()) if blind else plan), world

    return [(import_module("reconciler.loop"), "settled", waits)]


def what_failed_is_never_tried_again() -> list[Patch]:
    """A back-off has no end."""
    return [(execute_settle, "after_failure", lambda *given: replace(after_failure(*given), until=None))]


def status_is_as_of_its_writing() -> list[Patch]:
    """What was seen a minute ago is told as of now."""
    return [(record_recorder, "_looked_at", lambda _: None)]


def status_names_the_first_spec() -> list[Patch]:
    """What is told of an object names the spec that it had when it was told first."""

    def as_first(status: Any, before: Any, *given: Any) -> Any:
        after = document(status, before, *given)
        if after is before or "observed" not in before:
            return after
        return {**after, "observed": {**after["observed"], "specDigest": before["observed"]["specDigest"]}}

    return [(record_status, "document", as_first)]


def a_rule_stumbles() -> list[Patch]:
    """A rule about jobs expects that everything is there that may be there."""

    def stumbles(case: Any) -> Any:
        if case.job is not None and case.job.spec.depends_on:
            return {}[case.job.spec.depends_on[0]]
        return None

    return [(job_plan, "RULES", (stumbles, *job_plan.RULES))]


def status_is_always_new() -> list[Patch]:
    """Each pass writes all documents anew."""
    count = iter(range(1_000_000_000))
    return [
        (record_status, "content_digest", lambda _: str(next(count))),
        (record_status, "document", lambda *given: dict(document(*given))),
    ]
