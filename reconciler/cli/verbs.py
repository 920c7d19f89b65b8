"""The table of verbs. A new verb is one module and one line here; its module is loaded only when it is called."""

from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol

from reconciler.cli.call import Call
from reconciler.cli.exit import Exit


class Command(Protocol):
    """What a verb's module provides, or an object in it."""

    EXAMPLES: str
    """Shown below `--help`; empty for none."""

    def arguments(self, parser: ArgumentParser) -> None:
        """Add the options and arguments of the verb."""

    def run(self, call: Call) -> Exit:
        """Do it."""


@dataclass(frozen=True, slots=True)
class Verb:
    """One verb. `code` names a module, or `module:object`; `objects` lists the kinds it completes, `*` for all."""

    name: str
    group: str
    summary: str
    code: str
    objects: Sequence[str] = ()

    @property
    def hidden(self) -> bool:
        """Whether it is for programs only."""
        return self.name.startswith("_")

    def load(self) -> Command:
        """Return the code of the verb."""
        module, _, name = self.code.partition(":")
        loaded = import_module(module)
        found: Command = getattr(loaded, name) if name else loaded
        return found


READ = "Look"
DRIVE = "Drive the loop"
WRITE = "Write desired state"
HELP = "Get help"

VERBS = (
    Verb("get", READ, "list objects, or show some as JSON or YAML", "reconciler.cli.get", ("*",)),
    Verb("describe", READ, "show one object on one page", "reconciler.cli.describe", ("*",)),
    Verb("why", READ, "say why an object is as it is, and what to do", "reconciler.cli.why", ("*",)),
    Verb("logs", READ, "show what a job printed", "reconciler.cli.logs", ("Job",)),
    Verb("history", READ, "show what happened", "reconciler.cli.history", ("*",)),
    Verb("wait", READ, "wait until something is true of an object", "reconciler.cli.wait", ("*",)),
    Verb("init", WRITE, "make a desired-state repo from the template", "reconciler.cli.init"),
    Verb("validate", WRITE, "check the files of a work tree", "reconciler.cli.check:VALIDATE"),
    Verb("schema", WRITE, "print or write the JSON Schemas of the kinds", "reconciler.cli.check:SCHEMA"),
    Verb("suspend", WRITE, "let RayOps leave an object alone", "reconciler.cli.change:SUSPEND", ("*",)),
    Verb("resume", WRITE, "let RayOps look after it again", "reconciler.cli.change:RESUME", ("*",)),
    Verb("stop", WRITE, "end a job and keep its file", "reconciler.cli.change:STOP", ("Job",)),
    Verb("rerun", WRITE, "run a job once more", "reconciler.cli.change:RERUN", ("Job",)),
    Verb("drain", WRITE, "take a node out of service", "reconciler.cli.change:DRAIN", ("Node",)),
    Verb("undrain", WRITE, "put a node back into service", "reconciler.cli.change:UNDRAIN", ("Node",)),
    Verb("approve", WRITE, "let a held plan pass", "reconciler.cli.change:APPROVE"),
    Verb("plan", DRIVE, "show what would happen and why; change nothing", "reconciler.cli.plan"),
    Verb("run", DRIVE, "be the daemon", "reconciler.cli.run:RUN"),
    Verb("once", DRIVE, "do one pass", "reconciler.cli.run:ONCE"),
    Verb("sync", DRIVE, "make the daemon look at its source now", "reconciler.cli.run:SYNC"),
    Verb("accept", DRIVE, "let a rewritten history be applied", "reconciler.cli.run:ACCEPT"),
    Verb("recover", DRIVE, "rebuild a lost ledger from what the world shows", "reconciler.cli.recover"),
    Verb("completion", HELP, "print the completion script of a shell", "reconciler.cli.completion"),
    Verb("__complete", HELP, "answer a completion script", "reconciler.cli.complete"),
)


def verb_named(name: str) -> Verb | None:
    """Return the verb of that name, or None."""
    return next((verb for verb in VERBS if verb.name == name), None)
