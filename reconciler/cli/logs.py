"""`rayops logs`: what a job printed, from the shared directory; it needs neither head nor daemon."""

from argparse import ArgumentParser
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from reconciler.cli.call import Call
from reconciler.cli.exit import Ended, Exit
from reconciler.cli.history import begin
from reconciler.cli.logfile import LogFile, Readable, attempts_of, has_ended, log_of
from reconciler.cli.names import JOB, wanted
from reconciler.cli.seen import Seen
from reconciler.cli.status import StatusTree
from reconciler.cli.text import count, moment
from reconciler.model.states import JOB_ENDED
from reconciler.remote.files import Files

PACE = timedelta(seconds=1)

EXAMPLES = """\
  rayops logs rl/ppo               what the last attempt printed
  rayops logs rl/ppo -f            go on until the job ends, through all its attempts
  rayops logs rl/ppo --attempt 1 --tail 100
"""


def arguments(parser: ArgumentParser) -> None:
    """Add what `logs` takes."""
    parser.add_argument("job", metavar="JOB", help="job/team/name, team/name or name")
    parser.add_argument("-f", "--follow", action="store_true", help="go on until the job has ended")
    parser.add_argument("--attempt", type=int, metavar="N", help="of one attempt (the last one)")
    parser.add_argument("--tail", type=count, metavar="N", help="only the last N lines")
    parser.add_argument(
        "--since", default="", metavar="LENGTH", help="of all attempts that ran in the last 15m, 2h"
    )


def run(call: Call) -> Exit:
    """Show the log, and follow it if asked to."""
    tree, files = call.status(), call.shared()
    named = wanted(call.options.job)
    job = tree.find(wanted(call.options.job, kind=JOB) if not named.kind else named)
    if job.id.kind != JOB:
        raise Ended(Exit.USAGE, f"{job.id}: only jobs have logs (name one: job/team/name)")
    chosen = _chosen(call, job)
    if not chosen and not call.options.follow:
        raise Ended(Exit.NOT_FOUND, f"{job.id}: no attempt has begun: {job.word('reason') or job.word('state')}")
    showing = Showing(call, files)
    for attempt in chosen[:-1]:
        showing.whole(attempt)
    if not call.options.follow:
        showing.whole(chosen[-1], must=True)
        return Exit.DONE
    return showing.follow(tree, job, chosen[-1] if chosen else None)


@dataclass(frozen=True, slots=True)
class Showing:
    """Writes logs: byte for byte for programs, without what a terminal obeys for people."""

    call: Call
    files: Files

    def whole(self, attempt: Mapping[str, Any], *, must: bool = False) -> None:
        """Write what is there of one attempt."""
        log = log_of(self.files, attempt)
        self._headline(attempt, log)
        if must and log.size() is None:
            raise Ended(Exit.NOT_FOUND, f"attempt {log.number} has no log yet ({log.path})")
        self._from(log, self._start(log))

    def follow(self, tree: StatusTree, job: Seen, attempt: Mapping[str, Any] | None) -> Exit:
        """Write on until the job has ended, or the call is stopped."""
        log, offset = None, 0
        while True:
            if attempt is not None:
                # Of the attempts that follow, all lines are new.
                log, offset = self._begin(attempt, tailed=log is None)
            if log is not None:
                offset = self._more(log, offset)
            upcoming = _after(self.call, job, log)
            if upcoming is None and _over(self.call, job):
                return Exit.DONE
            if upcoming is None and not self.call.pause(PACE):
                return Exit.INTERRUPTED
            # Looked at before the log is read again: what was printed before the end is read after it was seen.
            job = tree.read(job.id) or Seen(job.id, {**job.document, "state": "Removed"})
            attempt = upcoming

    def _begin(self, attempt: Mapping[str, Any], *, tailed: bool) -> tuple[LogFile, int]:
        log = log_of(self.files, attempt)
        self._headline(attempt, log)
        return log, self._start(log) if tailed else 0

    def _more(self, log: LogFile, offset: int) -> int:
        size = log.size()
        if size is not None and size < offset:
            self.call.screen.note(f"{log.path} became shorter; showing it from its beginning")
            offset = 0
        return self._from(log, offset)

    def _start(self, log: LogFile) -> int:
        return 0 if self.call.options.tail is None else log.start_of_last(self.call.options.tail)

    def _from(self, log: LogFile, offset: int) -> int:
        readable = Readable()
        for block in log.blocks(offset):
            offset += len(block)
            if self.call.screen.is_terminal:
                self.call.screen.out.write(readable.more(block))
            else:
                self.call.screen.raw(block)
        if self.call.screen.is_terminal:
            self.call.screen.out.write(readable.rest())
        return offset

    def _headline(self, attempt: Mapping[str, Any], log: LogFile) -> None:
        if self.call.options.follow or self.call.options.since:
            self.call.screen.note(f"==> attempt {log.number}, {attempt.get('submissionId')}")


def _chosen(call: Call, job: Seen) -> list[Mapping[str, Any]]:
    """Return the attempts to show, the oldest first."""
    attempts = attempts_of(job)
    since = begin(call, call.options.since)
    if call.options.attempt is not None:
        found = [attempt for attempt in attempts if attempt.get("number") == call.options.attempt]
        if not found:
            numbers = ", ".join(str(attempt.get("number")) for attempt in attempts) or "none"
            raise Ended(Exit.NOT_FOUND, f"{job.id}: no attempt {call.options.attempt} (there is: {numbers})")
        return found
    if since is None:
        return attempts[-1:]
    ended = [(attempt, moment(attempt.get("ended"))) for attempt in attempts]
    # A log carries no times of its own, so that whole attempts are left out.
    return [attempt for attempt, end in ended if end is None or end >= since]


def _after(call: Call, job: Seen, log: LogFile | None) -> Mapping[str, Any] | None:
    """Return the attempt that comes after the one that is shown."""
    if call.options.attempt is not None:
        return None
    numbered = [(each.get("number"), each) for each in attempts_of(job)]
    shown = log.number if log else 0
    return next((each for number, each in numbered if isinstance(number, int) and number > shown), None)


def _over(call: Call, job: Seen) -> bool:
    """Say whether nothing more will be printed."""
    if call.options.attempt is not None:
        return any(has_ended(each) for each in attempts_of(job) if each.get("number") == call.options.attempt)
    return job.word("state") in JOB_ENDED | {"Removed"}
