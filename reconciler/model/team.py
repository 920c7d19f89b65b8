"""Team: people who share quotas."""

from typing import Annotated, Literal

from pydantic import Field

from reconciler.model.metadata import ApiVersion, Metadata
from reconciler.model.spec import ObjectSpec, Strict
from reconciler.model.text import Name


class Quota(Strict):
    """What a team may use of one pool."""

    pool: Name
    """The node pool."""

    gpus: Annotated[int, Field(ge=0, le=1_000_000)]
    """GPUs of this pool that belong to the team. Not enforced yet: the queue is first in, first out."""

    borrow: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """GPUs that the team may use on top while others leave them idle. Not enforced yet."""


class TeamSpec(ObjectSpec):
    """Who belongs to the team and what it may use."""

    members: Annotated[tuple[Name, ...], Field(max_length=10_000)]
    """Users who may run jobs of this team."""

    quota: Annotated[tuple[Quota, ...], Field(max_length=1000)] = ()
    """What the team may use of each pool. Without an entry for a pool there is no bound on it. Not enforced yet."""

    weight: Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)] = 1
    """Share of the site among teams that compete: twice the weight, twice the share. Not used yet."""


class Team(Strict):
    """People who share quotas and own jobs."""

    api_version: ApiVersion
    kind: Literal["Team"]
    metadata: Metadata
    spec: TeamSpec
