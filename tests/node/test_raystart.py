import socket
from pathlib import Path

import pytest

from reconciler.node import machine, raystart
from reconciler.node.documents import Fields
from reconciler.node.failure import NotDone
from reconciler.node.orders import HEAD, read_order
from reconciler.node.raystart import temporary_folder

ORDER = {
    "cluster": "main",
    "node": "n1",
    "epoch": 1,
    "token": "canary-0123456789abcdef",
    "python": "python3",
    "rayVersion": "2.60.0",
    "address": "10.0.0.1",
    "ports": {"gcs": 6379, "dashboard": 8265, "client": 10001},
    "labels": {},
    "env": {"RAY_health_check_period_ms": "3000"},
}
# The longest names that Ray puts below its temporary folder; the pid is that of `ray start`.
LONGEST_SOCKET = "session_2026-11-22_03-42-44_545303_4194304/sockets/dash_MetricsHead"


def test_only_named_variables_are_inherited_and_the_repo_wins_over_defaults() -> None:
    order = read_order(HEAD, Fields(ORDER, "args"))
    own = {"PATH": "/bin", "NCCL_DEBUG": "INFO", "RAY_ADDRESS": "x", "SSH_AUTH_SOCK": "x", "PYTHONPATH": "x"}
    found = raystart.environment(order, own, Path("/slot"), Path("/slot/token"), [1, 2, 3, 4, 5, 6])
    assert found.keys() & own.keys() == {"PATH", "NCCL_DEBUG"}
    assert found["RAY_health_check_period_ms"] == "3000"
    assert (found["RAYOPS_SLOT"], found["RAY_AUTH_TOKEN_PATH"]) == ("/slot", "/slot/token")


@pytest.mark.parametrize("user", [0, 1000, (1 << 32) - 2])
def test_rays_longest_socket_fits_into_a_socket_address(user: int) -> None:
    slot = Path("/home") / ("x" * 200) / "node"
    assert len(str(temporary_folder(slot, user) / LONGEST_SOCKET)) <= 107  # unix(7)


def test_ports_are_free_differ_and_lie_apart_for_different_slots() -> None:
    one, two = machine.free_ports(6, "one"), machine.free_ports(6, "two")
    assert len(set(one)) == 6
    assert set(one).isdisjoint(two)
    assert machine.free_ports(6, "one") == one


def test_a_name_that_only_this_machine_understands_is_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    # As Debian's /etc/hosts resolves a machine's own name.
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(socket.AF_INET, 1, 6, "", ("127.0.1.1", 0))])
    with pytest.raises(NotDone, match="write the one that nodes use"):
        machine.own_address("node-7")
    assert machine.own_address("127.0.1.1") == "127.0.1.1"
    assert machine.own_address("localhost") == "127.0.0.2"


def test_gpus_are_counted_by_their_devices(tmp_path: Path) -> None:
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm", "nvidia2x"):
        (tmp_path / name).touch()
    assert machine.gpus(tmp_path) == 2
