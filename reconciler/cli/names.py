"""How people name kinds and objects on the command line: `jobs`, `job/rl/ppo`, `rl/ppo`, `ppo`."""

import re
from dataclasses import dataclass

from reconciler.cli.exit import Ended, Exit
from reconciler.config import nearest
from reconciler.model.ids import NAME_PATTERN, ObjectId

SITE = "Site"
JOB = "Job"
POOL = "NodePool"
NODE = "Node"  # no document of its own: its pool tells about it

# The order in which `get all` shows them.
KINDS = {
    SITE: ("site", "sites"),
    "Team": ("team", "teams"),
    "User": ("user", "users"),
    "Cluster": ("cluster", "clusters", "cl"),
    POOL: ("pool", "pools", "nodepool", "nodepools"),
    NODE: ("node", "nodes", "no"),
    JOB: ("job", "jobs", "j"),
}
ALL = "all"

_KIND_OF = {word: kind for kind, words in KINDS.items() for word in words}
_NAME = re.compile(NAME_PATTERN.replace("$", r"\Z"))


@dataclass(frozen=True, slots=True)
class Wanted:
    """An object as somebody named it; an empty `kind` or `team` means that any will do."""

    kind: str
    team: str
    name: str

    def fits(self, found: ObjectId) -> bool:
        """Say whether this may mean the object."""
        return self.name == found.name and self.kind in {"", found.kind} and self.team in {"", found.team}

    def __str__(self) -> str:
        return "/".join(part for part in (self.kind.lower(), self.team, self.name) if part)


def kind_of(word: str) -> str:
    """Return the kind that a word of the command line means."""
    kind = _KIND_OF.get(word.lower())
    if kind is None:
        words = [name for names in KINDS.values() for name in names[:2]] + [ALL]
        raise Ended(Exit.USAGE, f"{word}: no such kind ({nearest(word.lower(), words)})")
    return kind


def is_kind(word: str) -> bool:
    """Say whether a word of the command line means a kind."""
    return word.lower() in _KIND_OF


def wanted(text: str, *, kind: str = "", team: str = "") -> Wanted:
    """Return the object that `text` names; `kind` and `team` count where the text leaves them open."""
    first, *rest = text.split("/")
    if rest and (len(rest) == 2 or (is_kind(first) and not kind)):
        kind, (first, *rest) = kind_of(first), rest
    if rest:
        kind, team, first = kind or JOB, first, rest[0]
    names = [first, team] if team else [first]
    if len(rest) > 1 or not all(_NAME.match(name) for name in names) or (team and kind not in {"", JOB}):
        raise Ended(Exit.USAGE, f"{text}: expected an object such as job/team/name, pool/name or name")
    return Wanted(kind, team, first)
