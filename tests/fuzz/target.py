"""What a fuzz target is: a reader of foreign bytes, its promise, and inputs to begin with."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.engine import CODE, Check

ROOT = Path(__file__).parents[2]
CASES = Path(__file__).with_name("cases")


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

    def inputs(self) -> list[bytes]:
        """Return the inputs that are replayed first, kept ones before all others."""
        return [*(path.read_bytes() for path in self.cases), *self.seeds()]
