"""Plans and passes in words, for a terminal and for a pull request."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from reconciler.cli.text import clean
from reconciler.loop import PassReport
from reconciler.model.outcome import Done, NotDone, Unknown

_SIGNS = {"add": "+", "change": "~", "remove": "-", "rename": ">"}
# A comment on a forge may have 65,536 characters (GitHub); the rest is one command away.
MARKDOWN_LIMIT = 60_000
MESSAGE_LIMIT = 500
# How many lines each part of a comment may have: the first number with which the comment is short enough counts.
MOST = (1000, 200, 50, 10)
MARKER = "<!-- rayops plan -->"


def lines(plan: Mapping[str, Any]) -> Iterator[str]:
    """Return a plan for a terminal."""
    for error in plan["errors"]:
        yield f"! {error}"
    for target, texts in plan["problems"].items():
        yield from (f"! {target}: {text}" for text in texts)
    for change in plan["changes"]:
        yield f"{_SIGNS[change['op']]} {change['object']}  {change['message']}"
    for heading, part in (("Now", plan["actions"]), ("Waits", plan["holds"])):
        if part:
            yield ""
            yield f"{heading}:"
            yield from (f"  {_one(each)}" for each in part)
    for held in plan["held"]:
        yield ""
        yield f"Held: {held['message']}"
        yield from (f"  {what}" for what in held["what"])
        yield f"  to let it pass, commit an approval: rayops approve {held['digest']} --reason TEXT"
    yield ""
    yield summary(plan)


def _one(each: Mapping[str, Any]) -> str:
    verb = f"{each['effect']} " if "effect" in each else ""
    part = f"/{each['part']}" if each.get("part") else ""
    return f"{each['object']}{part}  {verb}{each['reason']}: {each['message']}"


def summary(plan: Mapping[str, Any]) -> str:
    """Return a plan in one line."""
    counts = {op: sum(1 for change in plan["changes"] if change["op"] == op) for op in _SIGNS}
    text = f"Plan: {counts['add']} to add, {counts['change']} to change, {counts['remove']} to remove"
    if counts["rename"]:
        text += f", {counts['rename']} to rename"
    text += f"; {len(plan['actions'])} to do now, {len(plan['holds'])} waiting"
    if plan["held"]:
        text += f", {len(plan['held'])} held for approval"
    return f"{text}. Digest {plan['digest'][:12]}."


def markdown(plan: Mapping[str, Any]) -> str:
    """Return a plan as a comment: the counts first, details folded, never longer than a forge takes."""
    for most in MOST:
        text = "\n".join(_comment(plan, most))
        if len(text) <= MARKDOWN_LIMIT:
            return text
    return f"{MARKER}\n**{summary(plan)}**\n\nThe whole plan is too long for a comment; `rayops plan` shows it."


def _comment(plan: Mapping[str, Any], most: int) -> Iterator[str]:
    yield from (MARKER, f"**{summary(plan)}**", "")
    mistakes = [*plan["errors"], *(f"{who}: {text}" for who, texts in plan["problems"].items() for text in texts)]
    yield from _some(mistakes, lambda mistake: f"- :x: {_code(mistake)}", most)
    for held in plan["held"]:
        step = f"rayops approve {held['digest']} --reason TEXT"
        yield f"- :raised_hand: held: {_code(held['message'])}; to let it pass: `{step}`"
        yield from _some(held["what"], lambda what: f"  - {_code(what)}", most)
    if plan["changes"]:
        yield from ("", "```diff", *_some(plan["changes"], _change, most), "```")
    for heading, part in (("What happens now", plan["actions"]), ("What waits, and why", plan["holds"])):
        if part:
            yield from ("", f"<details><summary>{heading} ({len(part)})</summary>", "")
            yield from ("| object | | why |", "|---|---|---|", *_some(part, _row, most), "", "</details>")
    yield from ("", f"Revision {_code(plan['revision'])}, digest `{plan['digest']}`.")


def _some(each: Sequence[Any], show: Callable[[Any], str], most: int) -> Iterator[str]:
    """Return the first as lines, and how many more there are."""
    yield from map(show, each[:most])
    if len(each) > most:
        yield f"… and {len(each) - most} more"


def _change(each: Mapping[str, Any]) -> str:
    return f"{_SIGNS[each['op']]} {_text(each['object'])}  {_text(each['message'])}"


def _row(each: Mapping[str, Any]) -> str:
    part = f"/{each['part']}" if each.get("part") else ""
    what = f"{each.get('effect', '')} {each['reason']}".strip()
    return f"| {_code(each['object'] + part)} | {what} | {_code(each['message'])} |"


def _code(text: str) -> str:
    """Return text as code, in which no forge reads markup, a link, a mention or an issue's number."""
    return f"`{_text(text)}`"


def _text(text: str) -> str:
    """Return text on one line that neither ends a span of code nor a cell of a table.

    Entities would not do: forges look for mentions after they have read the entities.
    """
    short = text if len(text) <= MESSAGE_LIMIT else text[:MESSAGE_LIMIT] + "…"
    return " ".join(clean(short).replace("`", "'").replace("|", "¦").split()) or "-"


def passed(report: PassReport) -> Iterator[str]:
    """Return what one pass did, a line each."""
    if report.trouble:
        yield f"! {report.trouble}"
    for note in report.plan.notes:
        yield f"  {note.target}  {note.because.reason}: {note.because.text}"
    for action in report.plan.actions:
        yield f"* {action.target}  {action.verb} {action.because.reason}: {action.because.text}"
    for hold in report.plan.holds:
        part = f"/{hold.part}" if hold.part else ""
        yield f". {hold.target}{part}  {hold.because.reason}: {hold.because.text}"
    for finished in report.finished:
        match finished.outcome:
            case Done():
                outcome = "done"
            case NotDone(message=message):
                outcome = f"not done: {message}"
            case Unknown(message=message):
                outcome = f"unknown: {message}"
        yield f"= {finished.action.target}  {finished.action.verb}: {outcome}"
