"""Desired state: typed objects of one revision, and what is wrong with the files that gave none."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from reconciler.model.document import Document, from_json
from reconciler.model.ids import ObjectId


@dataclass(frozen=True, slots=True, order=True)
class FileError:
    """One mistake in one file. `line` and `column` count from 1; `field` is a dotted path, or empty.

    `hint` names the next step, often the nearest valid name. The offending value is never part of any text: it may
    be a secret.
    """

    path: str
    line: int
    column: int
    field: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        """Return the form that editors and people click on: `path:line:col: field: message (hint)`."""
        where = f"{self.path}:{self.line}:{self.column}"
        what = f"{self.field}: {self.message}" if self.field else self.message
        return f"{where}: {what} ({self.hint})" if self.hint else f"{where}: {what}"


class Said:
    """What a file says, as JSON; the document is made of it when somebody asks for it first.

    Of the thousands of objects that a restart recalls, making the documents would cost most, and most are at rest.
    """

    __slots__ = ("_document", "written")

    def __init__(self, written: bytes, document: Document | None = None) -> None:
        self.written = written
        self._document = document

    @property
    def document(self) -> Document:
        """The document, made once. The JSON was a good file before."""
        if self._document is None:
            self._document = from_json(self.written)
        return self._document

    def __eq__(self, other: object) -> bool:
        """Compare documents, of which none is made for equal JSON."""
        return isinstance(other, Said) and (self.written == other.written or self.document == other.document)

    __hash__ = None  # type: ignore[assignment]  # as of a document, which holds mappings


@dataclass(frozen=True, slots=True)
class Loaded:
    """One object as its file says. `digest` covers what runs (model/spec.py).

    `stale` is set when the file at this revision is broken and this is its last good content. `content_id` is empty
    once the object has left the file at `path` and is kept only because it may be in another one.
    """

    id: ObjectId
    said: Said
    digest: str
    path: str
    content_id: str
    stale: bool = False

    @property
    def document(self) -> Any:
        """The pydantic object."""
        return self.said.document

    @property
    def written(self) -> bytes:
        """The file as JSON, for whoever has to remember the object."""
        return self.said.written


# Among the names of teams: any of them. No team can be called so.
ANY_TEAM = "*"


def homes(identity: ObjectId) -> frozenset[str]:
    """Return the teams in whose folders the file of an object may be; the empty name means the site's own files."""
    if identity.kind == "Team":
        return frozenset({"", identity.name, ANY_TEAM})
    return frozenset({identity.team, ANY_TEAM} if identity.team else {""})


@dataclass(frozen=True, slots=True)
class Desired:
    """Everything people asked for at one revision.

    `errors` lists broken files; `problems` lists, per object, what its file cannot know (a pool that does not
    exist, a dependency cycle): such an object is held, nothing of it is undone. `unsettled` names teams (empty for
    the site's own objects) with a broken file that never was good, or with two files for one object of which none
    was accepted: they may describe an object that is missing here, so nothing that they hide may be removed.
    `lingering` are objects that no file describes any more and that stay in force only because a broken file may.
    """

    revision: str
    objects: Mapping[ObjectId, Loaded]
    errors: tuple[FileError, ...] = ()
    problems: Mapping[ObjectId, tuple[str, ...]] = field(default_factory=dict)
    unsettled: frozenset[str] = frozenset()
    lingering: frozenset[ObjectId] = frozenset()

    def hides(self, identity: ObjectId) -> bool:
        """Say whether a file that is not understood may describe an object."""
        return not homes(identity).isdisjoint(self.unsettled)

    def hidden_in(self, identity: ObjectId) -> str:
        """Name the folders with files that are not understood and may describe an object."""
        names = {"": "the site's own files", ANY_TEAM: "teams"}
        return " or ".join(names.get(team, f"teams/{team}") for team in sorted(homes(identity) & self.unsettled))
