"""What this machine is and has; all of it is read from the kernel, nothing is started."""

from __future__ import annotations

import hashlib
import os
import platform
import socket
from contextlib import suppress
from pathlib import Path

from reconciler.node.failure import REFUSED, NotDone
from reconciler.node.processes import boot_id

_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
# Ray replaces 127.0.0.1 by the machine's outward address (2.60, services.resolve_ip_for_localhost), so that a
# demo on loopback would depend on the network and be open to it. It leaves other loopback addresses alone.
_RAY_LOOPBACK = "127.0.0.2"
# Below the kernel's range for outgoing connections (32768 up) and above the workers' default (up to 19999): a
# port that is free now is not taken by chance before Ray binds it.
_FIRST_PORT, _PORTS = 20_000, 10_000
_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def facts() -> dict[str, object]:
    """Return the facts that the daemon compares with the repo."""
    return {
        "bootId": boot_id(),
        "hostName": host_name(),
        "cpus": len(os.sched_getaffinity(0)),
        "memoryBytes": memory_bytes(),
        "gpus": gpus(),
        "python": platform.python_version(),
    }


def host_name() -> str:
    """Return the machine's name."""
    return os.uname().nodename


def memory_bytes() -> int:
    """Return the memory of this machine, or of the container that holds us."""
    total = 0
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemTotal:"):
            total = int(line.split()[1]) * 1024
    for limit in _CGROUP_LIMITS:
        with suppress(OSError, ValueError):
            total = min(total, int(Path(limit).read_text(encoding="ascii")))
    return total


def gpus(devices: Path = Path("/dev")) -> int:
    """Return the number of NVIDIA devices. Whether they work, only the driver can say; it is not asked."""
    return sum(1 for each in devices.glob("nvidia[0-9]*") if each.name[len("nvidia") :].isdigit())


def is_loopback(host: str) -> bool:
    """Say whether a host means this machine, whatever its network."""
    return host.lower() in _LOOPBACK_NAMES


def ray_host(host: str) -> str:
    """Return how Ray has to be told a host that others know by this name."""
    return _RAY_LOOPBACK if is_loopback(host) else host


def own_address(host: str) -> str:
    """Return the IP address of this machine behind a name; Ray's parts must be able to bind it."""
    if is_loopback(host):
        return _RAY_LOOPBACK
    try:
        found = [str(info[4][0]) for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]
    except OSError:
        raise NotDone(
            REFUSED, f"this machine cannot resolve the address {host}; correct it or its name service"
        ) from None
    # Debian's /etc/hosts maps a machine's own name to 127.0.1.1, where no other machine finds it.
    usable = [each for each in found if each == host or not each.startswith(("127.", "::1"))]
    for address in usable:
        if _is_bound_here(address):
            return address
    raise NotDone(
        REFUSED, f"{host} is no address of this machine that others can reach; write the one that nodes use"
    )


def free_ports(count: int, seed: str) -> list[int]:
    """Return ports that nobody uses now; different seeds look in different places."""
    first = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:4], "big")
    found: list[int] = []
    for step in range(_PORTS):
        port = _FIRST_PORT + (first + step) % _PORTS
        if len(found) < count and _is_free(port):
            found.append(port)
    if len(found) < count:
        raise NotDone(REFUSED, f"this machine has no {count} free ports from {_FIRST_PORT} on")
    return found


def _is_bound_here(address: str) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As Ray's parts do: connections of an earlier head that wait for their end do not block the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True
