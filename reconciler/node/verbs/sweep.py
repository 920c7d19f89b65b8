"""Sweep: look at what is left of a job attempt on this machine, and end it when asked."""

from __future__ import annotations

from pathlib import Path

from reconciler.node import attempt, boots, processes, sessions
from reconciler.node.attempt import Claim
from reconciler.node.documents import Fields
from reconciler.node.machine import host_name
from reconciler.node.processes import Process

ALIVE, GONE, ELSEWHERE, UNCLAIMED = "alive", "gone", "elsewhere", "unclaimed"
_GRACE_SECONDS = 2.0


def sweep(args: Fields, site: Path) -> dict[str, object]:
    """Say where the process is that claimed an attempt, and end what it left when `kill` is set."""
    folder = Path(args.path("jobDir"))
    submission = args.name("submissionId")
    kill = args.flag("kill")
    args.end()
    claim = attempt.read_claim(folder)
    if claim is None:
        return {"state": UNCLAIMED, "pid": None, "host": host_name()}
    if claim.submission_id != submission or claim.host != host_name():
        return {"state": ELSEWHERE, "pid": None, "host": claim.host}
    earlier = claim.boot != processes.boot_id()
    if earlier and not boots.is_earlier(site, claim.boot):
        # Another machine may have the same name, but only this one remembers its own boots.
        return {"state": ELSEWHERE, "pid": None, "host": claim.host}
    living = [] if earlier else _living(folder, claim, site)
    if living and kill:
        processes.end(lambda: _living(folder, claim, site), _GRACE_SECONDS)
        living = _living(folder, claim, site)
    if not living:
        sessions.forget(submission, site)
    return {"state": ALIVE if living else GONE, "pid": living[0].pid if living else None, "host": claim.host}


def _living(folder: Path, claim: Claim, site: Path) -> list[Process]:
    """Return the runner and all that it started, also what outlived it."""
    rows, runner = processes.table(), claim.runner
    found = set(processes.marks(attempt.MARK, rows).get(str(folder), ()))
    found |= set(sessions.unmarked(claim.submission_id, site, rows))
    # A claim lies where jobs can write: what it names is believed only if it is a runner of this very job.
    if runner is not None and processes.command_line(runner)[-3:-1] == ["run", str(folder)]:
        found.add(runner)
    found |= set(processes.descendants([each.pid for each in found], rows))
    return sorted(found)
