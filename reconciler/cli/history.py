"""`rayops history`: what happened, to one object or to all."""

from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from reconciler.cli.call import Call
from reconciler.cli.events import recent
from reconciler.cli.exit import Ended, Exit
from reconciler.cli.form import as_csv, as_json, as_json_line, as_yaml
from reconciler.cli.names import NODE, Wanted, wanted
from reconciler.cli.status import StatusTree
from reconciler.cli.text import clock_time
from reconciler.model.duration import read_duration
from reconciler.model.ids import ObjectId

TITLES = ("AT", "OBJECT", "TYPE", "REASON", "MESSAGE")
FORMS = ("table", "json", "jsonl", "yaml", "csv")

EXAMPLES = """\
  rayops history                       the last 50 events
  rayops history job/rl/ppo            of one job, also of one that is gone
  rayops history --since 2d -n 1000 -o jsonl
"""


def arguments(parser: ArgumentParser) -> None:
    """Add what `history` takes."""
    parser.add_argument("object", nargs="?", default="", metavar="OBJECT", help="such as job/team/name")
    parser.add_argument("--since", default="", metavar="LENGTH", help="only the last 90s, 15m, 2h, 1d")
    parser.add_argument("-n", "--limit", type=int, default=50, metavar="N", help="at most so many events (50)")
    parser.add_argument("-o", "--output", choices=FORMS, default="table", help="form of the output")


def run(call: Call) -> Exit:
    """Show the events, the newest last."""
    options = call.options
    if options.limit < 1:
        raise Ended(Exit.USAGE, "rayops history: --limit must be at least 1")
    tree = call.status()
    call.warn_if_stale(tree)
    who = _who(tree, wanted(options.object)) if options.object else None
    events = recent(tree.files, call.around.clock, who, options.limit + 1, begin(call, options.since))
    if len(events) > options.limit:
        events = events[1:]
        call.screen.note(f"the newest {options.limit}; there are older ones (-n N shows more)")
    if not events and options.output == "table":
        call.screen.note("no events found")
    elif options.output == "json":
        call.screen.line(as_json(events))
    elif options.output == "yaml":
        call.screen.line(as_yaml(events))
    else:
        for line in _lines(call, events):
            call.screen.line(line)
    return Exit.DONE


def begin(call: Call, written: str) -> datetime | None:
    """Return the moment that `--since` means, or None without it."""
    try:
        return call.now - read_duration(written) if written else None
    except (ValueError, OverflowError) as error:
        raise Ended(Exit.USAGE, f"--since {written}: {error}") from error


def cells(event: Mapping[str, Any]) -> list[str]:
    """Return an event as one row."""
    fields = (event.get(key) for key in ("object", "type", "reason", "message"))
    return [clock_time(event.get("at")), *("-" if text in {None, ""} else str(text) for text in fields)]


def _lines(call: Call, events: Sequence[Mapping[str, Any]]) -> Sequence[str]:
    if call.options.output == "jsonl":
        return [as_json_line(event) for event in events]
    rows = [cells(event) for event in events]
    return as_csv(TITLES, rows).split("\n") if call.options.output == "csv" else call.screen.table(TITLES, rows)


def _who(tree: StatusTree, named: Wanted) -> ObjectId:
    """Return the object; a full name is taken as it is, since what is gone has a history too."""
    if named.kind == NODE:
        return tree.pool_of(tree.find(named).id)
    if named.kind and (named.team or named.kind != "Job"):
        return ObjectId(named.kind, named.team, named.name)
    found = tree.find(named).id
    return tree.pool_of(found) if found.kind == NODE else found
