"""Who an object is: name, team, labels."""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, StringConstraints

from reconciler.model.spec import STEERING, Strict
from reconciler.model.text import Annotations, Labels, Name

ApiVersion: TypeAlias = Literal["rayops/v1"]


class Metadata(Strict):
    """The identity of an object and what people note on it."""

    name: Name
    """Unique within the kind (for jobs: within the team). Renaming an otherwise unchanged object is a move."""

    team: Annotated[str, StringConstraints(max_length=0)] = ""
    """Empty: objects of this kind belong to the site."""

    labels: Annotated[Labels, STEERING] = Field(default_factory=dict)
    """Short marks to select objects by."""

    annotations: Annotated[Annotations, STEERING] = Field(default_factory=dict)
    """Notes for people and programs. RayOps does not read them."""


class TeamMetadata(Metadata):
    """The identity of an object that belongs to a team."""

    team: Name
    """The team that owns the object. It equals the folder: `teams/<team>/`."""


class SiteMetadata(Metadata):
    """The identity of the one Site."""

    name: Literal["site"]
    """There is one Site, named `site`."""
