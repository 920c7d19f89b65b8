"""Carry out what was decided about heads."""

from reconciler.kind import Doors
from reconciler.model.effect import PublishHead, StartHead, StopSlot, WithdrawHead
from reconciler.model.json import canonical
from reconciler.model.layout import head_file, head_ip
from reconciler.model.outcome import Done, Outcome


def start_head(doors: Doors, effect: StartHead) -> Outcome:
    """Let the machine's gate start a head; it answers before the head does."""
    gcs, dashboard, client = effect.ports
    args = {
        "cluster": effect.cluster,
        "node": effect.node,
        "epoch": effect.epoch,
        "token": doors.tokens.of(effect.cluster).reveal(),
        "python": effect.python,
        "rayVersion": effect.ray_version,
        "address": effect.machine.host,
        "ports": {"gcs": gcs, "dashboard": dashboard, "client": client},
        "labels": {},
        "env": dict(effect.env),
    }
    return doors.ask(effect.machine, "start-head", args)


def stop_slot(doors: Doors, effect: StopSlot) -> Outcome:
    """Let the machine's gate end a slot; it answers before everything has ended."""
    args = {
        "cluster": effect.cluster,
        "role": effect.role,
        "node": effect.node,
        "generation": effect.generation,
        "graceSeconds": int(effect.grace.total_seconds()),
    }
    return doors.ask(effect.machine, "stop", args)


def publish_head(doors: Doors, effect: PublishHead) -> Outcome:
    """Write the signed head file, then the plain address: a reader of the plain one may trust the signed one."""
    head = effect.head
    payload = canonical(
        {
            "site": doors.site.id,
            "cluster": head.cluster,
            "epoch": effect.epoch,
            "session": effect.session,
            "rayVersion": effect.ray_version,
            "host": head.host,
            "gcsPort": head.gcs_port,
            "dashboardPort": head.dashboard_port,
            "issuedAt": doors.clock.now().wall.isoformat(timespec="seconds"),
        }
    )
    document = canonical({"payload": payload.decode(), "signature": doors.signer.sign(payload)})
    doors.shared.write(head_file(head.cluster), document)
    doors.shared.write(head_ip(head.cluster), f"{head.host}\n".encode())
    return Done()


def withdraw_head(doors: Doors, effect: WithdrawHead) -> Outcome:
    """Remove the head file of a cluster that is gone."""
    doors.shared.remove(head_ip(effect.cluster))
    doors.shared.remove(head_file(effect.cluster))
    return Done()
