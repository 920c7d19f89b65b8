"""JSON Schemas of the kinds, for editors: one per kind, and `rayops.json`, which knows them all by `kind`."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from reconciler.model.document import DOCUMENT, KINDS
from reconciler.model.quantity import write_duration

DIALECT = "https://json-schema.org/draft/2020-12/schema"
ALL = "rayops.json"


class AsWritten(GenerateJsonSchema):
    """Shows defaults as people write them, and no titles, which would only repeat the fields' names."""

    def encode_default(self, dft: Any) -> Any:
        """Return a default value as a file would give it."""
        return write_duration(dft) if isinstance(dft, timedelta) else super().encode_default(dft)

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 -- pydantic's signature
        """Give no field a title."""
        return False


def schemas() -> Mapping[str, bytes]:
    """Return the text of each schema by its file name."""
    found = {f"{name.lower()}.json": _text(name, TypeAdapter(kind)) for name, kind in KINDS.items()}
    return {ALL: _text("RayOps", DOCUMENT), **found}


def export(folder: Path) -> tuple[str, ...]:
    """Write the schemas into `folder` and return their names."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in schemas().items():
        (folder / name).write_bytes(text)
    return tuple(sorted(schemas()))


def _text(title: str, adapter: TypeAdapter[Any]) -> bytes:
    schema = adapter.json_schema(by_alias=True, schema_generator=AsWritten)
    whole = {"$schema": DIALECT, **schema, "title": title}
    return orjson.dumps(whole, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS) + b"\n"


if __name__ == "__main__":
    export(Path("schemas"))
