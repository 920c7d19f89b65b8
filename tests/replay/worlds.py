"""A world as one JSON document and back: objects as their files say, the ledger as its journal, the rest by types.

Digests are not written: they are computed from the documents anew, so that a change to them is seen as what it
would be for a running site, an edit of everything.
"""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import timedelta
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, TypeAdapter

from reconciler.desired.parse import restore
from reconciler.model.desired import Desired, FileError, Loaded
from reconciler.model.ids import ObjectId
from reconciler.model.json import Json
from reconciler.model.moment import Moment
from reconciler.model.ray import HeadSeen
from reconciler.model.sighting import Sighting
from reconciler.model.world import AttemptSeen, ClaimState, Observed, SlotId, SlotSeen, Tuning, World
from reconciler.record import journal


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _Object(_Frozen):
    path: str
    content_id: str
    stale: bool
    document: Mapping[str, Any]

    def loaded(self) -> Loaded:
        parsed = restore(orjson.dumps(self.document))
        return Loaded(
            id=parsed.id,
            said=parsed.said,
            digest=parsed.digest,
            path=self.path,
            content_id=self.content_id,
            stale=self.stale,
        )


class _Desired(_Frozen):
    revision: str
    objects: tuple[_Object, ...]
    errors: tuple[FileError, ...]
    problems: tuple[tuple[ObjectId, tuple[str, ...]], ...]
    unsettled: frozenset[str]
    lingering: frozenset[ObjectId] = frozenset()

    def made(self) -> Desired:
        loaded = [each.loaded() for each in self.objects]
        objects = {each.id: each for each in loaded}
        problems = dict(self.problems)
        return Desired(self.revision, objects, self.errors, problems, self.unsettled, self.lingering)


class _Observed(_Frozen):
    heads: dict[str, Sighting[HeadSeen]]
    slots: tuple[tuple[SlotId, Sighting[SlotSeen]], ...]
    attempts: dict[str, Sighting[AttemptSeen]]
    claims: dict[str, Sighting[ClaimState]]

    def made(self) -> Observed:
        return Observed(self.heads, dict(self.slots), self.attempts, self.claims)


class _World(_Frozen):
    desired: _Desired
    observed: _Observed
    ledger: str
    now: Moment
    tuning: Tuning
    in_flight: frozenset[str]
    watched: Moment | None = None


_READER = TypeAdapter(_World)


def plain(value: object) -> Any:
    """Return a value of the model as plain JSON values."""
    return orjson.loads(orjson.dumps(value, default=_plain, option=orjson.OPT_PASSTHROUGH_DATACLASS))


def written(world: World) -> Json:
    """Return a world as plain JSON values."""
    desired, seen = world.desired, world.observed
    objects = [
        {
            "path": each.path,
            "content_id": each.content_id,
            "stale": each.stale,
            # As the file said it: what was left to a default stays left to the default of later code.
            "document": each.document.model_dump(mode="json", by_alias=True, exclude_unset=True),
        }
        for _, each in sorted(desired.objects.items())
    ]
    ledger, _ = journal.snapshot(world.ledger, world.now.wall)
    value = {
        "desired": {
            "revision": desired.revision,
            "objects": objects,
            "errors": desired.errors,
            "problems": sorted(desired.problems.items()),
            "unsettled": desired.unsettled,
            "lingering": desired.lingering,
        },
        "observed": {
            "heads": seen.heads,
            "slots": sorted(seen.slots.items()),
            "attempts": seen.attempts,
            "claims": seen.claims,
        },
        "ledger": ledger.decode(),
        "now": world.now,
        "tuning": world.tuning,
        "in_flight": world.in_flight,
        "watched": world.watched,
    }
    return plain(value)  # type: ignore[no-any-return]  # what orjson reads


def read(document: Json) -> World:
    """Return the world of a document. Raises ValueError when it is of another shape than today's model."""
    found = _READER.validate_json(orjson.dumps(document))
    recalled = journal.read(found.ledger.encode(), "the recorded ledger")
    if not isinstance(recalled, journal.Recalled):
        raise ValueError(str(recalled))  # noqa: TRY004 - the ledger says something else, it is no other thing
    return World(
        found.desired.made(),
        found.observed.made(),
        recalled.ledger,
        found.now,
        found.tuning,
        found.in_flight,
        found.watched,
    )


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        # By its fields: beside them it may hold what was derived from it.
        return {each.name: getattr(value, each.name) for each in fields(value)}
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, Mapping):
        return dict(value)
    if is_dataclass(value) and not isinstance(value, type):
        # What follows from the rest is made anew when it is read.
        return {each.name: getattr(value, each.name) for each in fields(value) if each.init}
    if isinstance(value, timedelta):
        # ISO 8601, the one text of a duration that a strict reader takes.
        return f"PT{value.total_seconds()}S"
    raise TypeError(type(value).__name__)
