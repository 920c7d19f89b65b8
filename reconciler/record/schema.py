"""The shape of status files, for programs that read them: JSON Schemas in `schemas/status-*.json`.

`python -m reconciler.record.schema` writes them anew; a test compares them, and holds what is written to them.
"""

from collections.abc import Mapping
from pathlib import Path

from reconciler.model.spec import Strict
from reconciler.record.document import pretty
from reconciler.record.object_shapes import StatusEvent, StatusIndex, StatusObject
from reconciler.record.site_shapes import StatusHeartbeat, StatusSummary

SHAPES: Mapping[str, type[Strict]] = {
    "object": StatusObject,
    "index": StatusIndex,
    "summary": StatusSummary,
    "heartbeat": StatusHeartbeat,
    "event": StatusEvent,
}

_DRAFT = "https://json-schema.org/draft/2020-12/schema"


def schemas() -> dict[str, bytes]:
    """Return the schema files by name."""
    return {
        f"status-{name}.json": pretty({"$schema": _DRAFT, **shape.model_json_schema(by_alias=True)})
        for name, shape in SHAPES.items()
    }


def write(folder: Path) -> None:
    """Write the schema files into a folder."""
    folder.mkdir(exist_ok=True)
    for name, data in schemas().items():
        (folder / name).write_bytes(data)


if __name__ == "__main__":
    write(Path("schemas"))
