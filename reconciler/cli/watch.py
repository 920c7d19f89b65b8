"""`get --watch`: a screen that follows for people, one line per change for programs."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from reconciler.cli.call import Call
from reconciler.cli.exit import Ended, Exit
from reconciler.cli.form import as_json_line
from reconciler.cli.seen import Seen
from reconciler.cli.text import clock_time
from reconciler.cli.view import Listing, View
from reconciler.model.ids import ObjectId

# People do not see more; a status directory on a share is not asked more often.
PACE = timedelta(seconds=2)
REMOVED = "Removed"

_HOME = "\x1b[H\x1b[J"


def watch(call: Call, listing: Listing) -> Exit:
    """Show the objects until the call is interrupted or its reader goes away."""
    if call.options.output in {"yaml", "csv"}:
        raise Ended(
            Exit.USAGE, f"--watch cannot write {call.options.output} (use table, wide, name, json or jsonl)"
        )
    if call.screen.is_terminal and call.options.output in {"table", "wide", "name"}:
        return _redraw(call, listing)
    return _tell_changes(call, listing)


def _redraw(call: Call, listing: Listing) -> Exit:
    shown: list[str] = []
    while True:
        lines = [*listing.lines(listing.look()), "", f"at {clock_time(call.now.isoformat())}, until Ctrl-C"]
        room = call.screen.lines or len(lines)
        if len(lines) > room:
            lines = [*lines[: room - 2], f"… {len(lines) - room} more lines", lines[-1]]
        if lines[:-1] != shown:
            shown = lines[:-1]
            call.screen.out.write(_HOME + "\n".join(lines))
        if not call.pause(PACE):
            call.screen.line()
            return Exit.INTERRUPTED


def _tell_changes(call: Call, listing: Listing) -> Exit:
    known: dict[ObjectId, Mapping[str, Any]] = {}
    view = listing.look()
    if call.options.output in {"table", "wide"} and not call.options.no_headers:
        call.screen.line(listing.lines(View([], [], view.scene))[0])
    while True:
        _tell(call, listing, View(_changes(known, view), [], view.scene))
        known = {seen.id: _facts(seen, view) for seen in view.found}
        if not call.pause(PACE):
            return Exit.INTERRUPTED
        view = listing.look()


def _changes(known: Mapping[ObjectId, Mapping[str, Any]], view: View) -> list[Seen]:
    """Return what differs from the last look; what is gone comes once more, as removed."""
    changed = [seen for seen in view.found if known.get(seen.id) != _facts(seen, view)]
    gone = sorted(known.keys() - {seen.id for seen in view.found})
    return changed + [Seen(who, {**known[who], "state": REMOVED, "reason": REMOVED}) for who in gone]


def _facts(seen: Seen, view: View) -> Mapping[str, Any]:
    place = view.scene.places.get(seen.id)
    return {**seen.document, "queue": place.plain()} if place else seen.document


def _tell(call: Call, listing: Listing, changes: View) -> None:
    if call.options.output in {"json", "jsonl"}:
        for seen in changes.found:
            call.screen.line(as_json_line(seen.document))
    elif changes.found:
        header = call.options.output != "name" and not call.options.no_headers
        for line in listing.lines(changes)[1 if header else 0 :]:
            call.screen.line(line)
