"""The door to machines: one JSON document in, one out, through the gate of the node program."""

from datetime import timedelta
from typing import Protocol

from reconciler.model.json import JsonObject
from reconciler.model.machine import Machine
from reconciler.model.outcome import Outcome

# The version of the gate's documents; daemon and node program must agree.
PROTOCOL = 1


class Gate(Protocol):
    """Runs verbs of the node program on machines. Every call returns within its `timeout`."""

    def call(self, machine: Machine, request: JsonObject, timeout: timedelta) -> Outcome:
        """Send one request document and return the gate's answer.

        `NotDone(TRANSIENT)` when the machine was not reached before the request was sent; `NotDone(REFUSED)` for a
        wrong host key, failed authentication or the gate's own refusal; `Unknown` once the request may have
        arrived and no whole answer came back.
        """

    def close(self) -> None:
        """Close all connections."""
