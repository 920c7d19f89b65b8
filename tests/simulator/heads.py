"""What must be true of heads, of the workers that join them, and of the files that name them."""

import json
from typing import TYPE_CHECKING

from tests.fakes.signer import FakeSigner, verify
from tests.fakes.slot import Slot
from tests.simulator.broken import Broken

if TYPE_CHECKING:
    from tests.simulator.world import World


class Heads:
    """Watches the heads of one world."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._epochs: dict[str, int] = {}
        self._joined: dict[tuple[str, str], int] = {}
        self._heads: dict[tuple[str, int], Slot] = {}
        self._published: dict[str, bytes] = {}

    def check(self) -> None:
        """Look at every head, every worker and every head file."""
        running = [slot for _, slot in self._world.machines.slots() if slot.running]
        self._one_head([slot for slot in running if slot.role == "head"])
        self._no_older_epoch([slot for slot in running if slot.role == "worker"])
        for cluster in self._world.people.clusters:
            self._head_file(cluster)

    def _one_head(self, heads: list[Slot]) -> None:
        """I20: never two live heads of one cluster."""
        if len({slot.cluster for slot in heads}) < len(heads):
            raise Broken("I20", f"there are {len(heads)} live heads, and two of one cluster among them")
        for slot in heads:
            self._heads[slot.cluster, slot.order.epoch] = slot

    def _no_older_epoch(self, workers: list[Slot]) -> None:
        """I19: a worker never joins an epoch older than one that it has seen."""
        for slot in workers:
            place, epoch = (slot.cluster, slot.node), slot.order.epoch
            if epoch < self._joined.get(place, 0):
                raise Broken("I19", f"{slot.node} joined epoch {epoch} after a later one")
            self._joined[place] = epoch

    def _head_file(self, cluster: str) -> None:
        """I18, I19, I21: the head file is whole, signed, true, and its epoch only rises."""
        data = self._world.shared.read_elsewhere(f".rayops/clusters/{cluster}/head.json")
        if data is None or self._published.get(cluster) == data or data in self._world.forged:
            return
        self._published[cluster] = data
        try:
            head = json.loads(data)
            payload = json.loads(head["payload"])
        except (ValueError, KeyError, TypeError) as error:
            raise Broken("I21", f"the head file of {cluster} is not whole: {data[:40]!r}") from error
        if not verify(head["payload"].encode(), head["signature"], FakeSigner().allowed_signers()):
            raise Broken("I21", f"the head file of {cluster} is not signed")
        epoch = payload["epoch"]
        if epoch < self._epochs.get(cluster, 0):
            raise Broken("I19", f"the head file of {cluster} went back to epoch {epoch}")
        self._epochs[cluster] = epoch
        slot = self._heads.get((cluster, epoch))
        if slot is None or slot.head is None or slot.head.session != payload["session"]:
            raise Broken("I18", f"the head file of {cluster} names a session that epoch {epoch} never had")
        if slot.head.token != slot.order.token or slot.head.address.host != payload["host"]:
            raise Broken("I18", f"the head file of {cluster} names a head that is not ours")
