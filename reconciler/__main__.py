"""The command `rayops`."""

import os
import shutil
import sys
from threading import Event

from reconciler.cli.call import Surroundings
from reconciler.cli.parser import run
from reconciler.clock import SystemClock
from reconciler.config import environment


def main() -> int:
    """Run one command line on this process's streams and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal of another encoding shows a question mark; it does not break the command.
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # both are text files in a program
    size = shutil.get_terminal_size() if sys.stdout.isatty() else None
    around = Surroundings(
        sys.stdout, sys.stderr, SystemClock(), environment(), Event(), (size.columns, size.lines) if size else None
    )
    code = run(sys.argv[1:], around)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes once more at its end; a closed pipe would then be told as an error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


if __name__ == "__main__":
    sys.exit(main())
