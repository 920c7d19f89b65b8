"""One file: its bytes become a document, or errors with places."""

import re
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import orjson
from pydantic import ValidationError

from reconciler.desired import explain, yaml
from reconciler.model.desired import ANY_TEAM, FileError, Loaded, Said
from reconciler.model.document import from_json, identity
from reconciler.model.ids import NAME_PATTERN, ObjectId
from reconciler.model.json import fitted
from reconciler.model.spec import spec_digest

# Its path, which only names it, its content id, and its content.
File: TypeAlias = tuple[str, str, bytes]
Errors: TypeAlias = tuple[FileError, ...]

_FOLDER = re.compile(f"users|clusters|nodepools|teams(/{NAME_PATTERN[1:-1]}(/jobs)?)?")


def is_document(path: str) -> bool:
    """Say whether a file of the repo is desired state: YAML outside hidden folders."""
    return path.endswith((".yaml", ".yml")) and not path.startswith(".") and "/." not in path


def parse(path: str, content: bytes) -> Loaded | Errors:
    """Return the object in `content`, or what is wrong with it. `path` only names the file in errors."""
    return parse_all([(path, "", content)])[0]


def parse_all(files: Sequence[File]) -> list[Loaded | Errors]:
    """Return for each file what `parse` does."""
    with yaml.reading_many() as read:
        # Reading all before judging all: a processor keeps the code of either at hand, but not that of both.
        written = [fitted(orjson.dumps(read(content))) for _, _, content in files]
    return [
        _validated(file, text) if text != _NOTHING else _closely(file)
        for file, text in zip(files, written, strict=True)
    ]


_NOTHING = orjson.dumps(None)


def _closely(file: File) -> Loaded | Errors:
    path, _, content = file
    try:
        return _validated(file, fitted(orjson.dumps(yaml.read(content))))
    except yaml.Refused as mistake:
        return (explain.refusal(path, mistake),)
    except TypeError:  # half of a surrogate pair: the pure parser lets it pass, JSON cannot hold it
        return (FileError(path, 1, 1, "", "the file holds text that is not Unicode"),)


def _validated(file: File, written: bytes) -> Loaded | Errors:
    path, content_id, content = file
    try:
        return restore(written, path, content_id)
    except ValidationError as invalid:
        return explain.mistakes(path, content, orjson.loads(written), invalid)


def restore(written: bytes, path: str = "", content_id: str = "") -> Loaded:
    """Return the object that was written as JSON. Raises ValidationError."""
    # From JSON, lists become tuples on the way.
    document = from_json(written)
    return Loaded(identity(document), Said(written, document), spec_digest(document), path, content_id)


def team_of(path: str) -> str:
    """Return the team whose folder holds the file, or nothing: `teams/<team>/...`."""
    team, slash, _ = path.removeprefix("teams/").partition("/")
    return team if slash and path.startswith("teams/") else ""


def teams_in(path: str) -> frozenset[str]:
    """Return the teams of which documents may be at a path, or below it if it is a folder."""
    if path == "teams":
        return frozenset({"", ANY_TEAM})
    return frozenset({team_of(path if is_document(path) else f"{path}/any.yaml")})


def is_place(path: str) -> bool:
    """Say whether documents are expected at a path or below it, whatever there is: it is one or a usual folder."""
    return is_document(path.lower()) or _FOLDER.fullmatch(path) is not None


def folders_of(paths: Iterable[str]) -> set[str]:
    """Return every folder that leads to one of the paths."""
    found = set[str]()
    for path in paths:
        folder = path.rpartition("/")[0]
        while folder and folder not in found:
            found.add(folder)
            folder = folder.rpartition("/")[0]
    return found


def misplaced(path: str, found: ObjectId) -> FileError | None:
    """Return the error of an object whose team is not its folder, which decides who may approve changes to it."""
    folder = team_of(path)
    team = found.name if found.kind == "Team" and folder else found.team
    if team == folder:
        return None
    if found.kind == "Job":
        return FileError(path, 1, 1, "metadata.team", "the team must equal the folder", f"move it to teams/{team}/")
    what = "the name of a team must equal its folder" if found.kind == "Team" else "this kind belongs to no team"
    return FileError(path, 1, 1, "kind", what, "move it out of this team's folder")


def twice(path: str, who: ObjectId, others: Sequence[str]) -> FileError:
    """Return the error of a file whose object other files describe as well."""
    named = ", ".join(others[:3])
    return FileError(path, 1, 1, "metadata.name", f"{who} is described in {named} too", "keep one of the files")
