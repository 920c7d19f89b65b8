"""The boots of this machine in which it ran anything of ours: what an earlier one began cannot be alive."""

from __future__ import annotations

from pathlib import Path

from reconciler.node import files, processes

_FOLDER = ".boots"  # no cluster has a dot in front of its name


def remember(site: Path) -> None:
    """Remember the present boot; call it before anything is started in it."""
    files.create(files.own_folder(site / _FOLDER) / processes.boot_id(), b"")


def is_earlier(site: Path, boot: str) -> bool:
    """Say whether this very machine was in `boot` once, and no longer is."""
    return boot != processes.boot_id() and "/" not in boot and (site / _FOLDER / boot).is_file()
