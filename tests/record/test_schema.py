from pathlib import Path
from typing import get_args

import pytest
from pydantic import ValidationError

from reconciler.model.desired import FileError
from reconciler.model.ids import ObjectId
from reconciler.model.plan import Held
from reconciler.model.snapshot import SourceFault, SourceProblem
from reconciler.model.status import STATUS_VERSION, Condition, Event, Health, ObjectStatus, Sync
from reconciler.record.document import Overview
from reconciler.record.history import History
from reconciler.record.object_shapes import StatusEvent, StatusIndex, StatusObject, Version
from reconciler.record.schema import SHAPES, schemas
from reconciler.record.site_shapes import StatusHeartbeat, StatusSummary
from reconciler.record.status import StatusWriter
from tests.fakes.files import FakeFiles
from tests.record.clock import START, HandClock

FOLDER = Path(__file__).parents[2] / "schemas"


def test_the_schema_files_are_those_of_the_code() -> None:
    found = {path.name: path.read_bytes() for path in FOLDER.glob("status-*.json")}
    assert found == schemas(), "run `python -m reconciler.record.schema`"


def test_the_version_is_the_one_that_is_written() -> None:
    assert get_args(Version) == (STATUS_VERSION,)


def _full() -> FakeFiles:
    """Return a directory with everything in it that there may be."""
    files = FakeFiles()
    writer = StatusWriter(files, HandClock())
    job = ObjectStatus(
        kind="Job",
        team="rl",
        name="ppo",
        revision="c1",
        specDigest="d",
        state="Running",
        sync=Sync.SYNCED,
        health=Health.READY,
        reason="AsDesired",
        message="m",
        conditions=(Condition("Complete", "False", "R", ""),),
        detail={"labels": {"a": "b"}, "attempts": [{"number": 1, "ended": START}], "x": {"y": [None, 1.5]}},
    )
    cluster = ObjectStatus("Cluster", "", "main", "c1", "", "Ready", Sync.STALE, Health.UNKNOWN, "R", "")
    view = Overview(
        "c1",
        source=SourceProblem(SourceFault.EMPTY, "nothing there"),
        read_only="no ledger",
        held=(Held("stops", "ab", "too many", ("stop job/rl/ppo",), (ObjectId("Job", "rl", "ppo"),)),),
        errors=tuple(FileError(f"{i}.yaml", 1, 1, "", "m") for i in range(600)),
    )
    assert writer.write([job, cluster], [], view) is None
    assert writer.beat(1, 2, "c1") is None
    assert (
        History(files, HandClock()).append([Event(START, "job/rl/ppo", "State", "New", "m", "c1", {"a": 1})])
        is None
    )
    return files


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("job/rl/ppo.json", StatusObject),
        ("cluster/main.json", StatusObject),
        ("index.json", StatusIndex),
        ("summary.json", StatusSummary),
        ("heartbeat.json", StatusHeartbeat),
        ("history/2026-03-01.jsonl", StatusEvent),
    ],
)
def test_every_file_has_its_shape(path: str, shape: type[StatusObject]) -> None:
    data = _full().read(path)
    assert data is not None
    shape.model_validate_json(data, by_name=False, by_alias=True)
    with pytest.raises(ValidationError):
        shape.model_validate_json(data.replace(b"{", b'{"surprise":1,', 1), by_name=False, by_alias=True)


def test_every_field_is_explained() -> None:
    for shape in SHAPES.values():
        schema = shape.model_json_schema(by_alias=True)
        for part in (schema, *schema.get("$defs", {}).values()):
            for name, field in part.get("properties", {}).items():
                # A field that says what its type says refers to it.
                assert "description" in field or "$ref" in field, (shape.__name__, name)
