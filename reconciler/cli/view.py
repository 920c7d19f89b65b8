"""What one `get` sees of the objects that are asked for, and the forms in which it shows them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reconciler.cli.call import Call
from reconciler.cli.columns import Scene, columns
from reconciler.cli.form import as_csv, as_json, as_json_line, as_yaml
from reconciler.cli.listing import Asked, arranged, look
from reconciler.cli.names import JOB
from reconciler.cli.seen import Seen
from reconciler.cli.status import Depth, StatusTree
from reconciler.cli.waiting import all_places
from reconciler.model.status import STATUS_VERSION

TABLES = ("table", "wide", "csv")


@dataclass(frozen=True, slots=True)
class View:
    """One look: the objects in the order that is asked for, what is missing, and what cells depend on."""

    found: list[Seen]
    missing: list[str]
    scene: Scene


@dataclass(frozen=True, slots=True)
class Listing:
    """One `get`: how it looks and how it shows."""

    call: Call
    tree: StatusTree
    request: Asked

    def look(self) -> View:
        """Look once."""
        scene = self._scene()
        found, missing = look(self.tree, self.request, self._depth())
        return View(arranged(found, self.call.options.sort_by, self.request.table, scene), missing, scene)

    def show(self, view: View) -> None:
        """Write everything that was seen."""
        if not view.found and self.call.options.output in {"table", "wide"}:
            if not view.missing:
                self.call.screen.note(f"no {', '.join(kind.lower() for kind in self.request.kinds)} found")
            return
        for line in self.lines(view):
            self.call.screen.line(line)

    def lines(self, view: View) -> Sequence[str]:
        """Return the output as lines."""
        match self.call.options.output:
            case "name":
                return [str(seen.id) for seen in view.found]
            case "jsonl":
                return [as_json_line(seen.document) for seen in view.found]
            case "json":
                return [as_json(self._value(view.found))]
            case "yaml":
                return [as_yaml(self._value(view.found))]
            case "csv":
                titles, rows = self.cells(view)
                return as_csv([] if self.call.options.no_headers else titles, rows).split("\n")
            case _:
                titles, rows = self.cells(view)
                return self.call.screen.table(titles, rows, headers=not self.call.options.no_headers)

    def cells(self, view: View) -> tuple[list[str], list[list[str]]]:
        """Return the titles and the rows of the table."""
        chosen = columns(self.request.table, wide=self.call.options.output != "table")
        rows = [[column.text(seen, view.scene) for column in chosen] for seen in view.found]
        return [column.title for column in chosen], rows

    def _scene(self) -> Scene:
        queued = self.request.table == JOB and self.call.options.output in TABLES
        now = self.call.now
        return Scene(now, all_places(self.tree) if queued else {}, stale=bool(self.tree.stale(now)))

    def _depth(self) -> Depth:
        options = self.call.options
        if options.output in {"json", "yaml", "jsonl"} or "." in options.sort_by:
            return Depth.DOCUMENT
        plain = options.output == "name" or (options.output == "table" and not self.request.table)
        return Depth.ROW if plain and not options.selector else Depth.DETAIL

    def _value(self, found: list[Seen]) -> Any:
        if len(self.request.names) == 1 and len(found) == 1:
            return found[0].document
        return {"apiVersion": STATUS_VERSION, "kind": "List", "items": [seen.document for seen in found]}
