"""What a call writes on: tables that fit, colours that are never the only sign."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TextIO

from reconciler.cli.text import clean, cut, width

# Below this a column says nothing any more; a terminal narrower than all columns gets lines that wrap.
NARROWEST = 5
GAP = "  "

_COLOURS = {
    word: code
    for code, words in {
        "32": "Ready Succeeded online",
        "34": "Progressing Running Starting Pending pending draining",
        "33": "Waiting Queued Backoff Suspended",
        "35": "Degraded Drifted Stale unhealthy",
        "31": "Failed TimedOut Lost lost",
        "90": "Unknown Stopped offline Removed",
    }.items()
    for word in words.split()
}


@dataclass(frozen=True, slots=True)
class Screen:
    """Where output goes. `columns` and `lines` are None when nobody looks: then nothing is cut."""

    out: TextIO
    err: TextIO
    columns: int | None = None
    lines: int | None = None
    colour: bool = False

    @property
    def is_terminal(self) -> bool:
        """Whether a person looks at the output."""
        return self.columns is not None

    def line(self, text: str = "") -> None:
        """Write one line of output."""
        self.out.write(text + "\n")

    def raw(self, content: bytes) -> None:
        """Write bytes as they are."""
        self.out.flush()
        self.out.buffer.write(content)

    def flush(self) -> None:
        """Let the reader see everything up to here."""
        self.out.flush()

    def note(self, text: str) -> None:
        """Tell the person something that is not output."""
        self.out.flush()
        self.err.writelines(clean(line) + "\n" for line in text.split("\n"))
        self.err.flush()

    def paint(self, text: str, word: str) -> str:
        """Return `text` in the colour of a state or health word."""
        code = _COLOURS.get(word)
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour and code else text

    def table(
        self, titles: Sequence[str], rows: Sequence[Sequence[str]], *, headers: bool = True, indent: str = ""
    ) -> list[str]:
        """Return the lines of a table that fits the screen; the last column gives way first."""
        cells = [[clean(cell) for cell in row] for row in rows]
        shown = [list(titles), *cells] if headers else cells
        widths = self._fit([max(map(width, column)) for column in zip(*shown, strict=True)], len(indent))
        start = 1 if headers else 0
        return [indent + self._row(row, widths, painted=place >= start) for place, row in enumerate(shown)]

    def _fit(self, widths: list[int], indent: int) -> list[int]:
        if self.columns is None or not widths:
            return widths
        room = self.columns - indent - len(GAP) * (len(widths) - 1)
        # The first column says what the row is about: it gives way last, the longest of the others first.
        between = sorted(range(1, len(widths) - 1), key=lambda each: -widths[each])
        for place in (len(widths) - 1, *between, 0):
            over = sum(widths) - room
            if over > 0:
                widths[place] = max(min(widths[place], NARROWEST), widths[place] - over)
        return widths

    def _row(self, row: Sequence[str], widths: Sequence[int], *, painted: bool) -> str:
        texts = []
        for cell, columns in zip(row, widths, strict=True):
            text = cut(cell, columns)
            padding = " " * (columns - width(text))
            texts.append((self.paint(text, cell) if painted else text) + padding)
        return GAP.join(texts).rstrip()
