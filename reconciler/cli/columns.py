"""The columns of each kind's table."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from reconciler.cli.names import JOB, NODE, POOL
from reconciler.cli.seen import Seen, rows_of, table_of, texts_of
from reconciler.cli.text import age, moment
from reconciler.cli.waiting import Place, needs_of
from reconciler.model.ids import ObjectId

NOTHING = "-"


@dataclass(frozen=True, slots=True)
class Scene:
    """What a cell may depend on beside its own object."""

    now: datetime
    places: Mapping[ObjectId, Place] = field(default_factory=dict)
    stale: bool = False


@dataclass(frozen=True, slots=True)
class Column:
    """One column; a `wide` one is shown on demand only."""

    title: str
    cell: Callable[[Seen, Scene], Any]
    wide: bool = False

    def text(self, seen: Seen, scene: Scene) -> str:
        """Return what the cell says."""
        value = self.cell(seen, scene)
        return NOTHING if value in {None, ""} else str(value)

    def rank(self, seen: Seen, scene: Scene) -> tuple[Any, ...]:
        """Return what the rows are sorted by: times by age, numbers by value, nothing at the end."""
        if self.title == "SINCE":
            began = moment(seen.since)
            return (began is None, began or datetime.max.replace(tzinfo=UTC))
        return natural(self.text(seen, scene))


def natural(text: str) -> tuple[Any, ...]:
    """Return a key that sorts `n2` before `n10`, and nothing at the end."""
    pieces = re.split(r"([0-9]+)", text.lower())
    return (text == NOTHING, [(0, int(piece), "") if piece.isdecimal() else (1, 0, piece) for piece in pieces])


def columns(kind: str, *, wide: bool) -> list[Column]:
    """Return the columns of a table of `kind`; without one, of objects of several kinds."""
    chosen = (_name_of(kind), *_OF_KIND.get(kind, (_STATE, _SYNC, _HEALTH)), *_LAST)
    return [column for column in chosen if wide or not column.wide]


def health(seen: Seen, scene: Scene) -> str:
    """Return the health of an object; nobody knows it when the daemon is silent."""
    return "Unknown" if scene.stale and seen.word("health") else seen.word("health")


def _name_of(kind: str) -> Column:
    if kind == JOB:
        return Column("JOB", lambda seen, _: f"{seen.id.team}/{seen.id.name}")
    if kind == POOL:
        return Column("POOL", lambda seen, _: seen.id.name)
    if kind == "":
        return Column("OBJECT", lambda seen, _: seen.id)
    return Column(kind.upper(), lambda seen, _: seen.id.name)


def _detail(*path: str) -> Callable[[Seen, Scene], Any]:
    def cell(seen: Seen, _: Scene) -> Any:
        value: Any = seen.detail
        for name in path:
            value = table_of(value).get(name)
        return value if isinstance(value, str | int | float) else None

    return cell


def _share(part: Callable[[Seen, Scene], Any], whole: Callable[[Seen, Scene], Any]) -> Callable[[Seen, Scene], Any]:
    def cell(seen: Seen, scene: Scene) -> str:
        some, every = part(seen, scene), whole(seen, scene)
        return "" if some is None and every is None else f"{_number(some)}/{_number(every)}"

    return cell


def _number(value: Any) -> str:
    return "?" if value is None else str(value)


def _gpus(seen: Seen, _: Scene) -> str:
    needs = seen.detail.get("needs")
    return f"{needs_of(needs).nodes}x{needs_of(needs).gpus_per_node}" if isinstance(needs, dict) else ""


def _position(seen: Seen, scene: Scene) -> str:
    place = scene.places.get(seen.id)
    return f"{place.position}/{place.length}" if place else ""


def _attempt(seen: Seen, _: Scene) -> Any:
    attempts = rows_of(seen.detail.get("attempts"))
    return attempts[-1].get("number") if attempts else None


def _nodes(seen: Seen, _: Scene) -> str:
    attempts = rows_of(seen.detail.get("attempts"))
    return ",".join(texts_of(attempts[-1].get("nodes"))) if attempts else ""


def _revision(seen: Seen, _: Scene) -> str:
    revision = table_of(seen.document.get("observed")).get("revision")
    return revision[:9] if isinstance(revision, str) else ""


_SYNC = Column("SYNC", lambda seen, _: seen.word("sync"))
_HEALTH = Column("HEALTH", health)
_WIDE_HEALTH = Column("HEALTH", health, wide=True)
_STATE = Column("STATE", lambda seen, _: seen.word("state"))
_LAST: Sequence[Column] = (
    Column("SINCE", lambda seen, scene: age(seen.since, scene.now)),
    Column("REVISION", _revision, wide=True),
    Column("REASON", lambda seen, _: seen.word("reason")),
    Column("MESSAGE", lambda seen, _: seen.word("message"), wide=True),
)
_OF_KIND: dict[str, Sequence[Column]] = {
    JOB: (
        _STATE,
        _SYNC,
        _WIDE_HEALTH,
        Column("POS", _position),
        Column("USER", _detail("user")),
        Column("POOL", _detail("pool")),
        Column("CLUSTER", _detail("cluster"), wide=True),
        Column("PRIORITY", _detail("priority"), wide=True),
        Column("GPUS", _gpus),
        Column("TRY", _attempt, wide=True),
        Column("NODES", _nodes, wide=True),
    ),
    POOL: (
        _STATE,
        _SYNC,
        _HEALTH,
        Column("CLUSTER", _detail("cluster")),
        Column("NODES", lambda seen, _: len(rows_of(seen.detail.get("nodes"))) if "nodes" in seen.detail else None),
        Column("FREE", _share(_detail("gpus", "free"), _detail("gpus", "total"))),
    ),
    NODE: (
        _STATE,
        Column("POOL", _detail("pool")),
        Column("HOST", _detail("host"), wide=True),
        Column("GPUS", _detail("gpus")),
        Column("JOB", _detail("job")),
    ),
    "Cluster": (
        _STATE,
        _SYNC,
        _HEALTH,
        Column("EPOCH", _detail("epoch")),
        Column("HEAD", _detail("head", "node")),
        Column("RAY", _detail("rayVersion"), wide=True),
        Column("ADDRESS", _detail("head", "address"), wide=True),
        Column("NODES", _share(_detail("nodes", "online"), _detail("nodes", "total"))),
        Column("JOBS", _share(_detail("jobs", "running"), _detail("jobs", "max"))),
    ),
}
