"""Cluster: one Ray head and how to run it."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from reconciler.model.metadata import ApiVersion, Metadata
from reconciler.model.nodepool import Node
from reconciler.model.spec import STEERING, ObjectSpec, Strict
from reconciler.model.text import Env, Name

PYTHON_PATTERN = r"^(python3(\.[0-9]{1,2})?|(/\.?[A-Za-z0-9_+-][A-Za-z0-9._+-]*){1,32})$"
VERSION_PATTERN = r"^[0-9]{1,4}\.[0-9]{1,4}\.[0-9]{1,4}((a|b|rc)[0-9]{1,4})?$"
# Below 1024 a port needs privileges that Ray does not have.
RayPort = Annotated[int, Field(ge=1024, le=65_535)]
# On machines each cluster has its folder beside this file, in which gates keep the highest leader that they heard.
GATE_FILE = "term"


def _no_gate_file(name: str) -> str:
    if name == GATE_FILE:
        raise PydanticCustomError(
            "name_reserved", "the name of a file that machines keep beside their clusters; choose another one"
        )
    return name


class ClusterMetadata(Metadata):
    """The identity of a cluster."""

    name: Annotated[Name, AfterValidator(_no_gate_file), Field(json_schema_extra={"not": {"const": GATE_FILE}})]
    """Unique within the kind. Renaming an otherwise unchanged object is a move."""


class RaySettings(Strict):
    """The Ray of a cluster."""

    version: Annotated[str, StringConstraints(pattern=VERSION_PATTERN)]
    """The exact version of Ray; a machine with another one is refused."""

    python: Annotated[str, StringConstraints(pattern=PYTHON_PATTERN)] = "python3"
    """The Python that has Ray, on every machine of the cluster: a bare name, or an absolute path."""


class HeadPorts(Strict):
    """Ports of a head."""

    gcs: RayPort = 6379
    """Where nodes join."""

    dashboard: RayPort = 8265
    """Where jobs are submitted."""

    client: RayPort = 10001
    """Where Ray clients connect."""

    @model_validator(mode="after")
    def _differ(self) -> Self:
        if len({self.gcs, self.dashboard, self.client}) < 3:
            raise PydanticCustomError("ports_differ", "the ports of a head must differ from each other")
        return self


class Head(Strict):
    """Where the head may run."""

    candidates: Annotated[tuple[Node, ...], Field(min_length=1, max_length=16)]
    """Machines that may run the head, the preferred one first."""

    ports: HeadPorts = HeadPorts()
    """Ports of the head."""

    env: Env = Field(default_factory=dict)
    """Environment of the head. Put no secret here: the repo is not a safe."""


class ClusterSpec(ObjectSpec):
    """One Ray cluster."""

    ray: RaySettings
    """The Ray of this cluster."""

    head: Head
    """Where the head may run."""

    max_running_jobs: Annotated[int, STEERING, Field(ge=1, le=10_000)] = 30
    """Jobs that may run at the same time: each has its driver on the head."""


class Cluster(Strict):
    """One Ray cluster with its head."""

    api_version: ApiVersion
    kind: Literal["Cluster"]
    metadata: ClusterMetadata
    spec: ClusterSpec
