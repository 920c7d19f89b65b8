"""Which files of a tree are desired files, and why others are refused. The same rules for every source."""

from dataclasses import dataclass
from enum import Enum

from reconciler.source.location import has_hidden_characters

SUFFIXES = (".yaml", ".yml")

# PATH_MAX of Linux is 4096; a desired path of a quarter of it has no honest use.
MAX_PATH = 1024


class Entry(Enum):
    """What stands in a tree under a name."""

    FILE = "file"
    LINK = "symbolic link"
    SUBMODULE = "submodule"
    SPECIAL = "special entry"
    ODD = "name with a '/' in it"


class Ignored(Enum):
    """An entry that is no desired file and claims to be none."""

    IGNORED = "ignored"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A desired file."""

    path: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """An entry that stands where desired files stand but may not be read; `path` is safe to print."""

    path: str
    reason: str


def judge(raw_path: bytes, entry: Entry) -> Wanted | Rejected | Ignored:
    """Say whether an entry is a desired file.

    Names that begin with a dot (`.github/`, `.git`, editors' temporary files) are nobody's desired state in any
    folder. A link or a submodule is reported whatever its name, because it may hide a whole folder.
    """
    try:
        path = raw_path.decode("utf-8")
    except UnicodeDecodeError:
        return Rejected(printable(raw_path.decode("utf-8", "backslashreplace")), "its name is not UTF-8")
    parts = path.split("/")
    if any(part.startswith(".") for part in parts):
        return Ignored.IGNORED
    if entry is not Entry.FILE:
        return Rejected(printable(path), f"it is a {entry.value}; only plain files are read")
    if not path.lower().endswith(SUFFIXES):
        return Ignored.IGNORED
    reason = _name_fault(path, parts)
    return Rejected(printable(path), reason) if reason else Wanted(path)


def printable(path: str) -> str:
    """Return the path with every character that could deceive a reader spelled out."""
    if not has_hidden_characters(path):
        return path[:MAX_PATH]
    shown = (
        character.encode("unicode_escape").decode("ascii") if has_hidden_characters(character) else character
        for character in path
    )
    return "".join(shown)[:MAX_PATH]


def too_large(size: int, limit: int) -> str:
    """Return the reason for refusing a file of `size` bytes."""
    return f"it has {size} bytes, more than the {limit} that a desired file may have"


def _name_fault(path: str, parts: list[str]) -> str:
    if len(path.encode("utf-8")) > MAX_PATH:
        return f"its path is longer than {MAX_PATH} bytes"
    if has_hidden_characters(path) or "\\" in path:
        return "its name holds control, formatting or backslash characters"
    if any(part != part.strip() or part.startswith("-") for part in parts):
        return "a name in its path begins or ends with a space, or begins with '-'"
    if not path.endswith(SUFFIXES):
        return "its suffix must be written in lower case"
    return ""
