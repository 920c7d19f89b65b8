"""A program of its own: asks one cluster's GCS, one JSON line in and one JSON line out.

Run as `<python> -I gcs_child.py` by the interpreter whose Ray matches the cluster; it needs nothing of ours. It
speaks gRPC with Ray's own message types instead of `GcsClient`, which blocks for 40 s on a dead address, ends the
whole process when its token is missing and takes only one token per process (all measured on Ray 2.60). The token
arrives in each request, so it is neither in the environment nor on the command line.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc  # type: ignore[import-untyped]  # grpcio ships no types
from ray.core.generated import autoscaler_pb2, autoscaler_pb2_grpc, gcs_service_pb2, gcs_service_pb2_grpc

# Ray keeps submitted jobs in the GCS key-value store (dashboard/modules/job/common.py) and runs each under a
# detached actor of this name and namespace (job_manager.py). Private to Ray; the contract suite runs on real Ray.
JOB_NAMESPACE = b"job"
JOB_KEY = "_ray_internal_job_info_"
SUPERVISOR_NAME = "_ray_internal_job_actor_"
SUPERVISOR_NAMESPACE = "SUPERVISOR_ACTOR_RAY_NAMESPACE"

# Ray gives the head's raylet this resource (ray/_private/ray_constants.py).
HEAD_RESOURCE = "node:__internal_head__"
# What is read of a node's amounts. Ray shows each bundle of each placement group as amounts of its own there
# (`CPU_group_7_<id>`), so that one job can make thousands of them.
AMOUNTS = frozenset({"CPU", "GPU", "memory", HEAD_RESOURCE})
# GcsStatus.code when a named actor is unknown (src/ray/common/status.h, StatusCode).
NOT_FOUND = 17

# A job's message may hold 20,000 characters of log; the parent cuts it again.
TEXT_LIMIT = 4000
# A line is read whole before it is parsed; ids of 10,000 jobs fit ten times over.
LINE_LIMIT = 16 << 20

CHANNEL_OPTIONS = (
    ("grpc.enable_http_proxy", 0),  # never by way of a proxy from the environment
    ("grpc.enable_retries", 0),  # one attempt each: the next pass is the retry
    ("grpc.max_receive_message_length", 64 << 20),
    ("grpc.use_local_subchannel_pool", 1),  # a new channel is a new connection
)


class WrongForm(Exception):
    """Ray answered in a way that the versions we know do not."""


class Gcs:
    """One channel to one GCS; made anew after each failure, so that no reconnect back-off delays the next call."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.channel = grpc.insecure_channel(address, options=CHANNEL_OPTIONS)
        self.nodes = autoscaler_pb2_grpc.AutoscalerStateServiceStub(self.channel)
        self.store = gcs_service_pb2_grpc.InternalKVGcsServiceStub(self.channel)
        self.actors = gcs_service_pb2_grpc.ActorInfoGcsServiceStub(self.channel)
        self.token = ""
        self.ends = 0.0

    def begin(self, token: str, seconds: float) -> None:
        """Take the token and the time of the next request, however many calls it needs."""
        self.token = token
        self.ends = time.monotonic() + seconds

    def ask(self, call: Any, message: Any, *, as_stranger: bool = False) -> Any:
        """Make one call with what is left of the time."""
        metadata = () if as_stranger else (("authorization", f"Bearer {self.token}"),)
        return call(message, timeout=max(0.0, self.ends - time.monotonic()), metadata=metadata)

    def close(self) -> None:
        """End the connection."""
        self.channel.close()


def look(gcs: Gcs, request: dict[str, Any]) -> dict[str, Any]:
    """Return session, nodes and the asked-for jobs; with `probe` also whether strangers are refused."""
    state = gcs.ask(gcs.nodes.GetClusterResourceState, autoscaler_pb2.GetClusterResourceStateRequest())
    cluster = state.cluster_resource_state
    answer: dict[str, Any] = {
        "session": cluster.cluster_session_name,
        "nodes": [_node(each) for each in cluster.node_states],
        "jobs": dict(_jobs(gcs, request["jobs"])),
    }
    if request["probe"]:
        answer["tokenRequired"] = _refuses_strangers(gcs)
    return answer


def drain(gcs: Gcs, request: dict[str, Any]) -> dict[str, Any]:
    """Tell the GCS that a node leaves.

    Ray accepts every drain, also of nodes it never knew, and of the head, whose raylet then ends (measured).
    """
    node_id = bytes.fromhex(request["node"])
    state = gcs.ask(gcs.nodes.GetClusterResourceState, autoscaler_pb2.GetClusterResourceStateRequest())
    node = next((each for each in state.cluster_resource_state.node_states if each.node_id == node_id), None)
    if node is None or node.status == autoscaler_pb2.NodeStatus.DEAD:
        return {"accepted": True, "gone": True}
    if HEAD_RESOURCE in node.total_resources:
        return {"accepted": False, "why": "it is the head's own node"}
    reply = gcs.ask(
        gcs.nodes.DrainNode,
        autoscaler_pb2.DrainNodeRequest(
            node_id=node_id,
            # Only this reason is accepted by a busy node; Ray enforces no deadline, so none is given.
            reason=autoscaler_pb2.DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION"),
            reason_message=request["reason"],
        ),
    )
    return {"accepted": reply.is_accepted, "gone": False, "why": reply.rejection_reason_message[:TEXT_LIMIT]}


def end_pending(gcs: Gcs, request: dict[str, Any]) -> dict[str, Any]:
    """End a job that has not started: Ray's own stop leaves it pending for ever, and it cannot be deleted then."""
    found = gcs.ask(
        gcs.actors.GetNamedActorInfo,
        gcs_service_pb2.GetNamedActorInfoRequest(
            name=SUPERVISOR_NAME + request["job"], ray_namespace=SUPERVISOR_NAMESPACE
        ),
    )
    if found.status.code == NOT_FOUND:
        return {"ended": False}
    _require_ok(found)
    actor = found.actor_table_data
    # DEPENDENCIES_UNREADY and PENDING_CREATION: not placed yet. A living supervisor obeys the plain stop.
    if actor.state > 1:
        return {"ended": False}
    # Not by force: should the supervisor have started in between, it still ends its job in order.
    kill = gcs_service_pb2.KillActorViaGcsRequest(actor_id=actor.actor_id, force_kill=False, no_restart=True)
    _require_ok(gcs.ask(gcs.actors.KillActorViaGcs, kill))
    return {"ended": True}


VERBS: dict[str, Callable[[Gcs, dict[str, Any]], dict[str, Any]]] = {
    "look": look,
    "drain": drain,
    "end-pending": end_pending,
}


def _node(node: Any) -> dict[str, Any]:
    return {
        "id": node.node_id.hex(),
        "address": node.node_ip_address,
        "status": autoscaler_pb2.NodeStatus.Name(node.status),
        "labels": dict(node.labels),
        "total": _amounts(node.total_resources),
        "available": _amounts(node.available_resources),
    }


def _amounts(resources: Any) -> dict[str, float]:
    return {name: amount for name, amount in resources.items() if name in AMOUNTS}


def _jobs(gcs: Gcs, ids: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    if not ids:
        return
    keys = [(JOB_KEY + each).encode() for each in ids]
    request = gcs_service_pb2.InternalKVMultiGetRequest(keys=keys, namespace=JOB_NAMESPACE)
    reply = gcs.ask(gcs.store.InternalKVMultiGet, request)
    _require_ok(reply)  # an error must not read as "no such job"
    for result in reply.results:
        record = json.loads(result.value)
        yield (
            result.key.decode().removeprefix(JOB_KEY),
            {
                "status": record["status"],
                "message": str(record["message"] or "")[:TEXT_LIMIT],
                "errorType": record["error_type"] or "",
                "exitCode": record["driver_exit_code"],
                "nodeId": record["driver_node_id"] or "",
                "metadata": record["metadata"] or {},
            },
        )


def _require_ok(reply: Any) -> None:
    if reply.status.code != 0:
        raise WrongForm


def _refuses_strangers(gcs: Gcs) -> bool:
    try:
        question = autoscaler_pb2.GetClusterResourceStateRequest()
        gcs.ask(gcs.nodes.GetClusterResourceState, question, as_stranger=True)
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.UNAUTHENTICATED:
            return True
        raise
    return False


def answer(line: bytes, gcs: Gcs | None) -> tuple[dict[str, Any], Gcs | None]:
    """Answer one request; return the answer and the channel to keep."""
    try:
        request = json.loads(line)
        if gcs is None or gcs.address != request["address"]:
            if gcs is not None:
                gcs.close()
            gcs = Gcs(request["address"])
        gcs.begin(request["token"], request["seconds"])
        return {"ok": VERBS[request["verb"]](gcs, request)}, gcs
    except grpc.RpcError as error:
        if gcs is not None:
            gcs.close()
        return {"failed": error.code().name, "message": str(error.details())[:300]}, None
    except (ValueError, KeyError, TypeError, AttributeError, WrongForm) as error:
        # What Ray keeps has another form than in the versions we know: said by type, since values are not ours.
        return {"failed": "FORM", "message": type(error).__name__}, gcs


def main() -> None:
    """Answer requests until the input ends."""
    gcs: Gcs | None = None
    # A first line says that all imports are done, so that their time is not taken for a slow GCS.
    print(json.dumps({"ok": {"ready": True}}), flush=True)  # noqa: T201  # stdout is this program's door
    while line := sys.stdin.buffer.readline(LINE_LIMIT):
        reply, gcs = answer(line, gcs)
        print(json.dumps(reply), flush=True)  # noqa: T201  # stdout is this program's door


if __name__ == "__main__":
    main()
