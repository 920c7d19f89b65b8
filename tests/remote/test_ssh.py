"""Attacks and faults on the SSH door, on a real sshd in a network namespace of its own."""

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import paramiko
import pytest

from reconciler.clock import SystemClock
from reconciler.model.machine import Machine
from reconciler.model.outcome import Done, FailureKind, NotDone, Outcome, Unknown
from reconciler.remote import ssh
from reconciler.remote.command import GateCommand
from reconciler.remote.ssh import SshAccess, SshGate
from tests import netns
from tests.gateprogram import gate_command

pytestmark = pytest.mark.real

COMMAND = gate_command()
AMPLE = timedelta(seconds=30)
SHORT = timedelta(seconds=3)
# How late a call may be on a busy machine.
SLACK = timedelta(seconds=1.5)


@dataclass
class Site:
    """One host and gates to it; every gate is closed at the end."""

    hosts: netns.Hosts
    mark: Path
    gates: list[SshGate] = field(default_factory=list)

    @property
    def host(self) -> netns.Host:
        return self.hosts.hosts[0]

    @property
    def machine(self) -> Machine:
        return Machine(self.host.address, netns.LOGIN)

    @property
    def access(self) -> SshAccess:
        return SshAccess(self.hosts.key, self.hosts.known_hosts)

    def gate(self, **settings: Any) -> SshGate:
        gate = SshGate(COMMAND, replace(self.access, **settings), SystemClock())
        self.gates.append(gate)
        return gate

    def runs(self) -> int:
        """How often the gate has run on the machine."""
        return len(self.mark.read_text().splitlines()) if self.mark.exists() else 0

    def echo(self, gate: SshGate, machine: Machine | None = None, timeout: timedelta = AMPLE) -> Outcome:
        return gate.call(machine or self.machine, request("echo", mark=str(self.mark)), timeout)


def request(verb: str, **args: Any) -> dict[str, Any]:
    return {"protocol": 1, "verb": verb, "site": "ab12", "term": 1, "nodeDir": "~/.rayops", "args": args}


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[netns.Hosts]:
    with netns.hosts(1, tmp_path_factory.mktemp("hosts")) as made:
        yield made


@pytest.fixture
def site(hosts: netns.Hosts, tmp_path: Path) -> Iterator[Site]:
    site = Site(hosts, tmp_path / "mark")
    yield site
    hosts.write_known_hosts()
    for gate in site.gates:
        gate.close()


@contextmanager
def taking(at_most: timedelta) -> Iterator[None]:
    clock = SystemClock()
    start = clock.now()
    yield
    assert clock.now().since(start) < at_most + SLACK


def becomes(condition: Callable[[], bool]) -> bool:
    """Wait for another process or thread, which no clock of ours can hurry."""
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


# host keys


def test_a_changed_host_key_stops_the_call(site: Site, tmp_path: Path) -> None:
    netns.keygen(tmp_path / "other_key")
    site.host.start_sshd(port=2222, key=tmp_path / "other_key")
    outcome = site.echo(site.gate(), replace(site.machine, port=2222))
    assert isinstance(outcome, NotDone)
    assert outcome.kind is FailureKind.REFUSED
    assert "host key has changed" in outcome.message
    assert "SHA256:" in outcome.message
    assert site.runs() == 0


def test_a_host_that_nobody_listed_is_refused(site: Site) -> None:
    outcome = site.echo(site.gate(), replace(site.machine, port=2223))
    assert isinstance(outcome, NotDone)
    assert outcome.kind is FailureKind.REFUSED
    assert f"[{site.host.address}]:2223" in outcome.message


def test_a_host_key_that_was_taken_off_the_list_ends_an_open_connection(site: Site) -> None:
    gate = site.gate()
    assert isinstance(site.echo(gate), Done)
    known = site.hosts.known_hosts
    known.write_text("@revoked * " + site.host.host_key + "\n" + known.read_text())
    outcome = site.echo(gate)
    assert isinstance(outcome, NotDone)
    assert outcome.kind is FailureKind.REFUSED
    site.hosts.write_known_hosts()
    assert isinstance(site.echo(gate), Done)
    assert site.runs() == 2


def test_a_host_key_that_was_replaced_on_the_list_ends_an_open_connection(site: Site, tmp_path: Path) -> None:
    gate = site.gate()
    assert isinstance(site.echo(gate), Done)
    site.hosts.known_hosts.write_text(f"{site.host.address} {netns.keygen(tmp_path / 'other_key')}\n")
    outcome = site.echo(gate)
    assert isinstance(outcome, NotDone)
    assert "host key has changed" in outcome.message
    assert site.runs() == 1


@pytest.mark.parametrize("mode", [0o666, 0o620])
def test_a_list_that_others_can_write_is_refused(site: Site, mode: int) -> None:
    site.hosts.known_hosts.chmod(mode)
    try:
        outcome = site.echo(site.gate())
    finally:
        site.hosts.known_hosts.chmod(0o644)
    assert isinstance(outcome, NotDone)
    assert outcome.kind is FailureKind.REFUSED
    assert "others have access" in outcome.message


def test_the_ssh_library_is_one_with_strict_key_exchange() -> None:
    """Terrapin (CVE-2023-48795) is closed from 3.4 on; the key-file race (CVE-2022-24302) from 2.10.1 on."""
    assert int(paramiko.__version__.split(".")[0]) >= 5


# what may be called a machine


@pytest.mark.parametrize(
    "machine",
    [
        Machine("root@evil:22", "ray"),
        Machine("evil:22", "ray"),
        Machine("-oProxyCommand=touch /tmp/x", "ray"),
        Machine("evil;id", "ray"),
        Machine("evil\n", "ray"),
        Machine("", "ray"),
        Machine("a..b", "ray"),
        Machine("[::1]", "ray"),
        Machine("fe80::1%eth0", "ray"),
        Machine("10.0.0.1", "root;id"),
        Machine("10.0.0.1", "-l"),
        Machine("10.0.0.1", ""),
        Machine("10.0.0.1", "ray", 0),
        Machine("10.0.0.1", "ray", 65_536),
    ],
    ids=lambda machine: repr(str(machine)),
)
def test_a_host_field_is_a_host_and_nothing_else(site: Site, machine: Machine) -> None:
    with taking(timedelta()):
        outcome = site.echo(site.gate(), machine)
    assert isinstance(outcome, NotDone)
    assert outcome.kind is FailureKind.INVALID
    assert not machine.host or machine.host not in outcome.message


@pytest.mark.parametrize(
    "words",
    [("gate.py", "python3"), ("/a b", "python3"), ("/x;id", "python3"), ("/x", "-c"), ("/x", "$(id)"), ("/x", "")],
)
def test_the_command_holds_plain_words_only(words: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="plain"):
        GateCommand(words[0], "0" * 64, words[1])


@pytest.fixture
def planted(tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A home folder full of traps and an agent; fabric as shipped runs the first three and asks the last two."""
    ran = tmp_path / "ran"
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "config").write_text(f"Host *\n  ProxyCommand touch {ran}\n  User evil\n  Port 1\n")
    (tmp_path / ".fabric.py").write_text(f"open({str(ran)!r}, 'w')\n")
    (tmp_path / ".ssh" / "id_ed25519").write_bytes(site.hosts.key.read_bytes())
    (tmp_path / ".ssh" / "id_ed25519").chmod(0o600)
    ssh._libraries.cache_clear()
    with closing(socket.socket(socket.AF_UNIX)) as agent:
        agent.bind(str(tmp_path / "agent"))
        agent.listen()
        agent.setblocking(False)
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
        monkeypatch.setenv("INVOKE_RUN_ECHO", "1")
        yield agent
        with pytest.raises(BlockingIOError):
            agent.accept()
    assert not ran.exists()
    ssh._libraries.cache_clear()


@pytest.mark.usefixtures("planted")
def test_files_in_the_home_folder_change_nothing(site: Site) -> None:
    assert isinstance(site.echo(site.gate()), Done)


@pytest.mark.usefixtures("planted")
def test_no_other_key_than_the_configured_one_is_tried(site: Site, tmp_path: Path) -> None:
    netns.keygen(tmp_path / "stranger")
    outcome = site.echo(site.gate(key_file=tmp_path / "stranger"), timeout=SHORT)
    assert isinstance(outcome, NotDone)
    assert outcome.kind is FailureKind.REFUSED


# our own key


def test_a_key_that_the_machine_does_not_know_is_refused(site: Site, tmp_path: Path) -> None:
    netns.keygen(tmp_path / "stranger")
    outcome = site.echo(site.gate(key_file=tmp_path / "stranger"))
    assert isinstance(outcome, NotDone)
    assert outcome.kind is FailureKind.REFUSED
    assert "authorized_keys" in outcome.message


@pytest.mark.parametrize(
    ("spoil", "why"),
    [("open", "others have access"), ("missing", "make the daemon's key"), ("locked", "encrypted")],
)
def test_a_key_file_that_cannot_be_used_is_refused(site: Site, tmp_path: Path, spoil: str, why: str) -> None:
    key = tmp_path / "key"
    if spoil == "open":
        key.write_bytes(site.hosts.key.read_bytes())
        key.chmod(0o640)
    elif spoil == "locked":
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "canary-pass", "-f", key], check=True)
    outcome = site.echo(site.gate(key_file=key))
    assert isinstance(outcome, NotDone)
    assert outcome.kind is FailureKind.REFUSED
    assert why in outcome.message


# silence, at every stage


@contextmanager
def stranger(speech: bytes) -> Iterator[int]:
    """A server on loopback that says something once and then nothing."""
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        links: list[socket.socket] = []

        def serve() -> None:
            while True:
                try:
                    link, _ = listener.accept()
                    links.append(link)
                    link.sendall(speech)
                except OSError:
                    return

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield int(listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        for link in links:
            link.close()


@pytest.mark.parametrize(
    "speech",
    [
        b"",
        b"SSH-2.0-x\r\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\0" * 100_000,
        b"SSH-2.0-\xff\xfe\r\n" + b"\xff" * 99,
    ],
    ids=["nothing", "banner", "http", "zeros", "rubbish"],
)
def test_a_stranger_that_speaks_no_ssh_costs_no_more_than_the_timeout(site: Site, speech: bytes) -> None:
    with stranger(speech) as port:
        site.hosts.known_hosts.write_text(f"[127.0.0.1]:{port} {site.host.host_key}\n")
        with taking(SHORT):
            outcome = site.echo(site.gate(), Machine("127.0.0.1", "root", port), SHORT)
    assert isinstance(outcome, NotDone)
    assert outcome.kind is FailureKind.TRANSIENT


def test_a_machine_that_hangs_in_authentication_costs_no_more_than_the_timeout(site: Site) -> None:
    options = ["AuthorizedKeysFile none", "AuthorizedKeysCommand /bin/sleep 30", "AuthorizedKeysCommandUser root"]
    site.host.start_sshd(port=2223, options=options)
    site.hosts.known_hosts.write_text(f"[{site.host.address}]:2223 {site.host.host_key}\n")
    with taking(SHORT):
        outcome = site.echo(site.gate(), replace(site.machine, port=2223), SHORT)
    assert isinstance(outcome, NotDone)
    assert outcome.kind is FailureKind.TRANSIENT


def test_a_stopped_sshd_costs_no_more_than_the_timeout(site: Site) -> None:
    warm, cold = site.gate(), site.gate()
    assert isinstance(site.echo(warm), Done)
    site.host.signal(signal.SIGSTOP)
    try:
        for gate in (cold, warm):
            with taking(SHORT):
                outcome = site.echo(gate, timeout=SHORT)
            assert isinstance(outcome, NotDone)
            assert outcome.kind is FailureKind.TRANSIENT
    finally:
        site.host.signal(signal.SIGCONT)
    assert isinstance(site.echo(warm), Done)


def test_a_stopped_sshd_is_given_up_after_the_limit_of_its_stage(site: Site) -> None:
    gate = site.gate(start=timedelta(seconds=1), greet=timedelta(seconds=1))
    assert isinstance(site.echo(gate), Done)
    site.host.signal(signal.SIGSTOP)
    try:
        with taking(timedelta(seconds=2)):
            assert isinstance(site.echo(gate), NotDone)
    finally:
        site.host.signal(signal.SIGCONT)


class Mute(paramiko.ServerInterface):  # type: ignore[misc]  # paramiko ships no types
    """An ssh server that accepts everybody and every session, and never answers a command."""

    def __init__(self) -> None:
        self.over = threading.Event()

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: object) -> int:
        return int(paramiko.AUTH_SUCCESSFUL)

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return int(paramiko.OPEN_SUCCEEDED)

    def check_channel_exec_request(self, channel: object, command: bytes) -> bool:
        self.over.wait(30)
        return False


def test_a_server_that_never_answers_a_command_costs_no_more_than_the_timeout(site: Site) -> None:
    mute = Mute()
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
        site.hosts.known_hosts.write_text(f"[127.0.0.1]:{port} {site.host.host_key}\n")
        outcomes: list[Outcome] = []
        machine = Machine("127.0.0.1", "root", port)
        gate = site.gate()
        caller = threading.Thread(target=lambda: outcomes.append(site.echo(gate, machine, SHORT)))
        with taking(SHORT):
            caller.start()
            transport = paramiko.Transport(listener.accept()[0])
            transport.add_server_key(paramiko.Ed25519Key.from_private_key_file(site.host.folder / "host_key"))
            transport.start_server(server=mute)
            caller.join()
        mute.over.set()
        transport.close()
    assert isinstance(outcomes[0], NotDone)
    assert outcomes[0].kind is FailureKind.TRANSIENT


def test_a_machine_that_refuses_connections_is_known_at_once(site: Site) -> None:
    site.hosts.known_hosts.write_text(f"[{site.host.address}]:9 {site.host.host_key}\n")
    with taking(timedelta()):
        outcome = site.echo(site.gate(), replace(site.machine, port=9))
    assert isinstance(outcome, NotDone)
    assert outcome.kind is FailureKind.TRANSIENT


def test_a_machine_that_is_cut_off_costs_no_more_than_the_connect_limit(site: Site) -> None:
    site.host.cut()
    try:
        with taking(timedelta(seconds=1)):
            outcome = site.echo(site.gate(connect=timedelta(seconds=1)))
    finally:
        site.host.mend()
    assert isinstance(outcome, NotDone)
    assert outcome.kind is FailureKind.TRANSIENT


# after the request was sent


def test_a_hung_gate_is_ended_on_the_machine_too(site: Site) -> None:
    outcome = site.gate().call(site.machine, request("hang", mark=str(site.mark)), SHORT)
    assert isinstance(outcome, Unknown)
    pid = int(site.mark.read_text())
    assert becomes(lambda: not Path(f"/proc/{pid}").exists())


def test_a_gate_that_drips_for_ever_is_unknown_within_the_timeout(site: Site) -> None:
    with taking(SHORT):
        assert isinstance(site.gate().call(site.machine, request("drip"), SHORT), Unknown)


def test_a_link_that_is_cut_in_mid_command_is_unknown_before_the_timeout(site: Site) -> None:
    gate = site.gate(silence=timedelta(seconds=1))
    outcomes: list[Outcome] = []
    hang = request("hang", mark=str(site.mark))
    caller = threading.Thread(target=lambda: outcomes.append(gate.call(site.machine, hang, AMPLE)))
    with taking(timedelta(seconds=15)):
        caller.start()
        assert becomes(site.mark.exists)
        site.host.cut()
        caller.join()
    assert isinstance(outcomes[0], Unknown)
    site.host.mend()
    site.mark.unlink()
    assert isinstance(site.echo(gate), Done)


def test_a_machine_that_dies_in_mid_command_is_unknown_at_once(site: Site) -> None:
    gate = site.gate()
    outcomes: list[Outcome] = []
    hang = request("hang", mark=str(site.mark))
    caller = threading.Thread(target=lambda: outcomes.append(gate.call(site.machine, hang, AMPLE)))
    with taking(timedelta(seconds=10)):
        caller.start()
        assert becomes(site.mark.exists)
        site.host.stop_sshd()
        caller.join()
    site.host.start_sshd()
    assert isinstance(outcomes[0], Unknown)


@pytest.mark.parametrize(
    ("verb", "why"),
    [("complain", "status 3: last words [31mNone"), ("kill-itself", "status 137|ended before|was killed")],
)
def test_a_gate_that_fails_after_its_answer_is_unknown(site: Site, verb: str, why: str) -> None:
    outcome = site.gate().call(site.machine, request(verb), AMPLE)
    assert isinstance(outcome, Unknown)
    assert any(each in outcome.message for each in why.split("|"))


def test_a_machine_without_the_program_says_so(site: Site) -> None:
    for command, why in (
        (replace(COMMAND, program="/no/such.pyz"), "No such file"),
        (replace(COMMAND, sha256="0" * 64), "not the one that the daemon put there"),
        (replace(COMMAND, python="no-such-python"), "is not found there"),
    ):
        gate = SshGate(command, site.access, SystemClock())
        site.gates.append(gate)
        outcome = site.echo(gate)
        assert isinstance(outcome, Unknown)
        assert why in outcome.message


def test_a_machine_that_ends_before_it_was_asked_says_why(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    send_all = paramiko.Channel.sendall

    def late(channel: paramiko.Channel, data: bytes) -> None:
        assert becomes(lambda: channel.closed)
        send_all(channel, data)

    monkeypatch.setattr(paramiko.Channel, "sendall", late)
    gate = SshGate(replace(COMMAND, python="no-such-python"), site.access, SystemClock())
    site.gates.append(gate)
    outcome = site.echo(gate)
    assert isinstance(outcome, Unknown)
    assert "is not found there" in outcome.message


# keeping connections


def via(outcome: Outcome) -> str:
    assert isinstance(outcome, Done)
    return str(outcome.result["via"])


def test_one_connection_serves_many_calls_until_it_was_idle(site: Site) -> None:
    gate, forgetful = site.gate(), site.gate(idle=timedelta())
    assert len({via(site.echo(gate)) for _ in range(3)}) == 1
    assert len({via(site.echo(forgetful)) for _ in range(3)}) == 3


def test_a_kept_connection_that_died_is_replaced_and_the_request_runs_once(site: Site) -> None:
    gate = site.gate()
    assert isinstance(site.echo(gate), Done)
    site.host.stop_sshd()
    site.host.start_sshd()
    assert isinstance(site.echo(gate), Done)
    assert site.runs() == 2


def test_a_kept_connection_that_hangs_is_replaced_and_the_request_runs_once(site: Site) -> None:
    gate = site.gate(start=timedelta(seconds=1))
    assert isinstance(site.echo(gate), Done)
    listeners = {child.pid for child in site.host.others}
    sessions = [pid for pid in site.host.pids() if pid not in listeners]
    for pid in sessions:
        os.kill(pid, signal.SIGSTOP)
    with taking(timedelta(seconds=2)):
        assert isinstance(site.echo(gate), Done)
    for pid in sessions:
        os.kill(pid, signal.SIGCONT)
    assert becomes(lambda: site.runs() == 2)


def test_a_kept_connection_to_a_machine_that_vanished_is_noticed_early(site: Site) -> None:
    gate = site.gate(silence=timedelta(seconds=1), connect=timedelta(seconds=1), start=AMPLE)
    assert isinstance(site.echo(gate), Done)
    site.host.cut()
    try:
        # Some seconds on a quiet machine; without that notice it waits for all of the start's time.
        with taking(AMPLE / 2):
            outcome = site.echo(gate)
    finally:
        site.host.mend()
    assert isinstance(outcome, NotDone)
    assert outcome.kind is FailureKind.TRANSIENT
    # A link that is up again asks for addresses once a second, and a connection gets no more than that here.
    assert becomes(lambda: isinstance(site.echo(gate), Done))


def test_no_more_calls_run_at_once_than_allowed(site: Site) -> None:
    gate = site.gate(parallel=1)
    hang = request("hang", mark=str(site.mark))
    caller = threading.Thread(target=lambda: gate.call(site.machine, hang, SHORT))
    caller.start()
    assert becomes(site.mark.exists)
    outcome = gate.call(site.machine, request("echo"), timedelta(seconds=0.2))
    caller.join()
    assert isinstance(outcome, NotDone)
    assert outcome.kind is FailureKind.TRANSIENT
    assert "busy" in outcome.message


def test_closing_leaves_no_thread_and_no_descriptor(site: Site) -> None:
    def open_descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    gate = site.gate()
    # What was there before may end meanwhile.
    threads, descriptors = set(threading.enumerate()), open_descriptors()
    assert isinstance(site.echo(gate), Done)
    assert becomes(lambda: len(set(threading.enumerate()) - threads) == 1)
    assert open_descriptors() > descriptors
    gate.close()
    gate.close()
    assert becomes(lambda: set(threading.enumerate()) <= threads)
    assert open_descriptors() <= descriptors
    outcome = site.echo(gate)
    assert isinstance(outcome, NotDone)
    assert outcome.kind is FailureKind.TRANSIENT


def test_nothing_is_logged_that_a_stranger_said(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    with stranger(b"SSH-2.0-canary\r\n\0\0\0\0") as port:
        site.hosts.known_hosts.write_text(f"[127.0.0.1]:{port} {site.host.host_key}\n")
        site.echo(site.gate(), Machine("127.0.0.1", "root", port), timedelta(seconds=1))
    assert "canary" not in caplog.text
