"""Where the desired repository is: parsed once, from the operator's configuration only."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath
from urllib.parse import SplitResult, unquote, urlsplit

# A repository address beyond this is a mistake or an attack; git itself has no limit.
MAX_LENGTH = 2048

FORMS = "give /a/path, file:///a/path, ssh://user@host/path, user@host:path or https://host/path"

_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\]")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_SCP = re.compile(r"(?P<user>[^@:/]+)@(?P<host>\[[^\]]*\]|[^@:/\[\]]+):(?P<path>[^:].*)")
_REMOTE_PATH = re.compile(r"[A-Za-z0-9_.~/+@%-]+")
_BRANCH = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._/+-]{0,198}[A-Za-z0-9_+-])?")
_COMMIT = re.compile(r"[0-9a-f]{40}")


class SourceConfigError(ValueError):
    """The operator's settings of a source cannot be used; says which one and what to write instead."""


class Transport(StrEnum):
    """How the remote is reached; also the only protocol that git may then use."""

    FILE = "file"
    SSH = "ssh"
    HTTPS = "https"
    HTTP = "http"


@dataclass(frozen=True, slots=True)
class Location:
    """A checked repository address. `folder` is set where the repository is on a mounted disk."""

    transport: Transport
    url: str
    folder: Path | None = None


def parse_location(url: str, *, allow_http: bool = False) -> Location:
    """Return the location that `url` names; refuse every form but the few that are known to be safe.

    The text itself is never repeated in a message: it may hold a password.
    """
    if not url or len(url) > MAX_LENGTH or has_hidden_characters(url) or has_hidden_characters(unquote(url)):
        # A line feed, plain or as %0a, made credential helpers hand out another host's password (CVE-2020-5260).
        raise SourceConfigError(f"the repository address is empty, too long or holds control characters; {FORMS}")
    if url.startswith("-"):
        raise SourceConfigError(f"the repository address begins with '-', as git's options do; {FORMS}")
    if url.startswith("/"):
        return _on_disk(url)
    if url.startswith("http://") and not allow_http:
        raise SourceConfigError("plain http can be read and changed on the way and is refused; give https")
    scheme, separator, _ = url.partition("://")
    parse = _BY_SCHEME.get(scheme) if separator else _scp_like
    if parse is None:
        # Among the others is `name::address`, which starts the program git-remote-name; `ext::` runs any command.
        raise SourceConfigError(f"this kind of repository address is refused; {FORMS}")
    return parse(url)


def checked_branch(name: str) -> str:
    """Return `name` if it is a plain branch name, stricter than git's own rule."""
    parts = name.split("/")
    bad_part = any(not part or part.startswith(".") or part.endswith((".", ".lock")) for part in parts)
    if not _BRANCH.fullmatch(name) or ".." in name or bad_part:
        raise SourceConfigError("the branch name is not a plain one (letters, digits, '.', '_', '/', '+', '-')")
    return name


def checked_sub_path(path: str) -> str:
    """Return `path` as a relative folder path with `/`, or the empty text for the whole tree."""
    if path in {"", "."}:
        return ""
    pure = PurePosixPath(path)
    if len(path) > MAX_LENGTH or pure.is_absolute() or has_hidden_characters(path) or "\\" in path:
        raise SourceConfigError("the sub-path must be a relative folder path without control characters")
    if any(part.startswith((".", "-")) for part in pure.parts):
        raise SourceConfigError("no folder of the sub-path may begin with '.' or '-'")
    return str(pure)


def is_commit_id(text: str) -> bool:
    """Say whether `text` is a full SHA-1 object id."""
    return _COMMIT.fullmatch(text) is not None


def has_hidden_characters(text: str) -> bool:
    """Say whether `text` holds control, formatting, unassigned or separating characters (a plain space is fine)."""
    return not text.isprintable()


def _on_disk(path: str) -> Location:
    folder = Path(path)
    if ".." in folder.parts:
        raise SourceConfigError("the path of the repository must not contain '..'")
    # As a URL git always runs upload-pack, which copies objects and checks them; a bare path may be hard-linked.
    return Location(Transport.FILE, folder.as_uri(), folder)


def _file_url(url: str) -> Location:
    split = _split(url)
    path = unquote(split.path)
    if split.netloc not in {"", "localhost"} or split.query or split.fragment or not path.startswith("/"):
        raise SourceConfigError("a file address has the form file:///absolute/path")
    return _on_disk(path)


def _over_ssh(url: str) -> Location:
    split = _split(url)
    if split.password is not None:
        raise SourceConfigError("the repository address holds a password; give an SSH key file instead")
    if split.username is not None and not _USER.fullmatch(split.username):
        raise SourceConfigError("the user in the repository address is not a plain user name")
    _check_host_and_path(split)
    return Location(Transport.SSH, url)


def _over_http(url: str) -> Location:
    split = _split(url)
    if "@" in split.netloc:
        raise SourceConfigError("the repository address holds credentials; give a token file instead")
    _check_host_and_path(split)
    return Location(Transport(split.scheme), url)


def _scp_like(url: str) -> Location:
    found = _SCP.fullmatch(url)
    if found is None:
        raise SourceConfigError(f"this kind of repository address is not known; {FORMS}")
    if not _USER.fullmatch(found["user"]) or not _HOST.fullmatch(found["host"]):
        raise SourceConfigError("the user or the host in the repository address is not a plain name")
    _check_remote_path(found["path"])
    return Location(Transport.SSH, url)


def _check_host_and_path(split: SplitResult) -> None:
    host = split.netloc.rpartition("@")[2]
    name, _, port = host.rpartition(":") if re.search(r":\d+$", host) else (host, "", "22")
    if not _HOST.fullmatch(name) or not 0 < int(port) < 65536:
        raise SourceConfigError("the host or port in the repository address is not valid")
    if split.query or split.fragment:
        raise SourceConfigError("the repository address must not have a query or a fragment")
    _check_remote_path(split.path)


def _check_remote_path(path: str) -> None:
    parts = unquote(path).split("/")
    if not _REMOTE_PATH.fullmatch(path) or any(part == ".." or part.startswith("-") for part in parts):
        raise SourceConfigError("the path in the repository address is not a plain path")


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError as bad:
        # urllib's message repeats the host part, which may hold a password.
        raise SourceConfigError(f"the repository address cannot be parsed; {FORMS}") from bad


_BY_SCHEME: dict[str, Callable[[str], Location]] = {
    "file": _file_url,
    "ssh": _over_ssh,
    "https": _over_http,
    "http": _over_http,
}
