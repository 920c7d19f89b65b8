"""The desired files of one Git tree, kept up to date by differences."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from reconciler.model.derived import Edition
from reconciler.source.cat_file import Header
from reconciler.source.entries import Entry, Rejected, Wanted, judge, too_large
from reconciler.source.limits import Limits
from reconciler.source.tree import Change, UnreadableTree


@dataclass(frozen=True, slots=True)
class Listing:
    """The desired files of `tree`, with their sizes. An empty id stands for the empty tree."""

    tree: str = ""
    files: Edition[str, str] = field(default_factory=Edition)
    rejected: dict[str, str] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)

    def excess(self, limits: Limits) -> str:
        """Return which limit the tree exceeds, or nothing."""
        count = len(self.files) + len(self.rejected)
        if count > limits.files:
            return f"the tree has {count} desired files, more than the {limits.files} allowed"
        total = sum(self.sizes.values())
        if total > limits.total_bytes:
            return f"the desired files have {total} bytes, more than the {limits.total_bytes} allowed"
        return ""


def wanted_ids(changes: Iterable[Change]) -> list[str]:
    """Return the blobs whose sizes must be known before the changes can be taken over."""
    wanted = (change.id for change in changes if change.id and isinstance(judge(change.path, change.entry), Wanted))
    return list(dict.fromkeys(wanted))


def updated(
    before: Listing, tree: str, changes: Iterable[Change], headers: Mapping[str, Header], max_bytes: int
) -> Listing:
    """Return the listing of `tree`, which differs from `before` by `changes`."""
    files: dict[str, str | None] = {}
    rejected, sizes = dict(before.rejected), dict(before.sizes)
    for change in changes:
        # Whatever stood there was listed under one of two names: as a file, or as something that is none.
        for entry in (Entry.FILE, Entry.LINK):
            match judge(change.path, entry):
                case Wanted(path) | Rejected(path, _):
                    files[path] = None
                    sizes.pop(path, None)
                    rejected.pop(path, None)
                case _:
                    pass
        if change.id:
            match _found(change, headers, max_bytes):
                case Rejected(path, reason):
                    rejected[path] = reason
                case (path, size):
                    files[path], sizes[path] = change.id, size
                case None:
                    pass
    return Listing(tree, before.files.next(files), rejected, sizes)


def _found(change: Change, headers: Mapping[str, Header], max_bytes: int) -> Rejected | tuple[str, int] | None:
    """Return where a desired file stands and its size, why it is rejected, or None when it is nobody's concern."""
    match judge(change.path, change.entry):
        case Wanted(path):
            header = headers.get(change.id)
            if header is None or header.kind != "blob":
                raise UnreadableTree(f"blob {change.id} is missing in the mirror")
            if header.size > max_bytes:
                return Rejected(path, too_large(header.size, max_bytes))
            return path, header.size
        case Rejected() as rejected:
            return rejected
        case _:
            return None
