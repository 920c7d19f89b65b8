"""Job: work that a user wants run."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, StringConstraints

from reconciler.model.metadata import ApiVersion, TeamMetadata
from reconciler.model.quantity import Duration, Grace, Limit
from reconciler.model.spec import STEERING, ObjectSpec, Strict
from reconciler.model.text import Argument, Env, Name, RelativePath

REFERENCE_PATTERN = r"^([a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?/)?[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?$"


class FailureClass(StrEnum):
    """Why an attempt failed, as far as it decides about another one."""

    TRANSIENT = "transient"  # a network, a service or a start failed: the same may work later
    NODE = "node"  # one of its nodes failed under it: the same may work elsewhere
    LOST = "lost"  # Ray forgot the attempt, or its head died
    PREEMPTED = "preempted"  # it had to make room
    USER = "user"  # the program itself failed: it will fail again


class StopCause(StrEnum):
    """Why the daemon asked an attempt to stop; decides what follows once it is gone."""

    REMOVED = "Removed"  # the job left the repo: forget it
    EDITED = "Edited"  # a new generation follows
    ASKED = "Asked"  # `stop: true`: final
    START_LIMIT = "StartLimit"
    ATTEMPT_LIMIT = "AttemptLimit"
    TOTAL_LIMIT = "TotalLimit"
    DRAINED = "Drained"  # its node leaves: counts as preempted


class Resources(Strict):
    """What a job occupies: a gang of whole nodes, or parts of one shape on distinct nodes."""

    nodes: Annotated[int, Field(ge=1, le=10_000)] = 1
    """Number of distinct nodes."""

    gpus_per_node: Annotated[int, Field(ge=0, le=64)] = 0
    """GPUs on each of them."""


class CommandWorkload(Strict):
    """Runs any program."""

    type: Literal["command"]
    """The sort of workload."""

    argv: Annotated[tuple[Argument, ...], Field(min_length=1, max_length=1024)]
    """The program and its arguments, each one entry. No shell reads them."""

    working_dir: RelativePath | None = None
    """Where it runs: a path below the shared root. Without it, the directory of the job."""

    env: Env = Field(default_factory=dict)
    """Environment of the program. Put no secret here: the repo is not a safe; name a file that holds it."""


# Becomes a union discriminated by `type` when there is a second sort.
Workload: TypeAlias = CommandWorkload


class Limits(Strict):
    """Time limits. Without one there is no bound; a changed one holds for what waits and runs already."""

    queue: Limit | None = None
    """How long the job may wait for its turn."""

    start: Limit | None = None
    """How long an attempt may take from its submission until it runs."""

    attempt: Limit | None = None
    """How long one attempt may run."""

    total: Limit | None = None
    """How long all attempts together may run."""


class Retry(Strict):
    """Whether a failed attempt is followed by another one."""

    limit: Annotated[int, Field(ge=0, le=1000)] = 0
    """How many further attempts there may be."""

    # A file can only give the text; strictness would ask for the enum itself.
    on: tuple[Annotated[FailureClass, Field(strict=False)], ...] = (
        FailureClass.TRANSIENT,
        FailureClass.NODE,
        FailureClass.LOST,
        FailureClass.PREEMPTED,
    )
    """The classes of failure that allow another attempt. What its machine kept from starting is `transient`."""

    backoff: Duration = timedelta(seconds=30)
    """The wait before the second attempt; it doubles with each further one."""

    max_backoff: Duration = timedelta(minutes=30)
    """The longest wait between two attempts."""


class JobSpec(ObjectSpec):
    """What runs, where, for whom, and within which bounds."""

    user: Name
    """The person who owns the job; a member of the team."""

    pool: Name
    """The node pool that it runs on."""

    resources: Resources = Resources()
    """What it occupies."""

    workload: Workload
    """What it runs."""

    limits: Annotated[Limits, STEERING] = Limits()
    """Time limits. What is not given here comes from the Site."""

    retry: Annotated[Retry, STEERING] = Retry()
    """Whether a failed attempt is followed by another one."""

    grace: Annotated[Grace, STEERING] = timedelta(seconds=30)
    """Time between the request to stop and the kill, as when its attempt began; 2 s when the Ray of a node ends."""

    priority: Annotated[Literal["low", "normal", "high"], STEERING] = "normal"
    """Jobs of a higher priority start first."""

    depends_on: Annotated[
        tuple[
            Annotated[
                str,
                StringConstraints(pattern=REFERENCE_PATTERN),
            ],
            ...,
        ],
        STEERING,
        Field(max_length=100),
    ] = ()
    """Jobs that must succeed first: `name` in the same team, or `team/name`."""

    stop: Annotated[bool, STEERING] = False
    """Ends the job and keeps its file."""

    rerun: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """Counting up runs the job once more."""


class Job(Strict):
    """Work that a user wants run."""

    api_version: ApiVersion
    kind: Literal["Job"]
    metadata: TeamMetadata
    spec: JobSpec
