"""What success changes in the ledger's view of heads."""

from dataclasses import replace

from reconciler.model.effect import PublishHead, WithdrawHead
from reconciler.model.ids import ObjectId
from reconciler.model.ledger import Change, Ledger, Table
from reconciler.model.moment import Moment


def published(ledger: Ledger, _: ObjectId, effect: PublishHead, __: Moment) -> tuple[Change, ...]:
    """Remember that the head file names this head, unless another head took its place meanwhile."""
    name = effect.head.cluster
    record = ledger.clusters.get(name)
    if record is None or record.head is None or record.epoch != effect.epoch:
        return ()
    return (Change(Table.CLUSTERS, name, replace(record, head=replace(record.head, published=True))),)


def withdrawn(ledger: Ledger, _: ObjectId, effect: WithdrawHead, __: Moment) -> tuple[Change, ...]:
    """Remember that no head file is left."""
    record = ledger.clusters.get(effect.cluster)
    if record is None or record.head is not None:
        return ()
    return (Change(Table.CLUSTERS, effect.cluster, replace(record, withdrawn=True)),)
