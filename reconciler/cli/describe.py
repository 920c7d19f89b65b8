"""`rayops describe`: everything that is known of one object, on one page."""

from argparse import ArgumentParser
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from reconciler.cli.call import Call
from reconciler.cli.events import recent
from reconciler.cli.exit import Ended, Exit
from reconciler.cli.form import as_json, as_yaml
from reconciler.cli.history import cells
from reconciler.cli.logfile import log_of
from reconciler.cli.names import JOB, NODE, SITE, wanted
from reconciler.cli.seen import Seen, rows_of, table_of, texts_of
from reconciler.cli.status import StatusTree
from reconciler.cli.text import age, clean, clock_time, moment, plain, span
from reconciler.cli.waiting import Place, needs_of, place_of
from reconciler.cli.why import reason, sentence

# More fits on no page; `rayops history` and `rayops logs` have the rest.
EVENTS = 10
LOG_LINES = 5

EXAMPLES = """\
  rayops describe job/rl/ppo
  rayops describe node/h20-01
"""

# Shown in a form of their own.
_OWN_FORM = {"held", "attempts", "needs", "nodes", "queue", "dependsOn", "limits"}


def arguments(parser: ArgumentParser) -> None:
    """Add what `describe` takes."""
    parser.add_argument("object", metavar="OBJECT", help="such as job/team/name, pool/name or name")
    parser.add_argument(
        "-o", "--output", choices=("text", "json", "yaml"), default="text", help="form of the output"
    )


def run(call: Call) -> Exit:
    """Show the page."""
    tree = call.status()
    call.warn_if_stale(tree)
    seen = tree.find(wanted(call.options.object))
    page = Page(call, tree, seen, place_of(tree, seen))
    if call.options.output == "text":
        for line in page.lines():
            call.screen.line(line)
    else:
        call.screen.line((as_json if call.options.output == "json" else as_yaml)(page.plain()))
    return Exit.DONE


@dataclass(frozen=True, slots=True)
class Page:
    """What there is to tell about one object."""

    call: Call
    tree: StatusTree
    seen: Seen
    place: Place | None

    def plain(self) -> dict[str, Any]:
        """Return the page as JSON values."""
        queue = self.place.plain() if self.place else None
        return {"object": self.seen.document, "queue": queue, "events": self.events()}

    def events(self) -> list[Mapping[str, Any]]:
        """Return the last events of the object, or of a machine's pool."""
        who = self.tree.pool_of(self.seen.id) if self.seen.id.kind == NODE else self.seen.id
        return recent(self.tree.files, self.call.around.clock, who, EVENTS)

    def lines(self) -> Iterator[str]:
        """Return the page as text."""
        yield str(self.seen.id)
        for label, text in self._facts():
            if text:
                yield f"  {label:<11} {clean(text)}".rstrip()
        sections = (
            ("Nodes", ("NAME", "STATE", "GPUS", "JOB", "SINCE", "REASON"), self._nodes()),
            ("Broken files", ("FILE", "FIELD", "MESSAGE"), self._broken()),
            ("Held", ("BRAKE", "DIGEST", "MESSAGE"), self._held()),
            ("Conditions", ("TYPE", "STATUS", "REASON", "SINCE", "MESSAGE"), self._conditions()),
            ("Attempts", ("#", "STATE", "NODES", "SUBMITTED", "RAN", "EXIT", "WHY"), self._attempts()),
            ("States", ("AT", "STATE", "REASON"), self._states()),
            (
                "Events",
                ("AT", "TYPE", "REASON", "MESSAGE"),
                [[at, *row] for at, _, *row in map(cells, self.events())],
            ),
        )
        for title, titles, rows in sections:
            if rows:
                yield ""
                yield title
                yield from self.call.screen.table(titles, rows, indent="  ")
        yield from self._log()

    def _facts(self) -> Iterator[tuple[str, str]]:
        seen, observed = self.seen, table_of(self.seen.document.get("observed"))
        began = f" for {age(seen.since, self.call.now)}, since {clock_time(seen.since)}" if seen.since else ""
        yield "state", f"{seen.word('state')}{began}"
        yield "sync", seen.word("sync")
        yield "health", seen.word("health")
        yield "reason", reason(seen)
        if self.place:
            yield "queue", sentence(self.tree, seen, self.place)
        if "needs" in seen.detail:
            yield "needs", str(needs_of(seen.detail["needs"]))
        yield "depends on", ", ".join(texts_of(seen.detail.get("dependsOn")))
        yield "limits", _pairs({name: _limit(value) for name, value in table_of(seen.detail.get("limits")).items()})
        for name, value in seen.detail.items():
            if name not in _OWN_FORM and value not in (None, "", [], {}):
                yield name, _pairs(value) if isinstance(value, dict) else _one(value)
        if observed:
            yield "revision", f"{observed.get('revision', '-')}, seen {clock_time(observed.get('asOf'))}"

    def _nodes(self) -> list[list[str]]:
        return [
            [
                *(_one(row.get(key)) for key in ("name", "state", "gpus", "job")),
                self._age(row),
                _one(row.get("reason")),
            ]
            for row in rows_of(self.seen.detail.get("nodes"))
        ]

    def _summary(self, part: str) -> list[Mapping[str, Any]]:
        """Return a part of the summary of the site, on the site's page only."""
        return rows_of(self.tree.other("summary.json").get(part)) if self.seen.id.kind == SITE else []

    def _broken(self) -> list[list[str]]:
        return [
            [f"{row.get('path')}:{row.get('line')}:{row.get('column')}", _one(row.get("field")), _mistake(row)]
            for row in self._summary("errors")
        ]

    def _held(self) -> list[list[str]]:
        rows = self._summary("held")
        return [[_one(row.get(key)) for key in ("brake", "digest", "message")] for row in rows]

    def _age(self, row: Mapping[str, Any]) -> str:
        return age(row.get("since", row.get("lastTransitionTime")), self.call.now)

    def _conditions(self) -> list[list[str]]:
        return [
            [
                *(_one(row.get(key)) for key in ("type", "status", "reason")),
                self._age(row),
                _one(row.get("message")),
            ]
            for row in self.seen.conditions
        ]

    def _attempts(self) -> list[list[str]]:
        return [
            [
                _one(row.get("number")),
                _one(row.get("state")),
                _one(texts_of(row.get("nodes"))),
                clock_time(row.get("submitted")),
                self._ran(row),
                _one(row.get("exitCode")),
                _one(row.get("message") or row.get("reason")),
            ]
            for row in rows_of(self.seen.detail.get("attempts"))
        ]

    def _ran(self, attempt: Mapping[str, Any]) -> str:
        began, ended = moment(attempt.get("running")), moment(attempt.get("ended"))
        return span((ended or self.call.now) - began) if began else "-"

    def _states(self) -> list[list[str]]:
        return [
            [clock_time(row.get("at")), _one(row.get("state")), _one(row.get("reason"))]
            for row in self.seen.history
        ]

    def _log(self) -> Iterator[str]:
        attempts = rows_of(self.seen.detail.get("attempts"))
        if self.seen.id.kind != JOB or not attempts:
            return
        yield ""
        yield f"Log (rayops logs {self.seen.id})"
        try:
            last = log_of(self.call.shared(), attempts[-1]).tail(LOG_LINES) or b"nothing is there yet"
        except Ended as end:
            last = end.message.encode()
        yield from ("  " + line for line in plain(last.decode(errors="replace")).rstrip("\n").split("\n"))


def _mistake(row: Mapping[str, Any]) -> str:
    return f"{row.get('message')} ({row['hint']})" if row.get("hint") else _one(row.get("message"))


def _limit(value: Any) -> Any:
    return span(timedelta(seconds=value)) if isinstance(value, int) else value


def _pairs(value: Any) -> str:
    return ", ".join(f"{key} {_one(inner)}" for key, inner in table_of(value).items() if inner not in (None, ""))


def _one(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "-"
    return "-" if value in (None, "") else str(value)
