"""What may come next on a command line: verbs, then kinds and objects from the index, and options of the verb."""

from argparse import REMAINDER, ArgumentParser
from collections.abc import Iterable, Sequence

from reconciler.cli.call import Call
from reconciler.cli.exit import Ended, Exit
from reconciler.cli.names import ALL, JOB, KINDS, is_kind, kind_of
from reconciler.cli.parser import Parser, split, verb_parser
from reconciler.cli.status import Depth
from reconciler.cli.verbs import VERBS, Verb, verb_named
from reconciler.remote.files import FilesError

EXAMPLES = ""

# More candidates help nobody, and a terminal takes seconds to show them.
MOST = 2000
EVERY = ("*",)


def arguments(parser: ArgumentParser) -> None:
    """Add the words of the unfinished command line."""
    parser.add_argument("words", nargs=REMAINDER)


def run(call: Call) -> Exit:
    """Write one candidate per line; a command line that makes no sense has none."""
    words = call.options.words[1:] if call.options.words[:1] == ["--"] else call.options.words
    *before, current = words or [""]
    try:
        found = sorted(word for word in candidates(call, before, current) if word.startswith(current))
    except (Ended, FilesError):
        found = []
    for word in found[:MOST]:
        call.screen.line(word)
    return Exit.DONE


def candidates(call: Call, before: Sequence[str], current: str) -> Iterable[str]:
    """Return what may stand where `current` stands."""
    _, name, after = split(before)
    if not name:
        return [verb.name for verb in VERBS if not verb.hidden]
    verb = verb_named(name)
    if verb is None:
        return []
    parser = verb_parser(verb)
    values = parser.choices(before[-1]) if after else None
    if values is not None:
        return _teams(call) if before[-1] in {"-T", "--team"} else values
    if current.startswith("-"):
        return [flag for flag in parser.flags if flag.startswith("--") or current == "-"]
    if not verb.objects:
        return parser.positional_choices
    return _objects(call, verb, _arguments(parser, after), current)


def _arguments(parser: Parser, after: Sequence[str]) -> list[str]:
    """Return the words that are neither options nor what follows one."""
    flags = ["", *after]
    return [
        word
        for flag, word in zip(flags, after, strict=False)
        if not word.startswith("-") and parser.choices(flag) is None
    ]


def _objects(call: Call, verb: Verb, after: Sequence[str], current: str) -> Iterable[str]:
    kinds = [kind for kind in KINDS if verb.objects == EVERY or kind in verb.objects]
    if kinds == [JOB]:
        return _names(call, JOB)
    prefix = current.partition("/")[0]
    if "/" in current and is_kind(prefix):
        return [f"{prefix}/{name}" for name in _names(call, kind_of(prefix))]
    if verb.name != "get":
        return [f"{KINDS[kind][0]}/" for kind in kinds]
    if after and is_kind(after[0]):
        return _names(call, kind_of(after[0]))
    return [ALL, *(KINDS[kind][1] for kind in kinds)]


def _names(call: Call, kind: str) -> list[str]:
    rows = call.status().all({kind}, Depth.ROW)
    return [f"{row.id.team}/{row.id.name}" if row.id.team else row.id.name for row in rows]


def _teams(call: Call) -> list[str]:
    return sorted({row.id.team for row in call.status().all({JOB}, Depth.ROW)} | set(_names(call, "Team")))
