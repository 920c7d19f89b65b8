"""How Ray is started in a slot: argument list and environment of `ray start`. Nothing here runs anything."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path

from reconciler.node import machine
from reconciler.node.orders import Order

# Carried by everything that a slot starts, whatever session or parent it ends up with.
SLOT_MARK = "RAYOPS_SLOT"
# What Ray and the programs under it need of the login's environment. All else stays out: a variable of whoever
# started the daemon must not decide how a cluster runs. Proxies belong into the repo (gRPC obeys them too).
_INHERITED = re.compile(
    r"PATH|HOME|USER|LOGNAME|SHELL|LANG|LC_[A-Z]+|TZ|LD_LIBRARY_PATH|(CUDA|NVIDIA|NCCL|GLOO|UCX)_[A-Z0-9_]+",
    re.ASCII,
)
# Ray calls a node dead after 12-15 s by default. With these a killed raylet is noticed in about 5 s, and one that
# merely stalls (swap, a checkpoint to slow storage) still has half a minute: a wrong death costs its jobs.
_HEAD_ENV = {
    "RAY_health_check_initial_delay_ms": "5000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "5000",
    "RAY_health_check_failure_threshold": "5",
}
# Ray's own default, fixed here: a raylet that has lost its head for longer ends itself and its jobs.
_WORKER_ENV = {"RAY_gcs_rpc_server_reconnect_timeout_s": "60"}
# The longest socket that Ray makes below has 68 characters, and unix(7) allows 107: a short folder, so in /tmp.
_HASH = 12


def inherited(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what of our own environment Ray may see."""
    return {name: value for name, value in environment.items() if _INHERITED.fullmatch(name)}


def temporary_folder(slot: Path, user: int) -> Path:
    """Return where Ray keeps sessions, sockets and logs of a slot."""
    return Path("/tmp") / f"rayops-{user}" / hashlib.sha256(str(slot).encode()).hexdigest()[:_HASH]  # noqa: S108 - 0700


def command(order: Order, address: str, temporary: Path, ports: list[int]) -> list[str]:
    """Return the argument list that starts Ray; five free ports keep it apart from its neighbours."""
    agent, agent_rpc, metrics, runtime_env = ports[:4]
    labels = {**order.labels, "rayops-node": order.node}
    return [
        *(order.python, "-m", "ray.scripts.scripts", "start"),
        *(_head(order) if order.ports else _worker(order)),
        f"--node-ip-address={address}",
        f"--node-name={order.node}",
        "--labels=" + ",".join(f"{key}={value}" for key, value in sorted(labels.items())),
        f"--temp-dir={temporary}",
        f"--dashboard-agent-listen-port={agent}",
        f"--dashboard-agent-grpc-port={agent_rpc}",
        f"--metrics-export-port={metrics}",
        f"--runtime-env-agent-port={runtime_env}",
        # Several raylets on one address would try the same fixed range.
        *("--min-worker-port=0", "--max-worker-port=0"),
        *("--disable-usage-stats", "--log-color=false"),
    ]


def environment(order: Order, own: Mapping[str, str], slot: Path, token: Path, ports: list[int]) -> dict[str, str]:
    """Return the whole environment of Ray in a slot; the cluster's own settings come before the defaults."""
    return {
        **inherited(own),
        **(_HEAD_ENV if order.ports else _WORKER_ENV),
        **order.env,
        # Fixed in Ray, and the same for every head on a machine.
        "DASHBOARD_METRIC_PORT": str(ports[4]),
        "AUTOSCALER_METRIC_PORT": str(ports[5]),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        SLOT_MARK: str(slot),
    }


def _head(order: Order) -> list[str]:
    assert order.ports is not None, "only a head has ports of its own"
    # The dashboard is where the daemon connects, by the very address that the repo names.
    dashboard_host = "127.0.0.1" if machine.is_loopback(order.address) else order.address
    return [
        "--head",
        # No work lands on the head, and its drivers do not count.
        *("--num-cpus=0", "--num-gpus=0"),
        f"--port={order.ports.gcs}",
        f"--dashboard-host={dashboard_host}",
        f"--dashboard-port={order.ports.dashboard}",
        f"--ray-client-server-port={order.ports.client}",
        # It carries workers' prints to the driver; a head without CPUs has no workers.
        "--include-log-monitor=false",
    ]


def _worker(order: Order) -> list[str]:
    host, _, port = order.head_address.rpartition(":")
    offered = order.resources
    options = [
        f"--address={machine.ray_host(host)}:{port}",
        f"--num-cpus={offered.cpus}",
        f"--num-gpus={offered.gpus}",
    ]
    if offered.memory_bytes is not None:
        options.append(f"--memory={offered.memory_bytes}")
    if offered.custom:
        options.append(f"--resources={json.dumps(offered.custom, sort_keys=True)}")
    return options
