"""What a fuzz target is: a reader of foreign bytes, its promise, and inputs to begin with."""

import base64
import lzma
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.engine import CODE, Check

ROOT = Path(__file__).parents[2]
CASES = Path(__file__).with_name("cases")
CORPORA = Path(__file__).with_name("corpora")


@dataclass(frozen=True, slots=True)
class Target:
    """A reader. `check` raises when an input breaks the promise; `around` is what must be there meanwhile.

    `seeds` are good inputs that are made or found elsewhere; the files in `cases/<name>/` are inputs that broke the
    promise once, or that lead far into the code.
    """

    name: str
    promise: str
    check: Check
    seeds: Callable[[], Iterable[bytes]] = tuple
    around: Callable[[], AbstractContextManager[object]] = nullcontext
    # Where new steps count: files whose path begins so.
    watched: tuple[str, ...] = (CODE,)

    @property
    def cases(self) -> list[Path]:
        """The kept inputs."""
        return sorted(path for path in (CASES / self.name).glob("*") if path.is_file())

    @property
    def corpus(self) -> Path:
        """Where inputs are kept that led further in long runs."""
        return CORPORA / f"{self.name}.xz"

    def given(self) -> list[bytes]:
        """Return the inputs that people chose: the cases, then the seeds."""
        return [*(path.read_bytes() for path in self.cases), *self.seeds()]

    def grown(self) -> list[bytes]:
        """Return the inputs that led further in long runs."""
        lines = lzma.decompress(self.corpus.read_bytes()).splitlines() if self.corpus.exists() else []
        return list(map(base64.b64decode, lines))

    def keep(self, inputs: Iterable[bytes]) -> None:
        """Keep inputs that led further, in the place of those that were kept."""
        given = set(self.given())
        lines = [base64.b64encode(data) + b"\n" for data in inputs if data not in given]
        self.corpus.write_bytes(lzma.compress(b"".join(lines), preset=9))
