"""One revision of the desired files, named by content."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The desired files at one revision.

    `revision` is a full commit id, or `dir:<sha256>` of a directory source. `files` maps each path (relative to
    the configured sub-path, `/` as separator) to its content id: a Git blob id, or `sha256:<hex>`. `rejected` maps
    each entry that may not be read (link, submodule, hostile name, too large) to the reason; it is not in `files`,
    but it is there: its objects are broken, not deleted.
    """

    revision: str
    files: Mapping[str, str]
    rejected: Mapping[str, str] = field(default_factory=dict)


class SourceFault(StrEnum):
    """Why a source gave no snapshot that may be applied."""

    UNREACHABLE = "Unreachable"  # remote down, share not mounted, time-out
    REFUSED = "Refused"  # authentication, host key, protocol or option not allowed
    NO_BRANCH = "NoBranch"  # the branch does not exist (any more)
    EMPTY = "EmptyTree"  # no file at all where there were some
    REWRITTEN = "HistoryRewritten"  # the tip does not descend from the applied revision
    CORRUPT = "Corrupt"  # missing or damaged objects
    TOO_LARGE = "TooLarge"  # more files or bytes than allowed
    STORAGE = "Storage"  # our own disk, where the mirror is, is full, read-only or failing
    BAD_ENTRY = "BadEntry"  # symlink, submodule or a name that no desired file may have


@dataclass(frozen=True, slots=True)
class SourceProblem:
    """A source that cannot be applied now; what runs stays as it is. `revision` is the refused one, if known."""

    fault: SourceFault
    message: str
    revision: str | None = None
