"""The node program: `gate`, `keep SLOT FD` or `run JOB_DIR`."""

from __future__ import annotations

import sys
from pathlib import Path

_USAGE = "usage: node gate | node run JOB_DIR SHA256"


def main(arguments: list[str]) -> int:
    """Run one of the node program's three uses."""
    if arguments == ["gate"]:
        from reconciler.node import gate

        return gate.main()
    if len(arguments) == 3 and arguments[0] == "keep":
        from reconciler.node import keeper

        return keeper.main(Path(arguments[1]), int(arguments[2]))
    if len(arguments) == 3 and arguments[0] == "run":
        from reconciler.node import runner

        return runner.main(Path(arguments[1]), arguments[2])
    sys.stderr.write(_USAGE + "\n")
    return 64


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
