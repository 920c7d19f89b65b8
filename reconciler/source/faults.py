"""What git's error texts mean. Git has no error codes; its texts are stable under LC_ALL=C."""

import re
from datetime import timedelta

from reconciler.model.snapshot import SourceFault, SourceProblem
from reconciler.source.child import Cut, Ended

# Ordered, first match wins: a refusal often drags a general "could not read from remote" behind it.
_TEXTS: tuple[tuple[re.Pattern[str], SourceFault], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE | re.MULTILINE), fault)
    for pattern, fault in (
        # First: git then calls what it was reading corrupt. A line of the other side's is about its own disk.
        (r"^(?!remote: ).*(no space left|read-only file system|quota exceeded)", SourceFault.STORAGE),
        (r"couldn't find remote ref", SourceFault.NO_BRANCH),
        (r"host key verification failed|host identification has changed", SourceFault.REFUSED),
        (r"permission denied|authentication failed|could not read (username|password)", SourceFault.REFUSED),
        (r"terminal prompts disabled|unable to read askpass", SourceFault.REFUSED),
        (r"requested url returned error: (40[13]|30\d)|from redirection|certificate|ssl", SourceFault.REFUSED),
        (r"transport '.*' not allowed|dubious ownership", SourceFault.REFUSED),
        (r"identity file .* not accessible|bad permissions|load key", SourceFault.REFUSED),
        (r"shallow update not allowed|mismatched algorithms", SourceFault.REFUSED),
        (r"not a git repository: '", SourceFault.CORRUPT),  # our own mirror; a remote "does not appear to be" one
        (r"index-pack (failed|died)|unpack-objects|fsck error|invalid index-pack", SourceFault.CORRUPT),
        (r"missing (blob|tree|commit|necessary objects)|bad object|bad tree|bad commit", SourceFault.CORRUPT),
        # A pack that was cut short; other words about packs are of a machine without memory or open files for them.
        (r"^(?!remote: ).*packfile .* (does not match index|size changed|claims to have)", SourceFault.CORRUPT),
        (r"too short to be a packfile|index file .*\.idx", SourceFault.CORRUPT),
        (r"unable to read (tree|[0-9a-f]{40})|not a tree object|inflate|corrupt", SourceFault.CORRUPT),
        (r"did not (receive expected object|send all necessary)|could not parse|bad pack", SourceFault.CORRUPT),
        (r"\.lock': file exists", SourceFault.CORRUPT),
    )
)

_USERINFO = re.compile(r"(://)[^/@\s']*@")
_CONTROL = re.compile(r"[^\x20-\x7e]+")
_SHOWN = 400


def problem_of(ended: Ended, doing: str, limit: timedelta) -> SourceProblem:
    """Return what a failed git command means for the source; `doing` says what it was for."""
    match ended.cut:
        case Cut.TIME:
            message = f"{doing}: no answer within {limit.total_seconds():g} s; tried again at the next pass"
            return SourceProblem(SourceFault.UNREACHABLE, message)
        case Cut.DISK:
            return SourceProblem(SourceFault.TOO_LARGE, f"{doing}: the remote sends more than is allowed; ended")
        case Cut.CALLED_OFF:
            return SourceProblem(SourceFault.UNREACHABLE, f"{doing}: called off, since the daemon ends")
        case Cut.OUTPUT:
            return SourceProblem(SourceFault.TOO_LARGE, f"{doing}: the tree has more entries than are allowed")
        case None:
            return SourceProblem(fault_of(ended.error), f"{doing}: {redacted(ended.error) or 'git said nothing'}")


def fault_of(error: str) -> SourceFault:
    """Return the fault that an error text of git or ssh stands for; unreachable where it is not known."""
    return next((fault for pattern, fault in _TEXTS if pattern.search(error)), SourceFault.UNREACHABLE)


def redacted(error: str) -> str:
    """Return the error as one printable line without the user part of any address."""
    line = _CONTROL.sub(" ", _USERINFO.sub(r"\1", error)).strip()
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}…"
