"""One secret per cluster: whoever holds it controls the cluster, and nothing else."""

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from reconciler.model.ids import NAME_PATTERN
from reconciler.model.outcome import FailureKind
from reconciler.remote.files import Files, FilesError

# 256 bits, in the characters that a header and an environment variable carry unchanged.
_BYTES = 32
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{32,512}", re.ASCII)
_NAME = re.compile(NAME_PATTERN, re.ASCII)


@dataclass(frozen=True, slots=True)
class Secret:
    """A text that shows itself only when asked by name."""

    _text: str = field(repr=False)

    def __str__(self) -> str:
        return "***"

    def reveal(self) -> str:
        """Return the text."""
        return self._text


class Tokens:
    """Keeps the tokens below `tokens/` in the state directory; each is read anew, so that a changed one counts."""

    def __init__(self, files: Files, make: Callable[[], str] = lambda: secrets.token_hex(_BYTES)) -> None:
        self._files = files
        self._make = make

    def of(self, cluster: str) -> Secret:
        """Return the token of a cluster, made on first use."""
        if not _NAME.fullmatch(cluster):
            raise FilesError(FailureKind.INVALID, "a token belongs to a cluster by its name")
        path = f"tokens/{cluster}"
        text = self._files.read(path, limit=4096)
        if text is None:
            self._files.create(path, self._make().encode(), mode=0o600)
            # Whoever came first has made it.
            text = self._files.read(path, limit=4096)
        token = (text or b"").decode("ascii", "replace").strip()
        if not _TOKEN.fullmatch(token):
            step = "write 32 or more letters and digits there, or remove it and restart the cluster's head"
            raise FilesError(FailureKind.REFUSED, f"{path} in the state directory holds no token; {step}")
        return Secret(token)

    def reveal(self, cluster: str) -> str:
        """Return the text of a cluster's token."""
        return self.of(cluster).reveal()
