"""Site: rules for everything that RayOps looks after."""

from reconciler.kind import Kind
from reconciler.kinds.site.status import status

KIND = Kind(name="Site", plural="sites", short=(), status=status)
