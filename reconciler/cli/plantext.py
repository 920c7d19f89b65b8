"""Plans and passes in words, for a terminal and for a pull request."""

from collections.abc import Iterator, Mapping
from typing import Any

from reconciler.loop import PassReport
from reconciler.model.outcome import Done, NotDone, Unknown

_SIGNS = {"add": "+", "change": "~", "remove": "-", "rename": ">"}
# A comment on a forge may have 65,536 characters (GitHub); the rest is one command away.
MARKDOWN_LIMIT = 60_000
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
        yield f"  to let it pass, commit an approval: rayops approve {held['digest']}"
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
    text += f"; {len(plan['actions'])} actions now, {len(plan['holds'])} waiting"
    if plan["held"]:
        text += f", {len(plan['held'])} held for approval"
    return f"{text}. Digest {plan['digest'][:12]}."


def markdown(plan: Mapping[str, Any]) -> str:
    """Return a plan as a comment: the counts first, details folded, never longer than a forge takes."""
    body = [MARKER, f"**{summary(plan)}**", ""]
    body.extend(f"- :x: `{_code(error)}`" for error in plan["errors"])
    for target, texts in plan["problems"].items():
        body.extend(f"- :x: `{target}`: {_escape(text)}" for text in texts)
    body.extend(
        f"- :raised_hand: held: {_escape(held['message'])}; approve `{held['digest']}`" for held in plan["held"]
    )
    if plan["changes"]:
        body += [
            "",
            "```diff",
            *(_code(f"{_SIGNS[c['op']]} {c['object']}  {c['message']}") for c in plan["changes"]),
        ]
        body.append("```")
    for heading, part in (("What happens now", plan["actions"]), ("What waits, and why", plan["holds"])):
        if part:
            body += [
                "",
                f"<details><summary>{heading} ({len(part)})</summary>",
                "",
                "| object | | why |",
                "|---|---|---|",
            ]
            body += [_row(each) for each in part]
            body += ["", "</details>"]
    text = "\n".join(body) + f"\n\nRevision `{plan['revision']}`, digest `{plan['digest']}`.\n"
    if len(text) <= MARKDOWN_LIMIT:
        return text
    return f"{MARKER}\n**{summary(plan)}**\n\nThe whole plan is too long for a comment; `rayops plan` shows it.\n"


def _row(each: Mapping[str, Any]) -> str:
    part = f"/{each['part']}" if each.get("part") else ""
    return f"| `{each['object']}{part}` | {each.get('effect', '')} {each['reason']} | {_escape(each['message'])} |"


def _escape(text: str) -> str:
    """Return text that no forge reads as markup, a mention or a link."""
    for sign in "\\`*_{}[]<>#|@!~":
        text = text.replace(sign, f"&#{ord(sign)};")
    return " ".join(text.split())


def _code(text: str) -> str:
    return " ".join(text.replace("`", "'").split())


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
