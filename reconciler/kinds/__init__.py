"""The kinds of objects; a new one is a folder here and a line below."""

from reconciler.kind import Kind
from reconciler.kinds.cluster import KIND as CLUSTER
from reconciler.kinds.job import KIND as JOB
from reconciler.kinds.nodepool import KIND as NODEPOOL
from reconciler.kinds.site import KIND as SITE
from reconciler.kinds.team import KIND as TEAM
from reconciler.kinds.user import KIND as USER

ALL: tuple[Kind, ...] = (SITE, USER, TEAM, CLUSTER, NODEPOOL, JOB)
