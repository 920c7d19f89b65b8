"""A machine that can be reached."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Machine:
    """Where a gate is: host name or address, login name, port of its sshd."""

    host: str
    user: str
    port: int = 22

    def __str__(self) -> str:
        return f"{self.user}@{self.host}:{self.port}"

    def place(self, node: str) -> str:
        """Return a text that stands for the machine itself, whoever logs in, if a node of this name is there.

        Try-outs pretend that each node on the loopback has a machine of its own.
        """
        is_loopback = self.host in {"localhost", "::1"} or self.host.startswith("127.")
        return node if is_loopback else f"{self.host}:{self.port}"
