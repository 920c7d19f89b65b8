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
