"""How a figure is taken: rounds of ours and its floor in turn, told as ratios."""

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

Act = Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Figure:
    """What was measured. `ratio` is ours by floor, `bound` what it should not exceed."""

    name: str
    ours: float
    floor: float
    ratio: float
    least: float
    most: float
    bound: float
    unit: str = "ms"
    said: str = ""

    def __str__(self) -> str:
        """Return one line for people."""
        verdict = "ok  " if self.ratio <= self.bound else "OVER"
        spread = f"({self.least:.2f} to {self.most:.2f})"
        amounts = f"{self.ours:9.1f} / {self.floor:9.1f} {self.unit:4}"
        return (
            f"{verdict} {self.name:44} {amounts} = {self.ratio:6.2f} {spread:>18}  bound {self.bound}  {self.said}"
        )

    def document(self) -> dict[str, Any]:
        """Return the figure for machines."""
        return asdict(self)


def seconds(act: Act) -> float:
    """Return how long an act takes."""
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def in_turn(rounds: int, ours: Act, floor: Act, before: Act = lambda: None) -> Iterator[tuple[float, float]]:
    """Measure ours and its floor side by side, as what else runs then slows both. `before` is not timed."""
    for number in range(rounds):
        before()
        if number % 2:
            least = seconds(floor)
            yield seconds(ours), least
        else:
            mine = seconds(ours)
            yield mine, seconds(floor)


def compared(name: str, bound: float, pairs: Iterator[tuple[float, float]], said: str = "") -> Figure:
    """Return the figure of paired rounds: the median of their ratios, and the medians of both sides."""
    both = list(pairs)
    ratios = [ours / floor for ours, floor in both]
    return Figure(
        name,
        statistics.median(ours for ours, _ in both) * 1e3,
        statistics.median(floor for _, floor in both) * 1e3,
        statistics.median(ratios),
        min(ratios),
        max(ratios),
        bound,
        said=said,
    )


def amount(name: str, value: float, limit: float, unit: str, said: str = "") -> Figure:
    """Return a figure that is held against a limit and not against a floor."""
    ratio = value / limit
    return Figure(name, value, limit, ratio, ratio, ratio, 1.0, unit, said)
