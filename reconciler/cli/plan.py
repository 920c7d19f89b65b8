"""`rayops plan`: what the daemon would do and why, against the live world. Changes nothing."""

from argparse import ArgumentParser
from pathlib import Path

import orjson

from reconciler.cli.call import Call
from reconciler.cli.exit import Ended, Exit
from reconciler.cli.run import refusals, settings_of
from reconciler.cli.text import clean, safe_json
from reconciler.remote.files import FilesError

EXAMPLES = """  rayops plan                          the newest revision of the source
  rayops plan --tree .                 a work tree, before it is committed
  rayops plan --revision my-branch     a branch or commit
  rayops plan -o markdown              for a comment on a pull request
"""
# Terraform's habit, which wrappers rely on: 0 nothing to do, 2 changes, 1 error.
NOTHING, CHANGES, ERROR = 0, 2, 1


def arguments(parser: ArgumentParser) -> None:
    """Add the options."""
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--tree", type=Path, metavar="DIR", help="plan the files of a directory")
    what.add_argument("--revision", metavar="REV", help="plan a branch or commit of the source")
    parser.add_argument("-o", "--output", default="text", choices=("text", "json", "markdown"))
    parser.add_argument(
        "--detailed-exitcode", action="store_true", help="exit with 0 nothing to do, 2 changes, 1 error"
    )


def run(call: Call) -> Exit:
    """Print the plan."""
    detailed = call.options.detailed_exitcode
    try:
        changes, errors = _show(call)
    except (Ended, FilesError) as end:
        if not detailed:
            raise
        call.screen.note(end.message)
        return Exit(ERROR)
    if detailed:
        return Exit(ERROR if errors else CHANGES if changes else NOTHING)
    return Exit.USAGE if errors else Exit.DONE


def _show(call: Call) -> tuple[bool, bool]:
    from reconciler.app import preview
    from reconciler.cli.plantext import lines, markdown
    from reconciler.model.preview import plan_json

    options = call.options
    with refusals():
        shown = preview(settings_of(call), call.around.clock, options.tree, options.revision)
    plan = plan_json(shown.world, shown.plan)
    match options.output:
        case "json":
            text = orjson.dumps(plan, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2).decode()
            call.screen.line(safe_json(text))
        case "markdown":
            call.screen.line(markdown(plan))
        case _:
            for line in lines(plan):
                call.screen.line(clean(line))
    return bool(plan["changes"] or plan["actions"] or plan["held"]), bool(plan["errors"] or plan["problems"])
