"""One file: its bytes become a document, or errors with places."""

from dataclasses import dataclass

import orjson
from pydantic import ValidationError

from reconciler.desired import explain, yaml
from reconciler.model.desired import FileError
from reconciler.model.document import DOCUMENT, Document, identity
from reconciler.model.ids import ObjectId
from reconciler.model.spec import spec_digest


@dataclass(frozen=True, slots=True)
class Parsed:
    """A good file. `written` is its content as JSON, from which `document` can be had again cheaply."""

    id: ObjectId
    document: Document
    digest: str
    written: bytes


def is_document(path: str) -> bool:
    """Say whether a file of the repo is desired state: YAML outside hidden folders."""
    return path.endswith((".yaml", ".yml")) and not path.startswith(".") and "/." not in path


def parse(path: str, content: bytes) -> Parsed | tuple[FileError, ...]:
    """Return the document in `content`, or what is wrong with it. `path` only names the file in errors."""
    try:
        plain = yaml.read(content)
        written = orjson.dumps(plain)
    except yaml.Refused as mistake:
        return (explain.refusal(path, mistake),)
    except TypeError:  # half of a surrogate pair: the pure parser lets it pass, JSON cannot hold it
        return (FileError(path, 1, 1, "", "the file holds text that is not Unicode"),)
    try:
        return restore(written)
    except ValidationError as invalid:
        return explain.mistakes(path, content, plain, invalid)


def restore(written: bytes, digest: str = "") -> Parsed:
    """Return the document that was written as JSON; `digest` spares its computation. Raises ValidationError."""
    # From JSON, pydantic is a fourth faster than from Python values, and lists become tuples on the way.
    document = DOCUMENT.validate_json(written, by_alias=True, by_name=False)
    return Parsed(identity(document), document, digest or spec_digest(document), written)


def team_of(path: str) -> str:
    """Return the team whose folder holds the file, or nothing: `teams/<team>/...`."""
    root, *folders = path.split("/")
    return folders[0] if root == "teams" and len(folders) > 1 else ""


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
