"""The SSH door: fabric behind one hardened connection that runs the gate of the node program and nothing else."""

import logging
import shlex
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from threading import BoundedSemaphore
from typing import Any

from reconciler.clock import Clock
from reconciler.model.json import JsonObject
from reconciler.model.machine import Machine
from reconciler.model.outcome import FailureKind, NotDone, Outcome, Unknown
from reconciler.remote.answer import DOCUMENT_LIMIT, Conversation, one_line
from reconciler.remote.budget import Budget
from reconciler.remote.command import GateCommand
from reconciler.remote.known_hosts import HostKey, KnownHosts, NotTrusted, entry_name, fingerprint, require_private
from reconciler.remote.lines import Lent, Lines
from reconciler.remote.names import Names
from reconciler.remote.wire import NotSent, cut, is_plain, limited, open_socket

# The gate ends itself on TERM; one that does not is killed this much later.
_KILL_AFTER = 5
# paramiko's reader wakes ten times a second to see whether it was closed; we wake it by a shutdown instead, so that
# a thousand open connections cost nothing.
_READER_SLEEP = 60.0
_COMPLAINT_KEPT = 4096


@dataclass(frozen=True, slots=True)
class SshAccess:
    """How machines are reached: our key, their keys, and how long each step may take within a call's time-out."""

    key_file: Path
    known_hosts: Path
    connect: timedelta = timedelta(seconds=5)
    # From the open TCP connection to the server's proven key; an overloaded sshd needs seconds for its banner.
    greet: timedelta = timedelta(seconds=10)
    authenticate: timedelta = timedelta(seconds=10)
    # A new session on an open connection is one round trip and a fork on the machine.
    start: timedelta = timedelta(seconds=10)
    # Unacknowledged data or unanswered probes for so long mean that the peer is gone.
    silence: timedelta = timedelta(seconds=15)
    idle: timedelta = timedelta(minutes=10)
    parallel: int = 32


class SshGate:
    """Implements `Gate` over ssh, with one open connection per machine and at most `parallel` calls at once."""

    def __init__(self, command: GateCommand, access: SshAccess, clock: Clock) -> None:
        self._command = command
        self._access = access
        self._clock = clock
        self._known = KnownHosts(access.known_hosts)
        self._names = Names()
        self._lines: Lines[_Line] = Lines(clock, access.idle)
        self._places = BoundedSemaphore(access.parallel)

    def call(self, machine: Machine, request: JsonObject, timeout: timedelta) -> Outcome:
        """Run the gate on the machine with the request, reusing the open connection."""
        talk = Conversation.of(machine, request)
        if isinstance(talk, NotDone):
            return talk
        if not is_plain(machine):
            return NotDone(FailureKind.INVALID, "this machine has no plain host name, login name and port")
        budget = Budget.starting_now(self._clock, timeout)
        if not self._places.acquire(timeout=budget.left()):
            return NotDone(
                FailureKind.TRANSIENT, f"{machine}: not tried, all {self._access.parallel} places are busy"
            )
        try:
            return self._call(machine, talk, budget)
        except (NotSent, NotTrusted) as problem:
            kind = problem.kind if isinstance(problem, NotSent) else FailureKind.REFUSED
            return NotDone(kind, f"{machine}: {problem}")
        finally:
            self._places.release()

    def close(self) -> None:
        """Close all connections; calls under way end as unknown."""
        self._lines.close()

    def _call(self, machine: Machine, talk: Conversation, budget: Budget) -> Outcome:
        trusted = self._known.keys(machine.host, machine.port)
        if not trusted:
            name, file = entry_name(machine.host, machine.port), self._access.known_hosts
            raise NotSent(FailureKind.REFUSED, f"no host key of {name} is in {file}; compare it and add it")
        lent = self._lines.kept(machine, lambda line: line.host_key in trusted)
        if lent is None:
            with self._lines.dialling(machine, budget.left()):
                # Whoever dialled before us may have left a line with room.
                lent = self._lines.kept(machine, lambda line: line.host_key in trusted)
                lent = lent or self._lines.add(machine, self._dial(machine, trusted, budget))
        try:
            channel = self._start(lent, budget)
        except NotSent:
            was_fresh = lent.fresh
            self._lines.give_back(machine, lent, usable=False)
            if was_fresh or not budget.left():
                raise
            # A kept connection may have died unnoticed; nothing was sent, so once more on a new one.
            lent = self._lines.add(machine, self._dial(machine, trusted, budget))
            try:
                channel = self._start(lent, budget)
            except NotSent:
                self._lines.give_back(machine, lent, usable=False)
                raise
        outcome, usable = _exchange(lent.line, channel, talk, budget)
        self._lines.give_back(machine, lent, usable=usable)
        return outcome

    def _dial(self, machine: Machine, trusted: Sequence[HostKey], budget: Budget) -> "_Line":
        if self._lines.closed:
            raise NotSent(FailureKind.TRANSIENT, "the door is closed")
        require_private(self._access.key_file)
        limit = Budget.starting_now(self._clock, min(self._access.connect, timedelta(seconds=budget.left())))
        sock = open_socket(machine, self._names, limit, self._access.silence)
        try:
            with limited(sock, budget.left()):
                return _Line(sock, _open(sock, machine, self._access, trusted, budget.left()))
        except BaseException:
            sock.close()
            raise

    def _start(self, lent: "Lent[_Line]", budget: Budget) -> Any:
        limit = min(self._access.start.total_seconds(), budget.left())
        # One second less than what is left, so that the machine's own limit ends the gate before we give up.
        remote_limit = max(1, int(budget.left()) - 1)
        command = shlex.join(["timeout", "-k", str(_KILL_AFTER), str(remote_limit), *self._command.argv()])
        with limited(lent.line.sock, limit):
            try:
                channel = lent.line.connection.transport.open_session(timeout=limit)
                channel.exec_command(command)
            except Exception as error:  # paramiko raises whatever its reader thread met, of any type
                text = one_line(str(error), 200) or type(error).__name__
                raise NotSent(FailureKind.TRANSIENT, f"no session on the open connection: {text}") from error
        return channel


class _Line:
    """An authenticated connection and the socket below it."""

    def __init__(self, sock: socket.socket, connection: Any) -> None:
        self.sock = sock
        self.connection = connection
        key = connection.transport.get_remote_server_key()
        self.host_key: HostKey = (key.get_name(), key.asbytes())
        sock.settimeout(_READER_SLEEP)

    @property
    def alive(self) -> bool:
        """Whether paramiko's reader still runs."""
        return bool(self.connection.is_connected)

    def hang_up(self) -> None:
        """Shut the socket down: the reader wakes, and with it all who wait."""
        cut(self.sock)
        self.connection.client.close()
        self.sock.close()


def _open(sock: socket.socket, machine: Machine, access: SshAccess, trusted: Sequence[HostKey], left: float) -> Any:
    """Prove the server's key, then show ours; return the open connection."""
    paramiko, connection_class, config = _libraries()
    connection = connection_class(
        machine.host,
        user=machine.user,
        port=machine.port,
        config=config,
        forward_agent=False,
        connect_kwargs={
            "sock": sock,
            "pkey": _load_key(access.key_file),
            "allow_agent": False,
            "look_for_keys": False,
            "timeout": min(access.greet.total_seconds(), left),
            "banner_timeout": min(access.greet.total_seconds(), left),
            "auth_timeout": min(access.authenticate.total_seconds(), left),
        },
    )
    connection.client.set_missing_host_key_policy(paramiko.RejectPolicy())
    name = machine.host if machine.port == 22 else f"[{machine.host}]:{machine.port}"
    for kind, key in trusted:
        with suppress(paramiko.SSHException, ValueError):  # a type that this library does not know
            connection.client.get_host_keys().add(name, kind, paramiko.PKey.from_type_string(kind, key))
    try:
        connection.open()
    except Exception as error:  # paramiko raises whatever its reader thread met, of any type
        connection.client.close()
        raise _refusal(error, machine, access, trusted) from error
    return connection


def _refusal(error: Exception, machine: Machine, access: SshAccess, trusted: Sequence[HostKey]) -> NotSent:
    paramiko, _, _ = _libraries()
    text = one_line(str(error), 200) or type(error).__name__
    if isinstance(error, paramiko.BadHostKeyException):
        shown, known = fingerprint(error.key.asbytes()), ", ".join(fingerprint(key) for _, key in trusted)
        step = f"if the machine was set up anew, replace its line in {access.known_hosts}"
        return NotSent(FailureKind.REFUSED, f"its host key has changed: it shows {shown}, known is {known}; {step}")
    # The same exception says "denied" and "did not answer"; only its text tells them apart (paramiko 5.1).
    if isinstance(error, paramiko.AuthenticationException) and "timeout" not in text and "EOF" not in text:
        step = f"add {access.key_file}.pub to the authorized_keys of {machine.user}"
        return NotSent(FailureKind.REFUSED, f"it does not accept the daemon's key; {step}")
    if isinstance(error, paramiko.IncompatiblePeer):
        return NotSent(FailureKind.REFUSED, f"it has no algorithm in common with us: {text}")
    return NotSent(FailureKind.TRANSIENT, f"no ssh session: {text}")


def _load_key(path: Path) -> Any:
    paramiko, _, _ = _libraries()
    try:
        return paramiko.PKey.from_path(path)
    except Exception as error:  # whatever it is, its text may quote the key
        raise NotSent(
            FailureKind.REFUSED, f"{path} cannot be used: encrypted, damaged or of unknown type"
        ) from error


def _exchange(line: _Line, channel: Any, talk: Conversation, budget: Budget) -> tuple[Outcome, bool]:
    """Send the request and read the answer; also say whether the connection can be used again."""
    # Closing the channel is the last thing that could hang; it gets half a second of its own.
    with limited(line.sock, budget.left() + 0.5):
        try:
            channel.settimeout(budget.left())
            unread = _send(channel, talk.document)
            answer = _read_answer(channel, budget)
            if len(answer) > DOCUMENT_LIMIT:
                return talk.outcome(answer, 0, b""), line.alive
            if channel.status_event.wait(budget.left()):
                if unread and channel.exit_status < 0:
                    return talk.broke(unread), False
                return talk.outcome(answer, channel.exit_status, _complaint(channel)), line.alive
        except TimeoutError:
            pass
        except Exception as error:  # noqa: BLE001 paramiko raises whatever its reader thread met, of any type
            return talk.broke(error), False
        finally:
            channel.close()
    return Unknown(f"{talk.where}: no answer within the time limit"), False


def _send(channel: Any, document: bytes) -> OSError | None:
    """Send a request; return why it was not taken. A program that ends before it has read all says why it did."""
    try:
        channel.sendall(document)
        channel.shutdown_write()
    except OSError as error:
        if isinstance(error, TimeoutError):
            raise
        return error
    return None


def _read_answer(channel: Any, budget: Budget) -> bytes:
    answer = bytearray()
    while len(answer) <= DOCUMENT_LIMIT:
        channel.settimeout(budget.left())
        piece = channel.recv(1 << 16)
        if not piece:
            break
        answer += piece
    return bytes(answer)


def _complaint(channel: Any) -> bytes:
    """Return the end of what the gate wrote to stderr; the channel's window bounds what waits there."""
    said = b""
    while channel.recv_stderr_ready():
        said = (said + channel.recv_stderr(1 << 16))[-_COMPLAINT_KEPT:]
    return said


@cache
def _libraries() -> tuple[Any, Any, Any]:
    """Import fabric late (0.4 s), and return paramiko, the hardened connection class and its configuration."""
    import fabric
    import paramiko

    # Its messages quote what strangers send, and its errors reach us as exceptions anyway.
    for name in ("paramiko", "fabric", "invoke"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)

    class HardenedConnection(fabric.Connection):  # type: ignore[misc]  # fabric ships no types
        """A connection to exactly the host it is given: no shorthand, no gateway, no configuration files."""

        def derive_shorthand(self, host_string: str) -> dict[str, str | None]:
            return {"host": host_string, "user": None, "port": None}

        def get_gateway(self) -> None:
            return None

    # Lazy and with a configuration of its own it reads neither /etc/fabric.* nor ~/.fabric.* nor ~/.ssh/config.
    return paramiko, HardenedConnection, fabric.Config(lazy=True, ssh_config=paramiko.SSHConfig())
