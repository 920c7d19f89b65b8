"""Hosts for tests: network namespaces, each with a real sshd. Needs root, ip and sshd; says so and skips.

Every process takes a random 10.x.y.0/24 and names that carry its pid, so that parallel runs do not meet.
"""

import ctypes
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread

import pytest

SSHD = "/usr/sbin/sshd"
LOGIN = "root"
CLONE_NEWNET = 0x40000000  # sched.h
# Starting sshd took 20 ms on a quiet machine; a busy one gets a lot more.
START_LIMIT_SECONDS = 20.0
LEFTOVER_AGE_SECONDS = 3600


def missing() -> str:
    """Return why no hosts can be made here, or an empty string."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if not shutil.which("ip") or not shutil.which("ssh-keygen") or not Path(SSHD).exists():
        return "ip (iproute2), sshd or ssh-keygen (openssh) is not installed"
    probe = subprocess.run(["ip", "netns", "list"], check=False, capture_output=True)
    return "" if probe.returncode == 0 else "this kernel or container gives no network namespaces"


def keygen(path: Path) -> str:
    """Make an ed25519 key pair and return the public half as `type base64`."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", path], check=True)
    return " ".join(path.with_name(path.name + ".pub").read_text().split()[:2])


@dataclass
class Host:
    """One namespace with an sshd; `port` is where the first one listens."""

    name: str
    address: str
    link: str
    folder: Path
    port: int = 22
    host_key: str = ""
    sshd: subprocess.Popen[bytes] | None = None
    others: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def run(self, *argv: str) -> str:
        """Run a command inside and return its output."""
        return subprocess.run(
            ["ip", "netns", "exec", self.name, *argv], check=True, capture_output=True
        ).stdout.decode()

    def popen(self, *argv: str) -> "subprocess.Popen[bytes]":
        """Start a program inside that ends with the host."""
        child = subprocess.Popen(["ip", "netns", "exec", self.name, *argv], stdin=subprocess.DEVNULL)
        self.others.append(child)
        return child

    def listen(self, place: tuple[str, int]) -> socket.socket:
        """Return a socket of ours that listens inside."""
        listening: list[socket.socket] = []

        def enter() -> None:
            with Path(f"/run/netns/{self.name}").open("rb") as space:
                assert ctypes.CDLL(None, use_errno=True).setns(space.fileno(), CLONE_NEWNET) == 0, (
                    ctypes.get_errno()
                )
            listening.append(socket.create_server(place))

        # The network of a thread is its own; it ends with it, and the socket stays where it was made.
        thread = Thread(target=enter)
        thread.start()
        thread.join()
        return listening[0]

    def start_sshd(
        self, *, port: int = 22, key: Path | None = None, options: Sequence[str] = (), before: str = ":"
    ) -> None:
        """Start an sshd and wait until it speaks. Without `key` the host's own one is used.

        `before` is run first, in the mount namespace that only this sshd and what it starts will see.
        """
        lines = [
            f"HostKey {key or self.folder / 'host_key'}",
            f"ListenAddress {self.address}:{port}",
            f"AuthorizedKeysFile {self.folder.parent / 'client.pub'}",
            "StrictModes no",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "UsePAM no",
            "PermitRootLogin yes",
            "UseDNS no",
            "PidFile none",
        ]
        config = self.folder / f"sshd_{port}"
        # The first value of an option wins in sshd, so that `options` must come first to override.
        config.write_text("\n".join([*options, *lines]) + "\n")
        # A login shell that reads a slow start file would be measured instead of ours. `ip netns exec` gives every
        # program a mount namespace of its own, so nobody else sees this.
        quiet = f'mount --bind /dev/null "$HOME/.bashrc" 2>/dev/null; {before}; exec "$@"'
        log = str(self.folder / "sshd.log")
        # sshd runs itself again per connection and therefore insists on an absolute path.
        self.sshd = self.popen("sh", "-c", quiet, "sh", SSHD, "-D", "-E", log, "-f", str(config))
        deadline = time.monotonic() + START_LIMIT_SECONDS
        while not _speaks(self.address, port):
            assert self.sshd.poll() is None, (self.folder / "sshd.log").read_text()
            assert time.monotonic() < deadline, f"sshd of {self.name} does not answer"
            time.sleep(0.02)

    def stop_sshd(self) -> None:
        """End every sshd of this host, with its sessions, and whatever else runs inside."""
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for child in self.others:
            child.wait()
        self.others.clear()

    def pids(self) -> list[int]:
        """Return the processes inside."""
        listed = subprocess.run(["ip", "netns", "pids", self.name], check=False, capture_output=True)
        return [int(pid) for pid in listed.stdout.split()]

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to every process inside."""
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def cut(self) -> None:
        """Take the link down: packets vanish in both directions, nobody is told."""
        subprocess.run(["ip", "link", "set", self.link, "down"], check=True)

    def mend(self) -> None:
        """Take the link up again, and forget that the address did not answer."""
        subprocess.run(["ip", "link", "set", self.link, "up"], check=True)
        subprocess.run(["ip", "neigh", "flush", "to", self.address], check=True, capture_output=True)


@dataclass
class Hosts:
    """Some hosts, the client's key and the known_hosts file that lists exactly them."""

    hosts: list[Host]
    folder: Path

    @property
    def key(self) -> Path:
        """The private key that every host accepts for `LOGIN`."""
        return self.folder / "client"

    @property
    def known_hosts(self) -> Path:
        """The file with the host keys."""
        return self.folder / "known_hosts"

    def write_known_hosts(self) -> None:
        """Write the file anew from the hosts' keys, for port 22 and the extra ports that tests use."""
        lines = []
        for host in self.hosts:
            lines += [f"{host.address} {host.host_key}", f"[{host.address}]:2222 {host.host_key}"]
        self.known_hosts.write_text("\n".join(lines) + "\n")


@contextmanager
def hosts(count: int, folder: Path, *, sshd_options: Sequence[str] = ()) -> Iterator[Hosts]:
    """Make `count` hosts behind one bridge, and take everything away afterwards."""
    if why := missing():
        pytest.skip(why)
    Path("/run/sshd").mkdir(exist_ok=True)
    _sweep()
    keygen(folder / "client")
    tag, net = f"{os.getpid() % 0xFFFFF:x}{random.randrange(256):02x}", _free_network()
    bridge, made = f"rb{tag}", Hosts([], folder)
    try:
        _ip("link", "add", bridge, "type", "bridge")
        _ip("addr", "add", f"{net}.1/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        for number in range(count):
            made.hosts.append(_host(tag, number, net, bridge, folder))
        for host in made.hosts:
            host.start_sshd(options=sshd_options)
        made.write_known_hosts()
        yield made
    finally:
        for host in made.hosts:
            host.stop_sshd()
            subprocess.run(["ip", "netns", "del", host.name], check=False, capture_output=True)
            subprocess.run(["ip", "link", "del", host.link], check=False, capture_output=True)
        subprocess.run(["ip", "link", "del", bridge], check=False, capture_output=True)


def _host(tag: str, number: int, net: str, bridge: str, folder: Path) -> Host:
    host = Host(f"rayops-{tag}-{number}", f"{net}.{number + 11}", f"rv{tag}{number}", folder / f"host{number}")
    host.folder.mkdir()
    host.host_key = keygen(host.folder / "host_key")
    _ip("netns", "add", host.name)
    _ip("link", "add", host.link, "type", "veth", "peer", "name", "eth0", "netns", host.name)
    _ip("link", "set", host.link, "master", bridge, "up")
    _ip("-n", host.name, "addr", "add", f"{host.address}/24", "dev", "eth0")
    _ip("-n", host.name, "link", "set", "eth0", "up")
    _ip("-n", host.name, "link", "set", "lo", "up")
    _ip("-n", host.name, "route", "add", "default", "via", f"{net}.1")
    return host


def _sweep() -> None:
    """Remove what a killed run left: its process is gone, and it is too old to be of a run we cannot see."""
    for space in Path("/run/netns").glob("rayops-*-*"):
        _, tag, number = space.name.split("-")
        with suppress(OSError):
            is_old = time.time() - space.stat().st_mtime > LEFTOVER_AGE_SECONDS
            if is_old and not Path(f"/proc/{int(tag[:-2], 16)}").exists():
                subprocess.run(["ip", "netns", "del", space.name], check=False, capture_output=True)
                for link in (f"rv{tag}{number}", f"rb{tag}"):
                    subprocess.run(["ip", "link", "del", link], check=False, capture_output=True)


def _free_network() -> str:
    taken = subprocess.run(["ip", "-4", "addr"], check=True, capture_output=True).stdout.decode()
    while True:
        net = f"10.{random.randrange(64, 250)}.{random.randrange(1, 255)}"
        if f" {net}." not in taken:
            return net


def _ip(*argv: str) -> None:
    subprocess.run(["ip", *argv], check=True, capture_output=True)


def _speaks(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), timeout=1) as link:
            return link.recv(4) == b"SSH-"
    except OSError:
        return False
