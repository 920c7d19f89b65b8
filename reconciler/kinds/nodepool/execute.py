"""Carry out what was decided about nodes."""

from reconciler.kind import Doors
from reconciler.model.effect import DrainRayNode, StartWorker
from reconciler.model.outcome import Outcome


def start_worker(doors: Doors, effect: StartWorker) -> Outcome:
    """Let the machine's gate start a raylet; it answers before the node has joined."""
    args = {
        "cluster": effect.cluster,
        "node": effect.node,
        "epoch": effect.epoch,
        "generation": effect.generation,
        "token": doors.tokens.of(effect.cluster).reveal(),
        "python": effect.python,
        "rayVersion": effect.ray_version,
        "address": effect.machine.host,
        "headAddress": effect.head,
        "resources": {
            "cpus": effect.cpus,
            "gpus": effect.gpus,
            "memoryBytes": effect.memory_bytes,
            "custom": {},
        },
        "labels": dict(effect.labels),
        "env": dict(effect.env),
    }
    return doors.ask(effect.machine, "start-worker", args)


def drain_ray_node(doors: Doors, effect: DrainRayNode) -> Outcome:
    """Tell the head that a node leaves."""
    return doors.ray.drain(effect.head, effect.node_id, effect.reason, doors.site.request_timeout)
