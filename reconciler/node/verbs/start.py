"""Start: hand an order to a keeper of its own, at most once per slot and generation."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from reconciler.node import boots, files, machine, moments, processes, raystart
from reconciler.node.documents import Fields
from reconciler.node.failure import REFUSED, TRANSIENT, NotDone
from reconciler.node.orders import Order, read_order
from reconciler.node.slots import ALIVE, STARTING, Look, Record, Seen, Slot, write_record
from reconciler.node.verbs.names import trusted

# Python takes 0.02 s to start; a machine in heavy swap was seen to need seconds.
_KEEPER_LIMIT_SECONDS = 15.0
_VERSION_LIMIT_SECONDS = 20.0
# Reads what is installed without importing it: importing Ray takes a second.
_ASK_VERSION = "import importlib.metadata as m; print(m.version('ray'))"


def start(role: str, args: Fields, site: Path) -> dict[str, object]:
    """Begin to start Ray in a slot and return at once; what this order has started already is the answer."""
    order = read_order(role, args)
    slot = Slot(order.cluster, role, order.node, site)
    files.own_folder(slot.folder.parent)
    with files.locked(slot.lock):
        seen = Look().at(trusted(slot))
        if seen.state in ALIVE and seen.record is not None and seen.generation == order.generation:
            return seen.document()
        _refuse_what_is_stale(seen, order)
        machine.own_address(order.address)
        _require_version(order)
        boots.remember(site)
        _hand_over(slot, order)
        return Look().at(slot).document()


def _refuse_what_is_stale(seen: Seen, order: Order) -> None:
    if seen.state in ALIVE:
        raise NotDone(REFUSED, f"{seen.where} still runs generation {seen.generation}; stop it first")
    if seen.record is not None and seen.generation >= order.generation:
        # A start that was delayed on its way must not bring back what has been replaced.
        raise NotDone(REFUSED, f"{seen.where} has seen generation {seen.generation} come and go; start a later one")


def _require_version(order: Order) -> None:
    environment = {**raystart.inherited(os.environ), **order.env}
    try:
        answer = subprocess.run(
            [order.python, "-c", _ASK_VERSION],
            env=environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_VERSION_LIMIT_SECONDS,
            check=False,
        )
    except OSError as error:
        raise NotDone(REFUSED, f"{order.python} cannot be run on this machine: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise NotDone(TRANSIENT, f"{order.python} did not answer in {_VERSION_LIMIT_SECONDS:.0f} s") from error
    installed = answer.stdout.decode("ascii", "replace").strip()
    if answer.returncode != 0:
        raise NotDone(
            REFUSED, f"{order.python} on this machine has no Ray; install ray[default]=={order.ray_version}"
        )
    if installed != order.ray_version:
        raise NotDone(REFUSED, f"this machine has Ray {installed[:40]}, the cluster asks for {order.ray_version}")


def _hand_over(slot: Slot, order: Order) -> None:
    files.own_folder(slot.folder)
    for stale in (slot.stop, slot.log):
        stale.unlink(missing_ok=True)
    files.write(slot.token, order.token.encode())
    files.write_json(slot.order, _document(order))
    # Without a keeper yet: if we die here, the slot reads as failed and not as something that may still come up.
    write_record(slot, Record(STARTING, order.epoch, Look().boot, moments.now(), generation=order.generation))
    ready, told = os.pipe()
    try:
        _spawn_keeper(slot, told)
    finally:
        os.close(told)
    try:
        readable, _, _ = select.select([ready], [], [], _KEEPER_LIMIT_SECONDS)
        if not readable or not os.read(ready, 16):
            # Not done must mean that it never happens: a keeper that is merely slow is ended as well.
            processes.end(lambda: list(Look().at(slot).living), 0)
            raise NotDone(
                TRANSIENT, f"the keeper of {slot.role}-{slot.node} did not begin; see keeper.log in its slot"
            )
    finally:
        os.close(ready)


def _spawn_keeper(slot: Slot, told: int) -> None:
    log = os.open(slot.folder / "keeper.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    try:
        # A session of its own: it survives the end of the connection, and the time limit around the gate.
        subprocess.Popen(
            [sys.executable, "-I", str(Path(sys.argv[0]).absolute()), "keep", str(slot.folder), str(told)],
            env={**raystart.inherited(os.environ), raystart.SLOT_MARK: str(slot.folder)},
            cwd=slot.folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(told,),
            start_new_session=True,
        )
    finally:
        os.close(log)


def _document(order: Order) -> dict[str, object]:
    """Return an order in the form of its request; the token has a file of its own."""
    document: dict[str, object] = {
        "cluster": order.cluster,
        "node": order.node,
        "epoch": order.epoch,
        "python": order.python,
        "rayVersion": order.ray_version,
        "address": order.address,
        "labels": order.labels,
        "env": order.env,
    }
    if order.ports is not None:
        return {**document, "ports": asdict(order.ports)}
    offered = order.resources
    resources = {
        "cpus": offered.cpus,
        "gpus": offered.gpus,
        "memoryBytes": offered.memory_bytes,
        "custom": offered.custom,
    }
    return {
        **document,
        "generation": order.generation,
        "headAddress": order.head_address,
        "resources": resources,
    }
