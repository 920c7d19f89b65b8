"""Which objects a `get` is about: kinds, names, team, selector and order."""

import re
from argparse import Namespace
from dataclasses import dataclass
from typing import Any

from reconciler.cli.closed import WORDS, must_be_possible
from reconciler.cli.columns import Scene, columns, natural
from reconciler.cli.exit import Ended, Exit
from reconciler.cli.names import ALL, JOB, KINDS, Wanted, is_kind, kind_of, wanted
from reconciler.cli.seen import Seen, table_of
from reconciler.cli.status import Depth, StatusTree
from reconciler.config import nearest

# What a selector may ask for beside labels: fields of the status, then of the kind's own part.
FIELDS = ("state", "sync", "health", "reason", "user", "pool", "cluster", "priority", "host", "job")

_TERM = re.compile(r"(?P<absent>!)?(?P<key>[\w./-]+)(?:(?P<sign>!=|==?)(?P<value>[^=!]*))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody wants to see. Without names it is every object of the kinds; `terms` select among them."""

    kinds: tuple[str, ...]
    names: tuple[Wanted, ...] = ()
    team: str = ""
    terms: tuple["Term", ...] = ()

    @property
    def table(self) -> str:
        """The kind whose columns fit; nothing when there are several."""
        return self.kinds[0] if len(self.kinds) == 1 else ""

    def chosen(self, found: list[Seen]) -> list[Seen]:
        """Return those that the selector means; a word that none of the kinds can say ends the call."""
        for term in self.terms:
            if term.key in WORDS and term.sign and not any(term.key in seen.labels for seen in found):
                must_be_possible(str(term), term.key, term.value, self.kinds)
        return [seen for seen in found if all(term.fits(seen) for term in self.terms)]


@dataclass(frozen=True, slots=True)
class Term:
    """One condition of a selector: `key`, `!key`, `key=value` or `key!=value`."""

    key: str
    sign: str = ""
    value: str = ""
    absent: bool = False

    def fits(self, seen: Seen) -> bool:
        """Say whether an object is as the condition says."""
        fact = _fact(seen, self.key)
        return (fact == self.value) == (self.sign != "!=") if self.sign else (fact is None) == self.absent

    def __str__(self) -> str:
        return f"{self.key}{self.sign}{self.value}"


def asked(options: Namespace) -> Asked:
    """Return what the words of a `get` mean."""
    first, *rest = options.what
    team = "" if options.all_teams else options.team
    terms = terms_of(options.selector)
    if "/" in first:
        names = tuple(wanted(word, kind="" if _names_kind(word) else JOB, team=team) for word in options.what)
        return Asked(tuple(dict.fromkeys(name.kind for name in names)), names, team, terms)
    kinds = tuple(KINDS) if first == ALL else tuple(dict.fromkeys(kind_of(word) for word in first.split(",")))
    if rest and len(kinds) > 1:
        raise Ended(Exit.USAGE, f"{rest[0]}: names go with one kind (write kind/name for several)")
    scope = team if kinds == (JOB,) else ""
    return Asked(kinds, tuple(wanted(word, kind=kinds[0], team=scope) for word in rest), team, terms)


def look(tree: StatusTree, request: Asked, depth: Depth) -> tuple[list[Seen], list[str]]:
    """Return the objects that are asked for, and why some of the named ones are missing."""
    if not request.names:
        found = tree.all(set(request.kinds), depth)
        return request.chosen([seen for seen in found if request.team in {"", seen.id.team}]), []
    named, missing = [], []
    for name in request.names:
        try:
            named.append(tree.find(name))
        except Ended as end:
            if end.code is not Exit.NOT_FOUND:
                raise
            missing.append(end.message)
    return request.chosen(named), missing


def arranged(found: list[Seen], order: str, kind: str, scene: Scene) -> list[Seen]:
    """Return objects in the order of a column, or of a dotted field of their documents."""
    if not order:
        return found
    known = {column.title.lower(): column for column in columns(kind, wide=True)}
    column = known.get(order.lower())
    if column:
        return sorted(found, key=lambda seen: column.rank(seen, scene))
    if "." not in order and not any(order in seen.document for seen in found):
        raise Ended(Exit.USAGE, f"{order}: no such column to sort by ({nearest(order.lower(), list(known))})")
    return sorted(found, key=lambda seen: natural(str(_field(seen, order))))


def terms_of(text: str) -> tuple[Term, ...]:
    """Return the conditions that a selector like `pool=h20,state!=Running` means."""
    return tuple(_term(term.strip()) for term in text.split(",")) if text else ()


def _names_kind(word: str) -> bool:
    return word.count("/") > 1 or ("/" in word and is_kind(word.partition("/")[0]))


def _term(term: str) -> Term:
    found = _TERM.fullmatch(term)
    if found is None or (found["absent"] and found["sign"]):
        raise Ended(Exit.USAGE, f"{term}: expected a selector such as pool=h20, state!=Running, key or !key")
    return Term(found["key"], found["sign"] or "", found["value"] or "", absent=bool(found["absent"]))


def _fact(seen: Seen, key: str) -> str | None:
    """Return a label, else a field that a selector may ask for."""
    if key in seen.labels:
        return str(seen.labels[key])
    if key in {"name", "team"}:
        return str(getattr(seen.id, key))
    value = seen.document.get(key, seen.detail.get(key)) if key in FIELDS else None
    return value if isinstance(value, str) else None


def _field(seen: Seen, dotted: str) -> Any:
    value: Any = seen.document
    for name in dotted.removeprefix(".").split("."):
        value = table_of(value).get(name)
    return "-" if value is None else value
