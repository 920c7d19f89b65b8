"""The surroundings of every git command: fixed environment, own configuration, one credential per remote."""

import os
import re
import shlex
import stat
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.source.git_config import configuration
from reconciler.source.limits import Limits
from reconciler.source.location import (
    Location,
    SourceConfigError,
    Transport,
    checked_branch,
    checked_sub_path,
    parse_location,
)

# Nothing is inherited from the daemon's environment: LD_*, GIT_* and SSH_* variables run programs or move files.
PROGRAM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# What ssh's configuration file takes literally: no quotes, no spaces, no % and no ~ expansion.
_PLAIN_PATH = re.compile(r"/[A-Za-z0-9_./+@,-]*")

# Answers git's two questions; the secret goes from the file to git's pipe and is in no argument and no variable.
_ASKPASS = """#!/bin/sh
case "$1" in
Username*) printf '%s\\n' "$RAYOPS_GIT_USER" ;;
Password*) exec cat -- "$RAYOPS_GIT_TOKEN_FILE" ;;
*) exit 1 ;;
esac
"""


@dataclass(frozen=True, slots=True)
class GitSettings:
    """What the operator says about the desired repository. `state` is a private folder of this source alone."""

    url: str
    state: Path
    branch: str = "main"
    sub_path: str = ""
    ssh_key: Path | None = None
    known_hosts: Path | None = None
    token_file: Path | None = None
    user: str = "x-access-token"
    ca_file: Path | None = None
    allow_http: bool = False
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class Checked:
    """Settings that have passed every check."""

    location: Location
    branch: str
    sub_path: str


def check(settings: GitSettings) -> Checked:
    """Return the parsed settings, or raise `SourceConfigError` with the one thing to change."""
    location = parse_location(settings.url, allow_http=settings.allow_http)
    branch, sub_path = checked_branch(settings.branch), checked_sub_path(settings.sub_path)
    for name, path in (
        ("state folder", settings.state),
        ("SSH key", settings.ssh_key),
        ("known-hosts file", settings.known_hosts),
        ("token file", settings.token_file),
        ("CA file", settings.ca_file),
    ):
        if path is not None and not _PLAIN_PATH.fullmatch(str(path)):
            raise SourceConfigError(f"the path of the {name} must be absolute, of letters, digits and '_./+@,-'")
    if location.transport is Transport.SSH and (settings.ssh_key is None or settings.known_hosts is None):
        raise SourceConfigError("a repository over ssh needs an SSH key file and a known-hosts file")
    if not re.fullmatch(r"[A-Za-z0-9_.@-]{1,64}", settings.user):
        raise SourceConfigError("the user name for the token is not a plain one")
    return Checked(location, branch, sub_path)


def surroundings(settings: GitSettings, location: Location, sockets: Path) -> dict[str, str]:
    """Write the private files of this source and return the whole environment of its git commands."""
    state = private_folder(settings.state)
    environment = {
        "PATH": PROGRAM_PATH,
        "HOME": str(state),
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": str(state / "gitconfig"),
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_LFS_SKIP_SMUDGE": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_ALLOW_PROTOCOL": location.transport.value,
        "GIT_PROTOCOL_FROM_USER": "0",
        "GIT_SSH_VARIANT": "ssh",
        "GIT_SSH_COMMAND": "false",
        "GIT_ASKPASS": "false",
    }
    write_private(state / "gitconfig", configuration(location))
    if settings.ssh_key is not None and settings.known_hosts is not None:
        write_private(state / "ssh_config", _ssh_config(settings.ssh_key, settings.known_hosts, sockets))
        environment["GIT_SSH_COMMAND"] = shlex.join(("ssh", "-F", str(state / "ssh_config")))
    if settings.token_file is not None:
        write_private(state / "askpass", _ASKPASS, mode=0o700)
        environment["GIT_ASKPASS"] = str(state / "askpass")
        environment["RAYOPS_GIT_USER"] = settings.user
        environment["RAYOPS_GIT_TOKEN_FILE"] = str(settings.token_file)
    if settings.ca_file is not None:
        environment["GIT_SSL_CAINFO"] = str(settings.ca_file)
    return environment


def forget_variables() -> None:
    """Drop from this process what steers git and GitPython: nothing of ours needs it."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:  # noqa: TID251 - dropped, not read
        del os.environ[name]  # noqa: TID251 - as above


def private_folder(folder: Path) -> Path:
    """Make the folder if needed and make sure that nobody else can look into it or change it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    seen = folder.lstat()
    if not stat.S_ISDIR(seen.st_mode) or seen.st_uid != os.geteuid():
        raise SourceConfigError(f"{folder} must be a folder of the user that the daemon runs as")
    if stat.S_IMODE(seen.st_mode) & 0o077:
        folder.chmod(0o700)
    return folder


def write_private(path: Path, text: str, *, mode: int = 0o600) -> None:
    """Replace a file of ours in one step."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode), "w") as file:
        file.write(text)
    fresh.replace(path)


def exposed(secret: Path) -> str:
    """Return why a secret file must not be used, or nothing. Asked before each use: files change."""
    try:
        seen = secret.stat()
    except OSError as error:
        return f"{secret} cannot be read ({error.strerror})"
    if not stat.S_ISREG(seen.st_mode):
        return f"{secret} is not a plain file"
    if stat.S_IMODE(seen.st_mode) & 0o077:
        return f"{secret} can be read by others (mode {stat.S_IMODE(seen.st_mode):04o}); run chmod 600 on it"
    return ""


def _ssh_config(key: Path, known_hosts: Path, sockets: Path) -> str:
    return "\n".join(
        (
            "Host *",
            "BatchMode yes",
            f"IdentityFile {key}",
            "IdentitiesOnly yes",
            "IdentityAgent none",
            "PreferredAuthentications publickey",
            "StrictHostKeyChecking yes",
            f"UserKnownHostsFile {known_hosts}",
            "GlobalKnownHostsFile /dev/null",
            "UpdateHostKeys no",
            "ForwardAgent no",
            "ForwardX11 no",
            "ClearAllForwardings yes",
            "PermitLocalCommand no",
            "ProxyCommand none",
            "ProxyJump none",
            "CanonicalizeHostname no",
            "RequestTTY no",
            "ConnectTimeout 10",
            "ServerAliveInterval 5",
            "ServerAliveCountMax 2",
            # One connection for all polls: 20 ms instead of 150-350 ms each.
            "ControlMaster auto",
            f"ControlPath {sockets}/%C",
            "ControlPersist 300",
            "LogLevel ERROR",
            "",
        )
    )
