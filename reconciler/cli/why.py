"""`rayops why`: one answer to why an object is as it is, and what to do about it."""

from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from reconciler.cli.advice import next_step
from reconciler.cli.call import Call
from reconciler.cli.exit import Exit
from reconciler.cli.form import as_json, as_yaml
from reconciler.cli.names import POOL, wanted
from reconciler.cli.seen import Seen, rows_of, table_of, texts_of
from reconciler.cli.status import StatusTree
from reconciler.cli.text import age, clean
from reconciler.cli.waiting import Place, needs_of, place_of
from reconciler.model.ids import ObjectId

EXAMPLES = """\
  rayops why job/rl/ppo       where it stands in the queue, who is ahead, what would help
  rayops why pool/h20
"""


def arguments(parser: ArgumentParser) -> None:
    """Add what `why` takes."""
    parser.add_argument("object", metavar="OBJECT", help="such as job/team/name, pool/name or name")
    parser.add_argument(
        "-o", "--output", choices=("text", "json", "yaml"), default="text", help="form of the output"
    )


def run(call: Call) -> Exit:
    """Say why."""
    tree = call.status()
    call.warn_if_stale(tree)
    seen = tree.find(wanted(call.options.object))
    place = place_of(tree, seen)
    if call.options.output != "text":
        value = _plain(seen, place)
        call.screen.line(as_json(value) if call.options.output == "json" else as_yaml(value))
        return Exit.DONE
    call.screen.line(clean(f"{seen.id}: {seen.word('state') or 'Unknown'} for {age(seen.since, call.now)}"))
    for label, text in _answers(tree, seen, place):
        call.screen.line(f"  {label:<6} {clean(text)}")
    return Exit.DONE


def sentence(tree: StatusTree, seen: Seen, place: Place | None) -> str:
    """Return the one sentence about a waiting job, or the reason that the status gives."""
    if place is None:
        return reason(seen)
    parts = [f"Waiting {place.sentence()}", f"needs {place.needs}{_free(tree, place)}"]
    if place.ahead:
        parts.append(f"ahead: {place.before()}")
    return " · ".join(parts)


def reason(seen: Seen) -> str:
    """Return the reason and its sentence."""
    return ": ".join(text for text in (seen.word("reason"), seen.word("message")) if text) or "no reason is given"


def _answers(tree: StatusTree, seen: Seen, place: Place | None) -> Iterator[tuple[str, str]]:
    yield "why", sentence(tree, seen, place)
    if place is not None:
        yield "", reason(seen)
    if seen.word("sync") not in {"", "Synced"}:
        yield "sync", seen.word("sync")
    for condition in seen.conditions:
        if condition.get("status") != "True" and condition.get("message"):
            yield "also", f"{condition.get('type')} {condition.get('status')}: {condition.get('message')}"
    waits = texts_of(seen.detail.get("dependsOn"))
    if waits and seen.word("reason") in {"WaitsForDependency", "DependencyFailed"}:
        yield "needs", ", ".join(_dependency(tree, seen, name) for name in waits)
    if step := next_step(seen.word("reason")):
        yield "next", step


def _dependency(tree: StatusTree, seen: Seen, name: str) -> str:
    team, _, short = name.rpartition("/")
    other = tree.read(ObjectId("Job", team or seen.id.team, short))
    return f"{name} ({other.word('state') if other else 'not there'})"


def _free(tree: StatusTree, place: Place) -> str:
    pool = tree.read(ObjectId(POOL, "", place.pool))
    if pool is None:
        return ""
    if place.needs.gpus:
        free = table_of(pool.detail.get("gpus")).get("free")
        return f", free {free}" if isinstance(free, int) else ""
    nodes = rows_of(pool.detail.get("nodes"))
    idle = [node for node in nodes if node.get("state") == "online" and not node.get("job")]
    return f", free {len(idle)}"


def _plain(seen: Seen, place: Place | None) -> dict[str, Any]:
    return {
        "object": str(seen.id),
        **{key: seen.word(key) for key in ("state", "sync", "health", "reason", "message")},
        "since": seen.since,
        "needs": {"nodes": needs_of(seen.detail.get("needs")).nodes, "gpus": place.needs.gpus} if place else None,
        "queue": place.plain() if place else None,
        "next": next_step(seen.word("reason")),
    }
