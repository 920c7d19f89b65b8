"""How a machine starts the node program's gate."""

import re
from dataclasses import dataclass

# Both words come from the daemon's own settings, never from desired state; they are checked all the same, since
# they reach the remote shell.
_PLAIN = re.compile(r"[A-Za-z0-9_/.@+][A-Za-z0-9_/.@+,:=~-]{0,500}", re.ASCII)


@dataclass(frozen=True, slots=True)
class GateCommand:
    """Where machines find the node program, and the Python that runs it."""

    program: str
    python: str = "python3"

    def __post_init__(self) -> None:
        if not (self.program.startswith("/") and _PLAIN.fullmatch(self.program) and _PLAIN.fullmatch(self.python)):
            raise ValueError("the gate needs an absolute program path, and both words must be plain file names")

    def argv(self) -> tuple[str, ...]:
        """Return the command: isolated mode, so that neither environment nor folder adds code to it."""
        return (self.python, "-I", self.program, "gate")
