"""`rayops validate` and `schema`: is a work tree right, and what may its files say."""

from argparse import ArgumentParser
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson

from reconciler.cli.call import Call
from reconciler.cli.exit import Ended, Exit
from reconciler.cli.text import clean, safe_json
from reconciler.cli.worktree import WorkTree
from reconciler.config import nearest
from reconciler.model.desired import Desired


class Validate:
    """Checks files without any cluster."""

    EXAMPLES = "  rayops validate\n  rayops validate path/to/repo -o json\n"

    def arguments(self, parser: ArgumentParser) -> None:
        """Add the options."""
        parser.add_argument(
            "tree", nargs="?", type=Path, default=Path(), metavar="DIR", help="the work tree (this folder)"
        )
        parser.add_argument("-o", "--output", default="text", choices=("text", "json"))

    def run(self, call: Call) -> Exit:
        """Print every mistake; exit with 2 if there is one."""
        tree = WorkTree.read(call.options.tree, call.around.clock)
        desired = tree.desired
        if not tree.files and not desired.errors:
            where = "*.yaml or *.yml below it; hidden folders and links are left out"
            raise Ended(Exit.USAGE, f"{call.options.tree}: no desired file was found here ({where})")
        if call.options.output == "json":
            text = orjson.dumps(_document(desired), option=orjson.OPT_INDENT_2).decode()
            call.screen.line(safe_json(text))
        else:
            mistakes = [*map(str, desired.errors), *_problems(desired)]
            for mistake in mistakes:
                call.screen.line(clean(mistake))
            count = len(desired.objects)
            call.screen.note(
                f"{count} objects, {len(mistakes)} mistakes" if mistakes else f"{count} objects, all right"
            )
        return Exit.USAGE if desired.errors or desired.problems else Exit.DONE


def _problems(desired: Desired) -> Iterator[str]:
    """Return, a line each, what no file can know of itself."""
    for who, texts in sorted(desired.problems.items()):
        yield from (f"{desired.objects[who].path}: {who}: {text}" for text in texts)


def _document(desired: Desired) -> Mapping[str, Any]:
    return {
        "apiVersion": "rayops.validation/v1",
        "valid": not desired.errors and not desired.problems,
        "objects": len(desired.objects),
        "errors": [asdict(error) for error in desired.errors],
        "problems": [
            {"object": str(who), "path": desired.objects[who].path, "messages": texts}
            for who, texts in sorted(desired.problems.items())
        ],
    }


class Schema:
    """Writes JSON Schemas."""

    EXAMPLES = "  rayops schema --out .schemas\n"

    def arguments(self, parser: ArgumentParser) -> None:
        """Add the options."""
        parser.add_argument("--out", type=Path, metavar="DIR", help="write one file per kind here")
        parser.add_argument("kind", nargs="?", default="rayops", help="print one: cluster, job, ... (all in one)")

    def run(self, call: Call) -> Exit:
        """Print a schema, or write them all."""
        from reconciler.desired.schema import export, schemas

        if call.options.out is not None:
            for name in export(call.options.out):
                call.screen.line(str(call.options.out / name))
            return Exit.DONE
        known = schemas()
        name = f"{call.options.kind.lower()}.json"
        if name not in known:
            words = [each.removesuffix(".json") for each in known]
            raise Ended(Exit.USAGE, f"{call.options.kind}: no such kind ({nearest(call.options.kind, words)})")
        call.screen.raw(known[name])
        return Exit.DONE


VALIDATE, SCHEMA = Validate(), Schema()
