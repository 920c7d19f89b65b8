"""Plans of recorded worlds: `python -m tests.replay [check | accept | record]`."""

import argparse
import logging
import sys

from tests.replay import records
from tests.replay.recording import record
from tests.replay.records import Recorded


def main() -> int:
    """Return 1 when `check` finds another plan than the recorded one."""
    parser = argparse.ArgumentParser(prog="python -m tests.replay")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB")
    verbs.add_parser("check", help="make all plans anew and tell what changed (the default)")
    verbs.add_parser("accept", help="tell what changed, and take the plans of now for the right ones")
    recording = verbs.add_parser("record", help="choose worlds anew from the simulator's stories")
    recording.add_argument("--seeds", type=int, default=2000, help="how many stories to look at")
    recording.add_argument("--each", type=int, default=2, help="how often to show each sort of decision")
    asked = parser.parse_args()
    if asked.verb == "record":
        return _record(range(asked.seeds), asked.each)
    recorded = records.load()
    changed = records.changes(recorded)
    if not changed:
        return _say(f"{len(recorded)} recorded worlds get the same plans as before", 0)
    _say(records.report(changed, len(recorded)), 1)
    if asked.verb != "accept":
        return 1
    records.save(map(records.replayed, recorded))
    return _say("accepted: these are the plans from now on", 0)


def _record(seeds: range, each: int) -> int:
    logging.disable(logging.CRITICAL)
    recorded: list[Recorded] = record(seeds, each)
    records.save(recorded)
    return _say(f"{len(recorded)} worlds recorded, {records.FILE.stat().st_size} bytes", 0)


def _say(text: str, code: int) -> int:
    sys.stdout.write(f"{text}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
