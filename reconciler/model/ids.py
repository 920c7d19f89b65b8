"""Names and identities. Identity is kind, team and name from the document, never its path."""

from typing import NamedTuple

# ASCII only, so that no look-alike passes; short enough that two of them, a digest and an attempt number stay
# inside Ray's 120 characters for a submission id.
NAME_PATTERN = r"^[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?$"


class ObjectId(NamedTuple):
    """The identity of one object. `team` is empty for kinds that belong to the site.

    A tuple, since a pass hashes and sorts tens of thousands of them: as a dataclass it took a third of planning.
    """

    kind: str
    team: str
    name: str

    def __str__(self) -> str:
        """Return the form people type and read: `job/rl/ppo`, `cluster/main`."""
        middle = f"{self.team}/" if self.team else ""
        return f"{self.kind.lower()}/{middle}{self.name}"
