"""NodePool: machines of one shape that join one cluster."""

from reconciler.kind import Kind
from reconciler.kinds.nodepool.execute import drain_ray_node, start_worker
from reconciler.kinds.nodepool.observe import looks_then
from reconciler.kinds.nodepool.plan import plan
from reconciler.kinds.nodepool.status import status
from reconciler.model.effect import DrainRayNode, StartWorker

KIND = Kind(
    name="NodePool",
    plural="nodepools",
    short=("pool", "pools"),
    plan=plan,
    status=status,
    looks_then=looks_then,
    effects={StartWorker: start_worker, DrainRayNode: drain_ray_node},
)
