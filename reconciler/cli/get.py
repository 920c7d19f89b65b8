"""`rayops get`: objects as a table, or as JSON, YAML and CSV for programs."""

from argparse import ArgumentParser

from reconciler.cli.call import Call
from reconciler.cli.exit import Exit
from reconciler.cli.listing import asked
from reconciler.cli.view import Listing
from reconciler.cli.watch import watch

FORMS = ("table", "wide", "json", "yaml", "name", "jsonl", "csv")

EXAMPLES = """\
  rayops get jobs                          every job, one line each
  rayops get jobs -T rl -o wide            the jobs of one team, with all columns
  rayops get jobs -l pool=h20,state=Queued --sort-by pos
  rayops get job/rl/ppo -o yaml            everything that is known of one job
  rayops get nodes --watch                 refreshed as it changes
"""


def arguments(parser: ArgumentParser) -> None:
    """Add what `get` takes."""
    parser.add_argument("what", nargs="+", metavar="KIND[/NAME]", help="jobs, pools, nodes, clusters, ..., or all")
    team = parser.add_mutually_exclusive_group()
    team.add_argument("-A", "--all-teams", action="store_true", help="of every team (the default)")
    team.add_argument("-T", "--team", default="", help="of one team")
    parser.add_argument("-o", "--output", choices=FORMS, default="table", help="form of the output")
    parser.add_argument("-l", "--selector", default="", help="labels or fields: pool=h20,state!=Running,key,!key")
    parser.add_argument("--sort-by", default="", metavar="COLUMN", help="a column, or a field such as detail.user")
    parser.add_argument("--no-headers", action="store_true", help="leave the first line of a table out")
    parser.add_argument("-w", "--watch", action="store_true", help="go on and show what changes")
    parser.add_argument("--require-fresh", action="store_true", help="exit 5 when the daemon is silent")


def run(call: Call) -> Exit:
    """Show what is asked for."""
    request = asked(call.options)
    tree = call.status()
    if call.warn_if_stale(tree) and call.options.require_fresh:
        return Exit.UNREACHABLE
    listing = Listing(call, tree, request)
    if call.options.watch:
        return watch(call, listing)
    view = listing.look()
    listing.show(view)
    for message in view.missing:
        call.screen.note(message)
    return Exit.NOT_FOUND if view.missing else Exit.DONE
