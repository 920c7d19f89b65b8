"""How much a source may cost: every call is bounded in time, memory and disk."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one source. The defaults fit 200,000 small files."""

    files: int = 200_000
    file_bytes: int = 1 << 20
    total_bytes: int = 256 << 20
    # What one fetch may add to the disk.
    fetched_bytes: int = 1 << 30
    # A fetch that only brings news; the first one brings the whole history and gets its own limit.
    fetch: timedelta = timedelta(seconds=60)
    first_fetch: timedelta = timedelta(minutes=10)
    # Anything that touches only local files.
    local: timedelta = timedelta(seconds=30)
