"""What a caller hears when something goes wrong on the way to a gate, and whether the gate ran."""

import socket
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Protocol

import pytest

from reconciler.clock import SystemClock
from reconciler.model.json import JsonObject
from reconciler.model.machine import Machine
from reconciler.model.outcome import Done, FailureKind, NotDone, Outcome, Unknown
from reconciler.remote.ssh import SshAccess, SshGate
from tests import netns
from tests.fakes.gate import FakeGate, Mishap
from tests.gateprogram import gate_command

AMPLE, SHORT = timedelta(seconds=30), timedelta(seconds=3)


class Way(Protocol):
    """A way to one machine. `meet` lets the next call meet a mishap; `runs` tells how often the gate has run."""

    def meet(self, mishap: Mishap) -> Outcome: ...
    def call(self) -> Outcome: ...
    def runs(self) -> int: ...
    def close(self) -> None: ...


class FakeWay:
    """A fake gate that counts."""

    def __init__(self) -> None:
        self._count = 0
        self._machine = Machine("node-1", "ray")
        self._gate = FakeGate(self._answer)

    def _answer(self, _: Machine, __: JsonObject) -> JsonObject:
        self._count += 1
        return {"protocol": 1, "ok": True, "result": {}}

    def meet(self, mishap: Mishap) -> Outcome:
        self._gate.script(self._machine, mishap, times=1)
        return self.call()

    def call(self) -> Outcome:
        return self._gate.call(self._machine, _request("echo"), AMPLE)

    def runs(self) -> int:
        return self._count

    def close(self) -> None:
        self._gate.close()


class RealWay:
    """A gate behind a real sshd in a network namespace of its own."""

    def __init__(self, hosts: netns.Hosts, folder: Path) -> None:
        self._hosts, self._folder = hosts, folder
        self._machine = Machine(hosts.hosts[0].address, netns.LOGIN)
        self._access = SshAccess(hosts.key, hosts.known_hosts)
        self._gates: list[SshGate] = []
        self._mark = folder / "mark"

    def meet(self, mishap: Mishap) -> Outcome:
        match mishap:
            case Mishap.UNREACHABLE:
                return self._at(self._listed(replace(self._machine, port=9)))
            case Mishap.SILENT:
                with socket.create_server(("127.0.0.1", 0)) as listener:
                    silent = Machine("127.0.0.1", netns.LOGIN, listener.getsockname()[1])
                    return self._at(self._listed(silent), SHORT)
            case Mishap.AUTH_DENIED:
                netns.keygen(self._folder / "stranger")
                return self._at(self._machine, key=self._folder / "stranger")
            case Mishap.HOST_KEY_CHANGED:
                netns.keygen(self._folder / "other")
                self._hosts.hosts[0].start_sshd(port=2222, key=self._folder / "other")
                return self._at(replace(self._machine, port=2222))
            case Mishap.LOST_REPLY:
                return self._at(self._machine, SHORT, verb="hang")
            case Mishap.LOST_STATUS:
                return self._at(self._machine, verb="kill-itself")
            case _:
                raise AssertionError(f"{mishap} cannot be made here")

    def call(self) -> Outcome:
        return self._at(self._machine)

    def runs(self) -> int:
        return len(self._mark.read_text().splitlines()) if self._mark.exists() else 0

    def close(self) -> None:
        self._hosts.write_known_hosts()
        for gate in self._gates:
            gate.close()

    def _listed(self, machine: Machine) -> Machine:
        """Put another port or machine on the list of known hosts."""
        with self._hosts.known_hosts.open("a") as known:
            known.write(f"[{machine.host}]:{machine.port} {self._hosts.hosts[0].host_key}\n")
        return machine

    def _at(
        self, machine: Machine, timeout: timedelta = AMPLE, *, verb: str = "echo", key: Path | None = None
    ) -> Outcome:
        access = replace(self._access, key_file=key) if key is not None else self._access
        gate = SshGate(gate_command(), access, SystemClock())
        self._gates.append(gate)
        return gate.call(machine, _request(verb, mark=str(self._mark)), timeout)


def _request(verb: str, **args: str) -> JsonObject:
    return {"protocol": 1, "verb": verb, "site": "ab12", "term": 1, "nodeDir": "~/.rayops", "args": args}


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[netns.Hosts]:
    with netns.hosts(1, tmp_path_factory.mktemp("hosts")) as made:
        yield made


@pytest.fixture(params=["fake", pytest.param("sshd", marks=pytest.mark.real)])
def way(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Way]:
    made: Way
    made = FakeWay() if request.param == "fake" else RealWay(request.getfixturevalue("hosts"), tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("mishap", "kind"),
    [
        (Mishap.UNREACHABLE, FailureKind.TRANSIENT),
        (Mishap.SILENT, FailureKind.TRANSIENT),
        (Mishap.AUTH_DENIED, FailureKind.REFUSED),
        (Mishap.HOST_KEY_CHANGED, FailureKind.REFUSED),
    ],
)
def test_what_never_reached_the_machine_is_not_done(way: Way, mishap: Mishap, kind: FailureKind) -> None:
    outcome = way.meet(mishap)
    assert isinstance(outcome, NotDone)
    assert outcome.kind is kind
    assert way.runs() == 0
    assert isinstance(way.call(), Done)


@pytest.mark.parametrize("mishap", [Mishap.LOST_REPLY, Mishap.LOST_STATUS])
def test_what_ran_without_telling_how_it_ended_is_unknown(way: Way, mishap: Mishap) -> None:
    assert isinstance(way.meet(mishap), Unknown)
    assert way.runs() == 1
    assert isinstance(way.call(), Done)


def test_nobody_keeps_a_request_from_being_sent_twice(way: Way) -> None:
    assert isinstance(way.call(), Done)
    assert isinstance(way.call(), Done)
    assert way.runs() == 2
