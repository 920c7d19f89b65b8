"""`rayops recover`: a new ledger from job directories and head files, when the old one is lost."""

from argparse import ArgumentParser

from reconciler.cli.call import Call
from reconciler.cli.exit import Exit
from reconciler.cli.run import refusals, settings_of
from reconciler.cli.text import clean

EXAMPLES = """  rayops recover            show what would be remembered; change nothing
  rayops recover --adopt    put it in force; the old files stay as backups
"""


def arguments(parser: ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--adopt", action="store_true", help="put the rebuilt ledger in force")


def run(call: Call) -> Exit:
    """Rebuild, say what was found, and adopt it if asked to."""
    from reconciler.app import recover

    with refusals():
        rebuilt = recover(settings_of(call), call.around.clock, adopt=call.options.adopt)
    ledger = rebuilt.ledger
    for note in rebuilt.notes:
        call.screen.line(clean(note))
    live = sum(1 for record in ledger.jobs.values() if record.live is not None)
    call.screen.line(
        f"site {ledger.meta.site}: {len(ledger.clusters)} clusters, {len(ledger.jobs)} jobs ({live} may run), "
        f"{len(ledger.numbers)} used attempt numbers"
    )
    if call.options.adopt:
        call.screen.note("this ledger is in force now; start the daemon")
    else:
        call.screen.note("nothing was changed; --adopt puts this ledger in force")
    return Exit.DONE
