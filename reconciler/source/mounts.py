"""Which file system a path is on: some tell nothing about what other machines write."""

from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")

# Where the kernel sees every write itself. Everything else (nfs, gpfs, lustre, ceph, cifs, fuse.*, 9p, virtiofs,
# and what is not known yet) may change without an event and may answer from a cache.
LOCAL = frozenset({"bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "ramfs", "tmpfs", "xfs", "zfs"})


def file_system(path: Path) -> str:
    """Return the kernel's name of the file system that holds `path`."""
    wanted = path.resolve()
    best, name = -1, "unknown"
    for line in MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        # proc(5): "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw"; spaces are written as \040.
        before, _, after = line.partition(" - ")
        point = Path(before.split(" ")[4].replace("\\040", " ").replace("\\134", "\\"))
        # A later mount on the same point hides the earlier one.
        if wanted.is_relative_to(point) and len(point.parts) >= best:
            best, name = len(point.parts), after.split(" ")[0]
    return name


def is_local(path: Path) -> bool:
    """Say whether every write below `path` goes through this machine's kernel."""
    return file_system(path) in LOCAL
