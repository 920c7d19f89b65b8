"""The kinds of documents, and the one way from plain values to a document."""

from typing import Annotated, Any, TypeAlias

from pydantic import Field, TypeAdapter

from reconciler.model.cluster import Cluster
from reconciler.model.ids import ObjectId
from reconciler.model.job import Job
from reconciler.model.nodepool import NodePool
from reconciler.model.site import Site
from reconciler.model.spec import Strict
from reconciler.model.team import Team
from reconciler.model.user import User

Document: TypeAlias = Annotated[Site | Team | User | NodePool | Cluster | Job, Field(discriminator="kind")]

KINDS: dict[str, type[Strict]] = {
    "Site": Site,
    "Team": Team,
    "User": User,
    "Cluster": Cluster,
    "NodePool": NodePool,
    "Job": Job,
}

DOCUMENT: TypeAdapter[Document] = TypeAdapter(Document)


def parse(plain: Any) -> Document:
    """Return the document that `plain` describes in the words of a file (camelCase, tuples for lists).

    Raises pydantic's ValidationError otherwise.
    """
    return DOCUMENT.validate_python(plain, by_alias=True, by_name=False)


def from_json(written: bytes) -> Document:
    """Return the document that `written` describes in the words of a file. Raises ValidationError otherwise."""
    # Not through the adapter's own method: 10,000 documents notice that call.
    document: Document = DOCUMENT.validator.validate_json(written, by_alias=True, by_name=False)
    return document


def identity(document: Document) -> ObjectId:
    """Return who `document` is."""
    return ObjectId(document.kind, document.metadata.team, document.metadata.name)
