"""The status of one object as a reader sees it; whatever is missing or of another type reads as nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.model.ids import ObjectId


def table_of(value: Any) -> Mapping[str, Any]:
    """Return `value` when it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def rows_of(value: Any) -> list[Mapping[str, Any]]:
    """Return the JSON objects in a list, whatever else is in it."""
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def texts_of(value: Any) -> list[str]:
    """Return the texts in a list, whatever else is in it."""
    return [text for text in value if isinstance(text, str)] if isinstance(value, list) else []


@dataclass(frozen=True, slots=True)
class Seen:
    """The status of one object, as far as it could be read: a document, or the row of the index about it."""

    id: ObjectId
    document: Mapping[str, Any]

    def word(self, field: str) -> str:
        """Return a text of the document, or nothing."""
        value = self.document.get(field)
        return value if isinstance(value, str) else ""

    @property
    def detail(self) -> Mapping[str, Any]:
        """The part that only its kind has."""
        return table_of(self.document.get("detail"))

    @property
    def labels(self) -> Mapping[str, Any]:
        """The labels that its file gives it."""
        return table_of(table_of(self.document.get("metadata")).get("labels"))

    @property
    def conditions(self) -> list[Mapping[str, Any]]:
        """What is known about it, one fact each."""
        return rows_of(self.document.get("conditions"))

    @property
    def history(self) -> list[Mapping[str, Any]]:
        """Its last states, the oldest first."""
        return rows_of(self.document.get("history"))

    @property
    def since(self) -> Any:
        """When its state began."""
        ends = [entry for entry in self.history if entry.get("state") == self.document.get("state")]
        return self.document.get("since") or (ends[-1].get("at") if ends else None)
