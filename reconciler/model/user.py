"""User: a person who may own jobs."""

from typing import Annotated, Literal

from pydantic import StringConstraints

from reconciler.model.metadata import ApiVersion, Metadata
from reconciler.model.spec import ObjectSpec, Strict
from reconciler.model.text import Line

# Deliberately loose and linear: the address is shown, never parsed, and clever patterns are slow ones.
EMAIL_PATTERN = r"^([^@\s]{1,64}@[A-Za-z0-9.-]{1,255})?$"


class UserSpec(ObjectSpec):
    """How to name and reach the person."""

    display_name: Line = ""
    """The person's name as people read it."""

    email: Annotated[str, StringConstraints(pattern=EMAIL_PATTERN)] = ""
    """Where to write to the person."""


class User(Strict):
    """A person who may own jobs."""

    api_version: ApiVersion
    kind: Literal["User"]
    metadata: Metadata
    spec: UserSpec
