"""Site: rules for everything that RayOps looks after."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from reconciler.model.job import Limits
from reconciler.model.metadata import ApiVersion, SiteMetadata
from reconciler.model.spec import STEERING, ObjectSpec, Strict
from reconciler.model.text import Line

PLAN_PATTERN = "^[0-9a-f]{64}$"


class Brakes(Strict):
    """How much one plan may take away before it needs an approval."""

    max_removals: Annotated[int, Field(ge=0, le=100_000)] = 10
    """Objects that one plan may remove; the larger of this and maxRemovalPercent counts."""

    max_removal_percent: Annotated[int, Field(ge=0, le=100)] = 20
    """Share of all objects that one plan may remove."""

    max_stops: Annotated[int, Field(ge=0, le=100_000)] = 5
    """Running jobs that one plan may stop."""

    max_drain_percent: Annotated[int, Field(ge=0, le=100)] = 34
    """Share of a pool's nodes that may be drained at the same time."""


class Approval(Strict):
    """Lets one held plan pass."""

    plan: Annotated[str, StringConstraints(pattern=PLAN_PATTERN)]
    """The digest of the held plan, as `rayops plan` and the status show it."""

    reason: Line
    """Why this plan may pass."""


class SiteSpec(ObjectSpec):
    """Rules for the whole site."""

    brakes: Annotated[Brakes, STEERING] = Brakes()
    """How much one plan may take away before it needs an approval."""

    approvals: Annotated[tuple[Approval, ...], STEERING, Field(max_length=1000)] = ()
    """Held plans that may pass."""

    limits: Annotated[Limits, STEERING] = Limits()
    """Time limits of jobs that name none of their own."""


class Site(Strict):
    """Rules for the whole site. There is at most one."""

    api_version: ApiVersion
    kind: Literal["Site"]
    metadata: SiteMetadata
    spec: SiteSpec
