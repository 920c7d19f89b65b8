"""Calls of many machines over real ssh, against fabric's own group: needs root, ip and sshd."""

import json
import logging
import shlex
import signal
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import timedelta
from pathlib import Path

from fabric import ThreadingGroup

from reconciler.clock import SystemClock
from reconciler.model.json import JsonObject
from reconciler.model.machine import Machine
from reconciler.model.outcome import Done, Outcome
from reconciler.remote.ssh import SshAccess, SshGate
from tests import netns
from tests.benchmarks.figures import Figure, compared, in_turn, seconds
from tests.gateprogram import gate_command

COMMAND = gate_command()
REQUEST: JsonObject = {"protocol": 1, "verb": "echo", "site": "ab", "term": 1, "nodeDir": "~/.rayops", "args": {}}
# How many the daemon asks at once: as many as its setting says by default.
AT_ONCE = 32
HUNG_SECONDS = 30.0
AMPLE = timedelta(seconds=60)


class Fleet:
    """Hosts, our door to them, and fabric's."""

    def __init__(self, made: netns.Hosts) -> None:
        self.made = made
        self.machines = [Machine(host.address, netns.LOGIN) for host in made.hosts]
        self.gate = self.door()
        self.group = self.fabric()
        self.threads = ThreadPoolExecutor(AT_ONCE)

    def door(self) -> SshGate:
        """Return a door without any open connection."""
        return SshGate(COMMAND, SshAccess(self.made.key, self.made.known_hosts), SystemClock())

    def fabric(self) -> ThreadingGroup:
        """Return fabric's group without any open connection."""
        key = {"key_filename": str(self.made.key), "look_for_keys": False, "allow_agent": False}
        addresses = [host.address for host in self.made.hosts]
        return ThreadingGroup(*addresses, user=netns.LOGIN, connect_kwargs=key)

    def ours(self, gate: SshGate | None = None) -> None:
        """Call every machine."""
        door = gate or self.gate
        for outcome in self.threads.map(lambda machine: door.call(machine, REQUEST, AMPLE), self.machines):
            assert isinstance(outcome, Done), outcome

    def floor(self, group: ThreadingGroup | None = None) -> None:
        """Let fabric run the same program on every machine. Its own standard input would cost it a second each."""
        line = f"echo {shlex.quote(json.dumps(REQUEST))} | {shlex.join(COMMAND.argv())}"
        results = (group or self.group).run(line, hide=True, in_stream=False)
        assert len(results) == len(self.machines)

    def connecting(self) -> None:
        """Call every machine over new connections."""
        gate = self.door()
        self.ours(gate)
        gate.close()

    def connecting_floor(self) -> None:
        """Let fabric do so."""
        group = self.fabric()
        self.floor(group)
        group.close()

    def seconds_beside_a_hung_host(self) -> float:
        """Return how long all others take while one stands still; that one takes all of its own limit."""
        hung = self.made.hosts[len(self.made.hosts) // 2]
        hung.signal(signal.SIGSTOP)
        try:
            began = time.perf_counter()
            limit = timedelta(seconds=HUNG_SECONDS)
            calls = {self.threads.submit(self.gate.call, each, REQUEST, limit): each for each in self.machines}
            others = [call for call, machine in calls.items() if machine.host != hung.address]
            assert all(isinstance(_result(call), Done) for call in as_completed(others))
            took = time.perf_counter() - began
        finally:
            hung.signal(signal.SIGCONT)
        for call in calls:
            call.result()
        return took


def _result(call: object) -> Outcome:
    outcome: Outcome = call.result()  # type: ignore[attr-defined]  # a future
    return outcome


def hosts(jobs: int, rounds: int) -> Iterator[Figure]:
    """Measure as many hosts as one network has room for: 200, with --quick 20."""
    if netns.missing():
        return
    logging.getLogger("paramiko").setLevel(logging.CRITICAL)  # it tells of each connection that is closed
    count = 200 if jobs >= 10_000 else 20
    with tempfile.TemporaryDirectory(prefix="bench-hosts-") as folder, netns.hosts(count, Path(folder)) as made:
        fleet = Fleet(made)
        fleet.ours()
        fleet.floor()
        pairs = in_turn(rounds, fleet.ours, fleet.floor)
        yield compared(f"gate calls to {count} hosts / fabric", 1.0, pairs, "connections open")
        pairs = in_turn(min(rounds, 3), fleet.connecting, fleet.connecting_floor)
        yield compared(f"connecting and calling {count} hosts / fabric", 1.0, pairs, "new connections")
        beside = [(fleet.seconds_beside_a_hung_host(), seconds(fleet.ours)) for _ in range(min(rounds, 3))]
        # One of the threads is taken by the hung host, so that the others have a little more to do.
        yield compared(
            f"{count - 1} hosts beside a hung one / all well", 1.25, iter(beside), "it delays only itself"
        )
        fleet.gate.close()
        fleet.group.close()
