"""The closed sets of words that a status may say, and what to tell who asks for another one."""

from collections.abc import Iterable, Mapping

from reconciler.cli.exit import Ended, Exit
from reconciler.cli.names import JOB, KINDS, NODE, POOL, SITE
from reconciler.model.states import ClusterState, JobState, NodeState, PoolState, SiteState
from reconciler.model.status import Health, Sync

_ALWAYS = ("Ready",)
STATES: dict[str, Iterable[str]] = {
    SITE: tuple(SiteState),
    "Team": _ALWAYS,
    "User": _ALWAYS,
    "Cluster": tuple(ClusterState),
    POOL: tuple(PoolState),
    NODE: tuple(NodeState),
    JOB: tuple(JobState),
}
CONDITIONS: dict[str, Iterable[str]] = {
    "Cluster": ("Ready", "HeadFilePublished"),
    POOL: ("Ready",),
    JOB: ("Complete", "Succeeded"),
}
# A node has no document of its own, and nobody tells these of it.
_OF_DOCUMENTS = KINDS.keys() - {NODE}
WORDS: dict[str, Mapping[str, Iterable[str]]] = {
    "state": STATES,
    "health": dict.fromkeys(_OF_DOCUMENTS, tuple(Health)),
    "sync": dict.fromkeys(_OF_DOCUMENTS, tuple(Sync)),
    "condition": CONDITIONS,
}


def must_be_possible(said: str, field: str, word: str, kinds: Iterable[str]) -> None:
    """End the call if no object of these kinds can ever have this word there; `said` is what somebody wrote."""
    kinds = tuple(kinds)
    known = list(dict.fromkeys(each for kind in kinds for each in map(str, WORDS[field].get(kind, ()))))
    if word in known:
        return
    whose = f"a {KINDS[kinds[0]][0]}" if len(kinds) == 1 else "an object"
    if not known:
        raise Ended(Exit.USAGE, f"{said}: {whose} has no {field}")
    from difflib import get_close_matches  # slow to load, and needed for mistakes only

    close = get_close_matches(word, known, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]}? " if close else ""
    raise Ended(Exit.USAGE, f"{said}: {whose} has no such {field} ({hint}one of: {', '.join(known)})")
