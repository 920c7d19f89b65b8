"""`rayops wait`: until something is true of an object, cannot become true any more, or time is up."""

import re
from argparse import ArgumentParser
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from reconciler.cli.call import Call
from reconciler.cli.closed import WORDS, must_be_possible
from reconciler.cli.exit import Ended, Exit
from reconciler.cli.form import as_json_line
from reconciler.cli.names import JOB, KINDS, Wanted, wanted
from reconciler.cli.seen import Seen, table_of
from reconciler.cli.status import StatusTree
from reconciler.cli.text import clean, clock_time
from reconciler.config import nearest
from reconciler.model.duration import read_duration
from reconciler.model.states import JOB_ENDED

PACE = timedelta(seconds=1)

EXAMPLES = """\
  rayops wait job/rl/ppo --for=state=Succeeded --timeout 10m
  rayops wait cluster/main --for=condition=Ready
  rayops wait job/rl/ppo --for=deleted
  rayops wait job/rl/ppo --for=state=Succeeded --appear --spec teams/rl/jobs/ppo.yaml
"""

_GOAL = re.compile(r"(?P<field>[a-z]+)=(?P<word>\w+)(?:=(?P<status>True|False|Unknown))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Goal:
    """What is waited for; `met` looks at an object, or at None when there is none. `field` is to say `word`."""

    text: str
    met: Callable[[Seen | None], bool]
    field: str = ""
    word: str = ""

    @property
    def deletion(self) -> bool:
        """Whether it is waited for the object's end."""
        return not self.field

    def must_be_possible(self, kind: str) -> None:
        """End the call if no object of the kind, or of any kind without one, can ever say so."""
        if not self.deletion:
            said = f"--for={self.field}={self.word}"
            must_be_possible(said, self.field, self.word, [kind] if kind else KINDS)

    def hopeless(self, seen: Seen | None, *, was_there: bool) -> str:
        """Return why it cannot come true any more, or nothing while it can."""
        if seen is None:
            return "it is gone" if was_there else ""
        ended = seen.id.kind == JOB and seen.word("state") in JOB_ENDED
        if ended and not self.deletion:
            return f"it has ended as {seen.word('state')}: {seen.word('message') or seen.word('reason')}"
        return ""


def arguments(parser: ArgumentParser) -> None:
    """Add what `wait` takes."""
    parser.add_argument("object", metavar="OBJECT", help="such as job/team/name, cluster/name or name")
    help_for = "state=WORD, health=WORD, sync=WORD, condition=TYPE[=False], or deleted"
    parser.add_argument("--for", dest="goal", required=True, metavar="WHAT", help=help_for)
    parser.add_argument("--timeout", default="", metavar="LENGTH", help="give up after 90s, 15m, 2h (never)")
    parser.add_argument("--appear", action="store_true", help="wait also until there is such an object")
    parser.add_argument(
        "--spec", type=Path, metavar="FILE", help="count only what is said of the object as FILE describes it"
    )
    parser.add_argument(
        "-o", "--output", choices=("text", "json"), default="text", help="a line per change as JSON"
    )


def run(call: Call) -> Exit:
    """Wait, and tell each change on the way."""
    goal = goal_of(call.options.goal)
    named = wanted(call.options.object)
    goal.must_be_possible(named.kind)
    try:
        limit = read_duration(call.options.timeout) if call.options.timeout else None
    except ValueError as error:
        raise Ended(Exit.USAGE, f"--timeout {call.options.timeout}: {error}") from error
    began, digest = call.around.clock.now(), _digest(call.options.spec)
    told, before = "", None
    while True:
        seen = _look(call, named, goal, before)
        if seen is not None:
            goal.must_be_possible(seen.id.kind)
        told = _tell(call, seen, told)
        if _counts(seen, digest):
            if goal.met(seen):
                if seen is None and before is None:
                    call.screen.note(f"{named}: it has no status; it is gone, or it never was")
                return Exit.DONE
            if why := goal.hopeless(seen, was_there=before is not None):
                raise Ended(Exit.NO, f"{before.id if before else named}: {goal.text} cannot come true: {why}")
        before = seen or before
        left = PACE if limit is None else limit - call.around.clock.now().since(began)
        if left <= timedelta():
            raise Ended(Exit.TIMED_OUT, f"{named}: not {goal.text} after {call.options.timeout}")
        if not call.pause(min(PACE, left)):
            return Exit.INTERRUPTED


def _look(call: Call, named: Wanted, goal: Goal, before: Seen | None) -> Seen | None:
    """Return the object as its status says; before there is any status, nobody can say, unless it may appear."""
    try:
        tree = _fresh(call, named)
        return tree.read(before.id) if before else tree.find(named)
    except Ended as end:
        if end.code is Exit.NOT_FOUND and goal.deletion:
            # It may have gone before anybody waited; a status that is fresh and does not name it is proof.
            return None
        not_yet = {Exit.NOT_FOUND, Exit.UNREACHABLE} if before is None else set()
        if end.code in not_yet and call.options.appear and not goal.deletion:
            return None
        raise


def _fresh(call: Call, named: Wanted) -> StatusTree:
    tree = call.status()
    if stale := tree.stale(call.now):
        raise Ended(Exit.UNREACHABLE, f"{named}: nobody can say: {stale}")
    return tree


def _digest(file: Path | None) -> str:
    """Return the digest of what a file describes, or nothing without a file."""
    if file is None:
        return ""
    from reconciler.desired.parse import parse
    from reconciler.model.desired import Loaded

    try:
        found = parse(str(file), file.read_bytes())
    except OSError as error:
        raise Ended(Exit.USAGE, f"{file}: cannot be read: {error.strerror}") from error
    if not isinstance(found, Loaded):
        raise Ended(Exit.USAGE, "\n".join(map(str, found)))
    return found.digest


def _counts(seen: Seen | None, digest: str) -> bool:
    """Say whether a status speaks of the wanted spec, and not of the one before an edit."""
    return not digest or seen is None or table_of(seen.document.get("observed")).get("specDigest") == digest


def goal_of(text: str) -> Goal:
    """Return what the words after `--for` mean."""
    if text in {"deleted", "delete"}:
        return Goal("deleted", lambda seen: seen is None)
    found = _GOAL.fullmatch(text)
    if found is None or found["field"] not in WORDS or (found["status"] and found["field"] != "condition"):
        hint = nearest(text.partition("=")[0], [*WORDS, "deleted"])
        raise Ended(Exit.USAGE, f"--for={text}: expected state=Succeeded, condition=Ready or deleted ({hint})")
    field, word, status = found["field"], found["word"], found["status"] or "True"
    if field == "condition":
        fact = word, status
        return Goal(f"{word}={status}", lambda seen: seen is not None and fact in _conditions(seen), field, word)
    return Goal(text, lambda seen: seen is not None and seen.word(field) == word, field, word)


def _conditions(seen: Seen) -> set[tuple[str, str]]:
    return {(str(row.get("type")), str(row.get("status"))) for row in seen.conditions}


def _tell(call: Call, seen: Seen | None, told: str) -> str:
    """Write one line when there is something new, and return what was told last."""
    if seen is None:
        return told
    state, why = seen.word("state") or "Unknown", seen.word("message") or seen.word("reason")
    text = f"{state}: {why}" if why not in {"", state} else state
    if text != told and call.options.output == "json":
        call.screen.line(as_json_line(seen.document))
    elif text != told:
        call.screen.line(f"{clock_time(call.now.isoformat())}  {seen.id}  {clean(text)}")
    return text
