"""Machines without processes: what stands behind the gates, as the node program behaves.

Requests are read by the node program's own parsers, so that what it refuses is refused here. Each rule names the
test that saw it here and on the real one; `test_names.py` looks for them.
"""

import json
from typing import Any

from reconciler.model.json import JsonObject
from reconciler.model.machine import Machine
from reconciler.model.ray import HeadAddress
from reconciler.node.documents import Fields
from reconciler.node.failure import REFUSED, NotDone
from reconciler.node.orders import HEAD, WORKER, Order, read_order
from reconciler.node.verbs.names import read_generation
from tests.fakes.files import FakeFiles
from tests.fakes.job_runner import REST_GRACE, ROOT, Place, Run, Runners, Stranger
from tests.fakes.ray_world import Node
from tests.fakes.slot import ALIVE, FakeMachine, Slot

# As measured, with an idle machine (ray-facts, §1 and §12).
HEAD_START, JOIN = 8.0, 4.0
KEEPER_NOTICES = 0.5
KEEPER_LOOKS = 10.0


class Machines:
    """Everything behind the gates: slots, Ray, and the job runners."""

    def __init__(self, shared: FakeFiles) -> None:
        self.runners = Runners(shared, self._place)
        self.ray = self.runners.ray
        self.all: dict[Machine, FakeMachine] = {}
        # Verbs that were obeyed, with their terms: the truth about who acted.
        self.obeyed: list[tuple[Machine, str, int]] = []
        self._shared = shared

    def add(self, machine: Machine) -> FakeMachine:
        """Connect a machine."""
        return self.all.setdefault(machine, FakeMachine(machine))

    def slots(self) -> list[tuple[FakeMachine, Slot]]:
        """Return every slot that there is."""
        return [(machine, slot) for machine in self.all.values() for slot in machine.slots.values()]

    def heads(self, cluster: str) -> list[Slot]:
        """Return the heads of a cluster that live."""
        return [s for _, s in self.slots() if s.role == HEAD and s.cluster == cluster and s.running]

    def answer(self, machine: Machine, request: JsonObject) -> JsonObject:
        """Answer one request, as the world of a `FakeGate`."""
        try:
            return {"protocol": 1, "ok": True, "result": self._verb(self.all[machine], dict(request))}
        except NotDone as failure:
            return {"protocol": 1, "ok": False, "kind": failure.kind, "message": failure.message}

    def _verb(self, machine: FakeMachine, request: dict[str, Any]) -> dict[str, Any]:
        fields = Fields(request, "request")
        fields.integer("protocol", 1, 1)
        verb, site, term = fields.text("verb"), fields.name("site"), fields.integer("term", 0, 1 << 53)
        fields.text("nodeDir")
        args = fields.fields("args")
        fields.end()
        known = machine.terms.get(site, 0)
        if known > term:
            # test_an_older_leader_is_refused_and_a_newer_one_remembered
            raise NotDone(REFUSED, f"a newer leader (term {known}) has spoken")
        machine.terms[site] = term
        self.obeyed.append((machine.machine, verb, term))
        match verb:
            case "probe":
                return self._probe(machine, site, args)
            case "start-head":
                return self._start(machine, site, read_order(HEAD, args))
            case "start-worker":
                return self._start(machine, site, read_order(WORKER, args))
            case "stop":
                return self._stop(machine, site, args)
            case "sweep":
                return self._sweep(machine, args)
            case "clean":
                return self._clean(machine, site, args)
            case _:
                raise NotDone("invalid", "request.verb is none of ours")

    def _probe(self, machine: FakeMachine, site: str, args: Fields) -> dict[str, Any]:
        keys = [key for key in machine.slots if key[0] == site]
        if "slots" in args:
            keys = [_key(site, fields) for fields in args.items("slots")]
        facts = {"bootId": machine.place.boot, "hostName": machine.machine.host, "cpus": 8, "gpus": 4}
        return {
            **facts,
            "memoryBytes": 1 << 34,
            "python": "3.11",
            "slots": [self._told(machine, key) for key in keys],
        }

    def _start(self, machine: FakeMachine, site: str, order: Order) -> dict[str, Any]:
        key = (site, order.cluster, order.role, order.node)
        slot = machine.slots.get(key)
        if slot is not None:
            generation = slot.order.generation
            alive = self.state_of(slot) in ALIVE
            if alive and generation == order.generation:
                return self._told(machine, key)  # test_the_same_start_again_is_the_same_slot
            if alive:
                # test_another_generation_is_refused_while_one_lives
                raise NotDone(REFUSED, f"{order.role} slot {order.node} still runs generation {generation}")
            if generation >= order.generation:
                # test_a_generation_that_ended_never_comes_back
                raise NotDone(
                    REFUSED, f"{order.role} slot {order.node} has seen generation {generation} come and go"
                )
        if machine.ray_version != order.ray_version:
            # test_a_machine_that_cannot_do_it_says_so_at_once
            raise NotDone(REFUSED, f"Ray {machine.ray_version}, the cluster asks for {order.ray_version}")
        machine.known_boots.add(machine.place.boot)  # test_what_ran_before_this_machine_was_started_again_is_gone
        started = machine.slots[key] = Slot(order.role, order.cluster, order.node, order)
        fails = machine.failing_starts > 0
        machine.failing_starts -= fails
        seconds = HEAD_START if order.role == HEAD else JOIN
        self.ray.after(seconds, lambda: self._came_up(machine, started, fails=fails))
        return self._told(machine, key)

    def _came_up(self, machine: FakeMachine, slot: Slot, *, fails: bool) -> None:
        if slot.state != "starting":
            return
        if fails:
            slot.state, slot.message = "failed", "ray start ended with code 1"
        elif slot.role == HEAD:
            self._head_is_up(machine, slot)
        else:
            self._worker_is_up(slot)

    def _head_is_up(self, machine: FakeMachine, slot: Slot) -> None:
        ports = slot.order.ports
        assert ports is not None, "a head's order names its ports"
        address = HeadAddress(slot.cluster, machine.machine.host, ports.gcs, ports.dashboard, ports.client)
        other = self.ray.head_at(address)
        if other is not None and other.alive:
            slot.state, slot.message = "failed", "ray start ended with code 1"
            return
        slot.head, slot.state = self.ray.start_head(address, token=slot.order.token), "running"

    def _worker_is_up(self, slot: Slot) -> None:
        """Join a head that answers (test_a_worker_joins_only_a_head_that_answers)."""
        host, _, port = slot.order.head_address.rpartition(":")
        heads = [
            each.head
            for machine, each in self.slots()
            if each.role == HEAD and each.running and each.order.ports is not None
            if machine.machine.host == host and each.order.ports.gcs == int(port)
        ]
        head = heads[0] if heads else None
        if head is None or head.silent or head.token != slot.order.token:
            slot.state, slot.message = "failed", f"the head at {slot.order.head_address} does not answer"
            return
        offered = slot.order.resources
        raylet = self.ray.start_worker(head, slot.node, cpus=offered.cpus, gpus=offered.gpus)
        raylet.ended = lambda: self._raylet_gone(slot)
        slot.head, slot.raylet, slot.state = head, raylet, "running"

    def _raylet_gone(self, slot: Slot) -> None:
        """Let the keeper notice, end what is left, and say so (test_the_end_of_a_core_process_fails_the_slot)."""
        if slot.keeper:
            self.ray.after(KEEPER_NOTICES, lambda: self._keeper_ends(slot, "failed", "raylet ended"))

    def _keeper_ends(self, slot: Slot, state: str, message: str) -> None:
        if slot.state not in ALIVE or not slot.keeper:
            return
        slot.state, slot.message = "stopping", message
        self._end_ray(slot)
        for run in self._runs(slot):
            self.runners.terminate(run, REST_GRACE)
        self.ray.after(REST_GRACE + 0.1, lambda: self._keeper_gone(slot, state, message))

    def _keeper_gone(self, slot: Slot, state: str, message: str) -> None:
        if slot.state == "stopping" and slot.keeper:
            slot.state, slot.message, slot.keeper = state, message, False

    def _end_ray(self, slot: Slot) -> None:
        if slot.role == HEAD and slot.head is not None and slot.head.alive:
            self.ray.kill_head(slot.head)
        elif slot.head is not None and slot.raylet is not None and slot.raylet.running:
            self.ray.kill_node(slot.head, slot.raylet, abruptly=False)

    def _stop(self, machine: FakeMachine, site: str, args: Fields) -> dict[str, Any]:
        key, generation = _key(site, args), read_generation(args)
        args.integer("graceSeconds", 0, 86_400)
        args.end()
        slot = machine.slots.get(key)
        if slot is None or self.state_of(slot) not in ALIVE:
            return self._told(machine, key)
        _refuse_newer(slot, generation)
        if slot.keeper:
            # test_a_head_starts_runs_and_stops_without_leftovers
            if slot.state != "stopping":
                self.ray.after(0.2, lambda: self._keeper_ends(slot, "stopped", ""))
            return {**self._told(machine, key), "state": "stopping", "message": "asked to stop"}
        # test_without_its_keeper_a_slot_runs_on_and_can_be_stopped
        self._end_ray(slot)
        for run in self._runs(slot):
            self.runners.kill(run)
        slot.state, slot.message = "stopped", "ended without its keeper"
        return self._told(machine, key)

    def _sweep(self, machine: FakeMachine, args: Fields) -> dict[str, Any]:
        """Tell what is left of an attempt, and end it (test_a_sweep_tells_and_ends_what_is_left)."""
        folder, _ = args.path("jobDir").removeprefix(f"{ROOT}/"), args.name("submissionId")
        kill = args.flag("kill")
        args.end()
        claim = json.loads(self._shared.read_elsewhere(f"{folder}/claim.json") or b"{}")
        if not claim:
            return {"state": "unclaimed", "pid": None, "host": machine.machine.host}
        if claim.get("burnt"):
            # test_an_attempt_that_the_daemon_took_is_gone
            return {"state": "gone", "pid": None, "host": machine.machine.host}
        if Place(claim["hostName"], claim["bootId"]) != machine.place:
            # test_what_ran_before_this_machine_was_started_again_is_gone
            earlier = claim["hostName"] == machine.machine.host and claim["bootId"] in machine.known_boots
            return {"state": "gone" if earlier else "elsewhere", "pid": None, "host": claim["hostName"]}
        living = self._claimant(machine.place, claim)
        if living is not None and kill:
            self._sweep_away(living)
        living = self._claimant(machine.place, claim)
        return {"state": "alive" if living is not None else "gone", "pid": None, "host": claim["hostName"]}

    def _claimant(self, place: Place, claim: dict[str, Any]) -> Run | Stranger | None:
        """Return the process that a claim names, if it lives.

        Seen by test_a_claim_cannot_point_a_sweep_at_a_stranger on the real one, and here by
        test_a_stranger_with_the_number_of_a_runner_is_never_swept.
        """
        found = self.runners.process_at(place, claim["pid"])
        return found if found is not None and found.start_ticks == claim["startTicks"] else None

    def _sweep_away(self, run: Run | Stranger) -> None:
        """End a runner within the verb: it answers only once that is so."""
        if isinstance(run, Stranger):
            run.alive = False
        elif run.process.program.stop_seconds <= REST_GRACE:
            run.process.program = _at_once(run)
            self.runners.terminate(run, REST_GRACE)
        else:
            self.runners.kill(run)

    def _clean(self, machine: FakeMachine, site: str, args: Fields) -> dict[str, Any]:
        key, generation = _key(site, args), read_generation(args)
        slot = machine.slots.get(key)
        if slot is not None:
            _refuse_newer(slot, generation)
        if slot is not None and self.state_of(slot) in ALIVE:
            raise NotDone(REFUSED, "stop it first")  # test_only_a_dead_slot_is_cleaned
        machine.slots.pop(key, None)
        return self._told(machine, key)

    # What happens to machines.

    def kill_ray(self, slot: Slot) -> None:
        """SIGKILL a head or raylet (test_the_end_of_a_core_process_fails_the_slot)."""
        if slot.role == HEAD and slot.running:
            assert slot.head is not None, "what runs has a head"
            self.ray.kill_head(slot.head)
            if slot.keeper:
                self.ray.after(KEEPER_NOTICES, lambda: self._keeper_ends(slot, "failed", "gcs_server ended"))
        elif slot.running and slot.head is not None and slot.raylet is not None:
            self.ray.kill_node(slot.head, slot.raylet)

    def kill_runner(self, run: Run) -> None:
        """SIGKILL a runner (test_what_a_killed_runner_leaves_is_ended_by_the_keeper)."""
        self.runners.kill_alone(run)
        slot = next((slot for _, slot in self.slots() if slot.raylet is run.process.node), None)
        if slot is not None:
            self.ray.after(KEEPER_LOOKS, lambda: self.runners.kill(run) if slot.keeper and run.left else None)

    def kill_keeper(self, slot: Slot) -> None:
        """SIGKILL the keeper of a slot; what it started runs on."""
        if slot.state == "running":
            slot.keeper = False

    def reboot(self, machine: FakeMachine) -> None:
        """Start a machine again: everything on it is gone at once and without a word."""
        for run in self.runners.at(machine.place):
            self.runners.kill(run)
        self.runners.strangers = [each for each in self.runners.strangers if each.place != machine.place]
        machine.boots += 1
        for slot in machine.slots.values():
            slot.keeper = False
            if slot.running and slot.role == HEAD and slot.head is not None:
                self.ray.kill_head(slot.head)
            elif slot.running and slot.head is not None and slot.raylet is not None:
                self.ray.kill_node(slot.head, slot.raylet)
            if slot.state in ALIVE:
                slot.state, slot.message = "stopped", "the machine was started again since"

    def _place(self, node: Node) -> Place | None:
        return next((machine.place for machine, slot in self.slots() if slot.raylet is node), None)

    def _runs(self, slot: Slot) -> list[Run]:
        return self.runners.on(slot.raylet) if slot.raylet is not None else []

    def state_of(self, slot: Slot) -> str:
        """Judge a slot whose keeper is gone (test_without_its_keeper_a_slot_runs_on_and_can_be_stopped)."""
        if slot.keeper or slot.state not in ALIVE:
            return slot.state
        return "running" if slot.running or self._runs(slot) else "failed"

    def _told(self, machine: FakeMachine, key: tuple[str, str, str, str]) -> dict[str, Any]:
        _, cluster, role, node = key
        slot = machine.slots.get(key)
        told = {"cluster": cluster, "role": role, "node": node, "log": "", "pid": None, "startedAt": None}
        if slot is None:
            return {**told, "state": "none", "epoch": None, "generation": None, "message": ""}
        counts = {"epoch": slot.order.epoch, "generation": slot.order.generation}
        return {**told, **counts, "state": self.state_of(slot), "message": slot.message}


def _at_once(run: Run) -> Any:
    program = run.process.program
    return type(program)(program.seconds, program.exit_code, 0.0, program.outlives_raylet)


def _refuse_newer(slot: Slot, generation: int) -> None:
    """Refuse what was meant for an earlier start (test_what_is_late_ends_nothing_newer)."""
    if slot.order.generation > generation:
        raise NotDone(REFUSED, f"{slot.role} slot {slot.node} has generation {slot.order.generation}")


def _key(site: str, fields: Fields) -> tuple[str, str, str, str]:
    return (site, fields.name("cluster"), fields.choice("role", HEAD, WORKER), fields.name("node"))
