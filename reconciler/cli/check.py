"""`rayops validate` and `schema`: is a work tree right, and what may its files say."""

from argparse import ArgumentParser
from pathlib import Path

import orjson

from reconciler.cli.call import Call
from reconciler.cli.exit import Exit
from reconciler.cli.worktree import WorkTree


class Validate:
    """Checks files without any cluster."""

    EXAMPLES = "  rayops validate\n  rayops validate path/to/repo -o json\n"

    def arguments(self, parser: ArgumentParser) -> None:
        """Add the options."""
        parser.add_argument("tree", nargs="?", type=Path, default=Path(), metavar="DIR", help="(this folder)")
        parser.add_argument("-o", "--output", default="text", choices=("text", "json"))

    def run(self, call: Call) -> Exit:
        """Print every mistake; exit with 2 if there is one."""
        tree = WorkTree.read(call.options.tree)
        desired = tree.desired
        problems = {
            f"{desired.objects[identity].path}: {identity}": texts for identity, texts in desired.problems.items()
        }
        good = not desired.errors and not problems
        if call.options.output == "json":
            document = {
                "valid": good,
                "objects": len(desired.objects),
                "errors": [
                    {
                        "path": each.path,
                        "line": each.line,
                        "column": each.column,
                        "field": each.field,
                        "message": each.message,
                        "hint": each.hint,
                    }
                    for each in desired.errors
                ],
                "problems": [{"object": name, "messages": list(texts)} for name, texts in sorted(problems.items())],
            }
            call.screen.line(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
            return Exit.DONE if good else Exit.USAGE
        for error in desired.errors:
            call.screen.line(str(error))
        for name, texts in sorted(problems.items()):
            for text in texts:
                call.screen.line(f"{name}: {text}")
        count = len(desired.objects)
        mistakes = len(desired.errors) + sum(map(len, problems.values()))
        call.screen.note(f"{count} objects, all right" if good else f"{count} objects, {mistakes} mistakes")
        return Exit.DONE if good else Exit.USAGE


class Schema:
    """Writes JSON Schemas."""

    EXAMPLES = "  rayops schema --out .schemas\n"

    def arguments(self, parser: ArgumentParser) -> None:
        """Add the options."""
        parser.add_argument("--out", type=Path, metavar="DIR", help="write one file per kind here")
        parser.add_argument("kind", nargs="?", default="rayops", help="print one: cluster, job, ... (all in one)")

    def run(self, call: Call) -> Exit:
        """Print a schema, or write them all."""
        from reconciler.cli.exit import Ended
        from reconciler.config import nearest
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
