"""Texts that documents may hold: names, hosts, paths, environments. Everything else is refused at the edge."""

import ipaddress
import re
from collections.abc import Mapping
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from reconciler.model.ids import NAME_PATTERN

Name: TypeAlias = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
"""A name of ours. pydantic's regular expressions are linear, and their `$` means the very end."""

LABEL_KEY_PATTERN = r"^([a-z0-9]([a-z0-9.-]{0,200}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$"
LABEL_VALUE_PATTERN = r"^([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?$"
LOGIN_PATTERN = r"^[a-z_][a-z0-9_.-]{0,31}$"
HOST_PATTERN = r"^[a-z0-9:][a-z0-9.:-]*$"
PATH_PATTERN = r"^[A-Za-z0-9_.@+][A-Za-z0-9_.@+=,:/ -]{0,1023}$"
ENV_NAME_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]{0,127}$"
ARGUMENT_PATTERN = "^[^\\x00]*$"
# Bidirectional overrides and zero-width characters make a reviewer read another text than the machine.
LINE_PATTERN = "^[^\\x00-\\x1f\\x7f-\\x9f\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u2069\\ufeff]*$"
Line: TypeAlias = Annotated[str, StringConstraints(pattern=LINE_PATTERN, max_length=500)]
"""One line of prose for people."""

LabelKey: TypeAlias = Annotated[
    str,
    StringConstraints(pattern=LABEL_KEY_PATTERN),
]
LabelValue: TypeAlias = Annotated[str, StringConstraints(pattern=LABEL_VALUE_PATTERN)]
Labels: TypeAlias = Annotated[Mapping[LabelKey, LabelValue], Field(max_length=64)]
Annotations: TypeAlias = Annotated[
    Mapping[LabelKey, Annotated[str, StringConstraints(max_length=4096)]], Field(max_length=64)
]

Login: TypeAlias = Annotated[str, StringConstraints(pattern=LOGIN_PATTERN)]
"""A login name on a machine."""

# Ray refuses labels of its own prefix; ours tell which machine of which pool a Ray node is.
_RESERVED_LABEL = re.compile(r"(ray\.io|rayops)([-./].*)?", re.ASCII)


def _own_labels(labels: Mapping[str, str]) -> Mapping[str, str]:
    if any(_RESERVED_LABEL.fullmatch(key) for key in labels):
        raise PydanticCustomError("label_reserved", "labels that begin with ray.io or rayops are set by RayOps")
    return labels


NodeLabels: TypeAlias = Annotated[Labels, AfterValidator(_own_labels)]
"""Labels that Ray nodes shall carry."""


_IP_LIKE = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)


def _host(host: str) -> str:
    labels = host.split(".")
    # The resolver reads `127.1` and `0x7f000001` as addresses; written like that, one machine has many names.
    if ":" not in host and not _IP_LIKE.fullmatch(labels[-1]):
        if all(0 < len(label) <= 63 and label[0] != "-" and label[-1] != "-" for label in labels):
            return host
    else:
        try:
            return str(ipaddress.ip_address(host))
        except ValueError:
            pass
    raise PydanticCustomError("host", "expected a host name or an IP address, without user and port")


Host: TypeAlias = Annotated[str, StringConstraints(pattern=HOST_PATTERN, max_length=253), AfterValidator(_host)]
"""A host name in lower case or an IP address. It never begins like an option and names no user or port."""


def _below_root(path: str) -> str:
    parts = path.split("/")
    if any(part in {"", ".", ".."} for part in parts) or parts[0] == ".rayops" or path != path.strip():
        raise PydanticCustomError("path", "expected a path below the shared root, without .. and not in .rayops")
    return path


RelativePath: TypeAlias = Annotated[str, StringConstraints(pattern=PATH_PATTERN), AfterValidator(_below_root)]
"""A path below the shared root."""

# These would let a file of desired state replace what RayOps or the dynamic linker rely on.
FORBIDDEN_ENV = re.compile(
    r"LD_.*|RAYOPS_.*|RAY_AUTH_.*|RAY_ADDRESS|RAY_START_HOOK|RAY_JOB_.*|PYTHON(STARTUP|HOME|INSPECT|BREAKPOINT|USERBASE)"
    r"|BASH_ENV|ENV|GCONV_PATH|GLIBC_TUNABLES",
    re.ASCII,
)
# LD_LIBRARY_PATH is how clusters point to their NCCL and CUDA; whoever may write a job may run a program anyway.
_ALLOWED_ENV = {"LD_LIBRARY_PATH"}


def _free_env(env: Mapping[str, str]) -> Mapping[str, str]:
    if any(FORBIDDEN_ENV.fullmatch(name) and name not in _ALLOWED_ENV for name in env):
        raise PydanticCustomError("env_reserved", "this variable is reserved: RayOps or the linker sets it")
    return env


EnvName: TypeAlias = Annotated[str, StringConstraints(pattern=ENV_NAME_PATTERN)]
# No NUL: it ends a variable of a process early.
Argument: TypeAlias = Annotated[str, StringConstraints(pattern=ARGUMENT_PATTERN, max_length=32_768)]
Env: TypeAlias = Annotated[Mapping[EnvName, Argument], Field(max_length=256), AfterValidator(_free_env)]
"""Environment variables. Put no secret here: everybody who can read the repo can read it; name a file instead."""

Port: TypeAlias = Annotated[int, Field(ge=1, le=65_535)]
