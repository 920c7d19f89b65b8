"""Team: people who share a quota."""

from reconciler.kind import Kind
from reconciler.kinds.team.status import status

KIND = Kind(name="Team", plural="teams", short=(), status=status)
