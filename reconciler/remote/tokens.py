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
_LONGEST = 4096
_STEP = (
    "put it back from a backup, or from the file `token` in the head's slot on its machine; "
    "a new one of 32 or more letters and digits costs the cluster a new head"
)


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
    """Keeps the tokens below `tokens/` in the state directory; each is read anew, so that a changed one counts.

    Only who starts a head may have a token made: the heads that live know only the one they were started with.
    """

    def __init__(self, files: Files, make: Callable[[], str] = lambda: secrets.token_hex(_BYTES)) -> None:
        self._files = files
        self._make = make

    def of(self, cluster: str) -> Secret:
        """Return the token for a head that is to be started, made on first use."""
        path = _path(cluster)
        if self._files.read(path, limit=_LONGEST) is None:
            # Whoever comes first makes it.
            self._files.create(path, self._make().encode(), mode=0o600)
        return self._kept(path)

    def reveal(self, cluster: str) -> str:
        """Return the text of the token of a cluster that has one; raises FilesError when there is none."""
        return self._kept(_path(cluster)).reveal()

    def _kept(self, path: str) -> Secret:
        text = self._files.read(path, limit=_LONGEST)
        if text is None:
            raise FilesError(FailureKind.REFUSED, f"{path} in the state directory is missing; {_STEP}")
        token = text.decode("ascii", "replace").strip()
        if not _TOKEN.fullmatch(token):
            raise FilesError(FailureKind.REFUSED, f"{path} in the state directory holds no token; {_STEP}")
        return Secret(token)


def _path(cluster: str) -> str:
    if not _NAME.fullmatch(cluster):
        raise FilesError(FailureKind.INVALID, "a token belongs to a cluster by its name")
    return f"tokens/{cluster}"
