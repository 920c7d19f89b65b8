"""Git trees compared by id: only folders that differ are read, so the cost follows the change."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from reconciler.source.cat_file import Objects
from reconciler.source.entries import Entry

# A folder of this many bytes has some 800,000 entries.
MAX_TREE_BYTES = 32 << 20

# Deeper folders have no honest use, and each level costs a round.
MAX_DEPTH = 64

_RECORD = re.compile(rb"([0-7]{5,6}) ([^\0]+)\0(.{20})", re.DOTALL)
_FOLDER = b"40000"
_KINDS = {b"100644": Entry.FILE, b"100755": Entry.FILE, b"100664": Entry.FILE}
_KINDS |= {b"120000": Entry.LINK, b"160000": Entry.SUBMODULE}

_Record = tuple[bytes, bytes, bytes]  # mode, name, raw id


class UnreadableTree(Exception):
    """A tree is missing in the mirror or its bytes are damaged."""


class EndlessTree(Exception):
    """A tree has more entries, larger folders or deeper nesting than is allowed."""


@dataclass(frozen=True, slots=True)
class Change:
    """What stands under a path now; `id` is empty when nothing does."""

    path: bytes
    entry: Entry
    id: str


@dataclass(frozen=True, slots=True)
class _Folder:
    prefix: bytes
    before: str
    after: str


def tree_changes(objects: Objects, before: str, after: str, limit: int) -> list[Change]:
    """Return what differs between two trees, at most `limit` entries; an empty id is the empty tree."""
    changes: list[Change] = []
    level = [_Folder(b"", before, after)]
    for _ in range(MAX_DEPTH):
        if not level:
            return changes
        trees = _read(objects, level)
        deeper: list[_Folder] = []
        for folder in level:
            for found in _compare(folder, trees):
                deeper.append(found) if isinstance(found, _Folder) else changes.append(found)
            if len(changes) + len(deeper) > limit:
                # Also ends the tree that names one subtree many times on each of many levels.
                raise EndlessTree(f"the tree has more than {limit} entries")
        level = deeper
    raise EndlessTree(f"the tree is more than {MAX_DEPTH} folders deep")


def _compare(folder: _Folder, trees: dict[str, set[_Record]]) -> Iterator[_Folder | Change]:
    old, new = trees[folder.before], trees[folder.after]
    gone = {name: (mode, raw_id.hex()) for mode, name, raw_id in old - new}
    come = {name: (mode, raw_id.hex()) for mode, name, raw_id in new - old}
    for name in sorted(gone.keys() | come.keys()):
        if name.startswith(b"."):
            continue  # nobody's desired state, in any folder (entries.judge)
        path = folder.prefix + name
        was_mode, was = gone.get(name, (b"", ""))
        mode, now = come.get(name, (b"", ""))
        was_folder, is_folder = was_mode == _FOLDER, mode == _FOLDER
        if b"/" in name:
            # Git itself only warns of such a name; it could pass for a file of another folder.
            yield Change(path, Entry.ODD, now)
            continue
        if was_folder or is_folder:
            yield _Folder(path + b"/", was if was_folder else "", now if is_folder else "")
        if now and not is_folder:
            yield Change(path, _KINDS.get(mode, Entry.SPECIAL), now)
        elif was and not was_folder:
            yield Change(path, Entry.FILE, "")


def _read(objects: Objects, level: Sequence[_Folder]) -> dict[str, set[_Record]]:
    ids = {one for folder in level for one in (folder.before, folder.after) if one}
    found = objects.read(sorted(ids), "tree", MAX_TREE_BYTES)
    missing = sorted(ids - found.keys())
    if missing:
        header = objects.headers(missing[:1])[0]
        if header is not None and header.size > MAX_TREE_BYTES:
            raise EndlessTree(f"a folder is larger than {MAX_TREE_BYTES} bytes")
        raise UnreadableTree(f"tree {missing[0]} is missing or damaged")
    trees = {one: _records(content) for one, content in found.items()}
    trees[""] = set()
    return trees


def _records(content: bytes) -> set[_Record]:
    records = _RECORD.findall(content)
    if sum(len(mode) + len(name) + 22 for mode, name, _ in records) != len(content):
        raise UnreadableTree("a tree holds bytes that are no entry")
    return {(mode.lstrip(b"0"), name, raw_id) for mode, name, raw_id in records}
