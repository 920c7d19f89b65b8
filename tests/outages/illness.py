"""What can be wrong with a machine, each with a real sshd, and what people then read about it."""

import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests import netns
from tests.outages.scene import Scene

Change = Callable[[Scene, netns.Host], None]


@dataclass(frozen=True)
class Illness:
    """How it begins, what is said of it, and how it ends."""

    begins: Change
    said: str
    ends: Change


def restarted(*options: str, key: str = "", before: str = ":") -> Change:
    """Return a restart of the sshd: with options that come first, another host key, or something done before."""

    def restart(site: Scene, host: netns.Host) -> None:
        host.stop_sshd()
        other = host.folder / key if key else None
        if other is not None and not other.exists():
            netns.keygen(other)
        host.start_sshd(key=other, options=options, before=before.format(home=site.site.home))

    return restart


def _signalled(number: signal.Signals) -> Change:
    def tell(_: Scene, host: netns.Host) -> None:
        assert host.sshd is not None
        host.sshd.send_signal(number)

    return tell


_WELL = restarted()
_NO_KEYS = ("AuthorizedKeysFile none", "AuthorizedKeysCommand /bin/sleep 60", "AuthorizedKeysCommandUser root")
# A disk for the gate's own files on which not one more page is free.
_FULL = "mount -t tmpfs -o size=4k,mode=700 none {home}/node && head -c 4096 /dev/zero >{home}/node/full"

# By the machine that falls ill.
ILLNESSES = {
    "banner": Illness(_signalled(signal.SIGSTOP), "no ssh session", _signalled(signal.SIGCONT)),
    "login": Illness(restarted(*_NO_KEYS), "no ssh session", _WELL),
    "command": Illness(restarted("ForceCommand sleep 60"), "no answer within the time limit", _WELL),
    "key": Illness(restarted(key="other_key"), "its host key has changed", _WELL),
    "disk": Illness(restarted(before=_FULL), "No space left on device", _WELL),
}


def mute_about_starts(site: Scene) -> tuple[Change, Path]:
    """Return a gate that does all that it is asked to and never says that it started a node, and its diary."""
    own = site.site.home / "mute"
    program = own.with_suffix(".sh")
    program.write_text(
        f'#!/bin/sh\ncat >{own}.asked\nsh -c "$SSH_ORIGINAL_COMMAND" <{own}.asked >{own}.said\n'
        f"grep -q start-worker {own}.asked || exec cat {own}.said\necho started >>{own}.diary\nsleep 60\n"
    )
    program.chmod(0o755)
    return restarted(f"ForceCommand {program}"), own.with_suffix(".diary")


def raylets(host: netns.Host) -> list[int]:
    """Return the raylets on a machine."""
    found = []
    for pid in host.pids():
        with suppress(OSError):
            if Path(f"/proc/{pid}/comm").read_text().strip() == "raylet":
                found.append(pid)
    return found
