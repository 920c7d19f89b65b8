"""Cluster: one Ray cluster with its head."""

from reconciler.kind import Kind
from reconciler.kinds.cluster.execute import publish_head, start_head, stop_slot, withdraw_head
from reconciler.kinds.cluster.observe import looks, looks_then
from reconciler.kinds.cluster.plan import plan
from reconciler.kinds.cluster.settle import published, withdrawn
from reconciler.kinds.cluster.status import status
from reconciler.model.effect import PublishHead, StartHead, StopSlot, WithdrawHead

KIND = Kind(
    name="Cluster",
    plural="clusters",
    short=("cl",),
    plan=plan,
    status=status,
    looks=looks,
    looks_then=looks_then,
    effects={
        StartHead: start_head,
        PublishHead: publish_head,
        StopSlot: stop_slot,
        WithdrawHead: withdraw_head,
    },
    settle={PublishHead: published, WithdrawHead: withdrawn},
)
