"""From the words of a command line to one verb that runs, and from whatever happens to one exit code."""

import traceback
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from typing import NoReturn

from reconciler import __version__
from reconciler.cli.call import Call, Surroundings
from reconciler.cli.exit import Ended, Exit
from reconciler.cli.screen import Screen
from reconciler.cli.verbs import VERBS, Verb, verb_named
from reconciler.config import nearest
from reconciler.remote.files import FilesError

_DESCRIPTION = "RayOps: a declarative GitOps reconciler for native Ray clusters."
_EXIT_CODES = """exit codes:
  0 done   1 the answer is no   2 wrong usage or document   3 not found   4 timed out
  5 status unreachable or stale   6 refused   70 a bug in rayops   130 interrupted
"""
_WITH_VALUE = ("--config", "--status")


class _Told(Exception):
    """Somebody asked for help or for the version, and this is it."""


class Parser(ArgumentParser):
    """A parser that takes no abbreviations, and ends a call instead of the process."""

    def __init__(self, prog: str, *, description: str, epilog: str = "", add_help: bool = True) -> None:
        super().__init__(
            prog=prog,
            description=description,
            epilog=epilog,
            add_help=add_help,
            allow_abbrev=False,
            formatter_class=RawDescriptionHelpFormatter,
        )

    @property
    def flags(self) -> list[str]:
        """The long and short options that are known here."""
        return sorted(self._option_string_actions)

    @property
    def positional_choices(self) -> list[str]:
        """The words that may stand where no option does."""
        return [str(choice) for action in self._get_positional_actions() for choice in action.choices or ()]

    def choices(self, flag: str) -> list[str] | None:
        """Return what may follow a flag: None when nothing does, nothing when anything may."""
        action = self._option_string_actions.get(flag)
        if action is None or action.nargs == 0:
            return None
        return [str(choice) for choice in action.choices or ()]

    def _print_message(self, message: str, file: object = None) -> NoReturn:  # noqa: ARG002 argparse hands it over
        """Hand the text over instead of writing it: the call knows its own streams."""
        raise _Told(message)

    def error(self, message: str) -> NoReturn:
        """End the call: the command line is wrong."""
        unknown = message.removeprefix("unrecognized arguments: ").split(" ")[0]
        if unknown.startswith("-"):
            message = f"no such option {unknown} ({nearest(unknown.partition('=')[0], self.flags)})"
        raise Ended(Exit.USAGE, f"{self.prog}: {message} (see `{self.prog} --help`)")


def run(words: Sequence[str], around: Surroundings) -> int:
    """Run the command line and return its exit code; nothing but the code and the texts comes out."""
    verbose = "-v" in words or "--verbose" in words
    try:
        return int(_run(words, around))
    except Ended as end:
        return _say(around, end.code, end.message)
    except (FilesError, PermissionError) as error:
        return _say(around, *_no_files(error))
    except BrokenPipeError:
        return int(Exit.DONE)  # the reader has what it wanted
    except KeyboardInterrupt:
        return int(Exit.INTERRUPTED)
    except _Told as told:
        around.out.write(told.args[0])
        return int(Exit.DONE)
    except Exception as error:  # noqa: BLE001 the last line: a bug of ours must not look like the answer "no"
        if verbose:
            traceback.print_exc(file=around.err)
        what = f"{type(error).__name__}: {error}" + ("" if verbose else " (-v shows where)")
        return _say(around, Exit.BUG, f"this is a bug in rayops: {what}")


def _no_files(error: FilesError | PermissionError) -> tuple[Exit, str]:
    if isinstance(error, FilesError):
        return Exit.UNREACHABLE, error.message
    return Exit.REFUSED, f"{error.filename}: {error.strerror}; run this as the daemon's user"


def verb_parser(verb: Verb) -> Parser:
    """Return the parser of one verb; its options and the global ones are in it."""
    code = verb.load()
    epilog = f"examples:\n{code.EXAMPLES}" if code.EXAMPLES else ""
    parser = Parser(
        f"rayops {verb.name}", description=verb.summary[:1].upper() + verb.summary[1:] + ".", epilog=epilog
    )
    code.arguments(parser)
    _global_options(parser)
    return parser


def _run(words: Sequence[str], around: Surroundings) -> Exit:
    before, name, after = split(words)
    options = _top_parser().parse_args(before, Namespace(config="", status="", no_color=False, verbose=False))
    if not name:
        around.out.write(_top_parser().format_help())
        return Exit.USAGE
    verb = verb_named(name)
    if verb is None:
        known = [verb.name for verb in VERBS if not verb.hidden]
        raise Ended(Exit.USAGE, f"rayops: no such verb {name} ({nearest(name, known)})")
    options = verb_parser(verb).parse_args(after, options)
    return verb.load().run(Call(options, around, _screen(options, around)))


def split(words: Sequence[str]) -> tuple[Sequence[str], str, Sequence[str]]:
    """Return the global options before the verb, the verb, and what follows it."""
    place = 0
    while place < len(words) and words[place].startswith("-"):
        place += 2 if words[place] in _WITH_VALUE else 1
    name = words[place] if place < len(words) else ""
    return words[:place], name, words[place + 1 :]


def _screen(options: Namespace, around: Surroundings) -> Screen:
    columns, lines = around.size or (None, None)
    silent = options.no_color or around.environment.no_color or around.environment.dumb
    return Screen(around.out, around.err, columns, lines, colour=around.size is not None and not silent)


def _global_options(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("global options")
    options: dict[str, dict[str, str]] = {
        "--config": {
            "metavar": "FILE",
            "help": "settings (else $RAYOPS_CONFIG, ./rayops.toml, /etc/rayops/rayops.toml)",
        },
        "--status": {"metavar": "DIR", "help": "status directory (else $RAYOPS_STATUS, else as the settings say)"},
        "--no-color": {"action": "store_true", "help": "no colours, as with $NO_COLOR"},
    }
    for flag, settings in options.items():
        group.add_argument(flag, default="==SUPPRESS==", **settings)  # type: ignore[arg-type]  # plain keyword texts
    group.add_argument(
        "-v", "--verbose", action="store_true", default="==SUPPRESS==", help="say more when it fails"
    )


def _top_parser() -> Parser:
    width = max(len(verb.name) for verb in VERBS)
    groups = dict.fromkeys(verb.group for verb in VERBS)
    lines = []
    for group in groups:
        shown = [verb for verb in VERBS if verb.group == group and not verb.hidden]
        lines += [f"{group.lower()}:", *(f"  {verb.name:<{width}}  {verb.summary}" for verb in shown), ""]
    parser = Parser("rayops", description=_DESCRIPTION, epilog="\n".join(lines) + "\n" + _EXIT_CODES)
    parser.usage = "rayops [global options] VERB ..."
    parser.add_argument("--version", action="version", version=f"rayops {__version__}")
    _global_options(parser)
    return parser


def _say(around: Surroundings, code: Exit, message: str) -> int:
    if message:
        Screen(around.out, around.err).note(message)
    return int(code)
