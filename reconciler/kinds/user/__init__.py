"""User: a person who runs jobs."""

from reconciler.kind import Kind
from reconciler.kinds.user.status import status

KIND = Kind(name="User", plural="users", short=(), status=status)
