"""Slots from start to end, with a pretended Ray: real gate, real keeper, real processes."""

import json
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from reconciler.node import files, processes
from reconciler.node.slots import Look, Record, write_record
from tests.node.jobs import Job
from tests.node.machine import SITE, TOKEN, NodeMachine, kill, names, until


@pytest.fixture
def head_address() -> Iterator[str]:
    with socket.create_server(("127.0.0.2", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


SLOTS = {"head": "n1", "worker": "w1"}


def programs(machine: NodeMachine, **slot: str) -> set[str]:
    lines = [processes.command_line(each) for each in machine.seen(**slot).living]
    return {Path(line[0]).name for line in lines if line}


def test_a_head_starts_runs_and_stops_without_leftovers(machine: NodeMachine) -> None:
    # The pretended Ray may be up before the answer is.
    assert machine.start_head()["result"]["state"] in {"starting", "running"}
    seen = machine.until("running")
    assert {"raylet", "gcs_server"} < programs(machine)
    living = seen.living
    assert machine.stop()["state"] == "stopping"
    assert machine.until("stopped").living == ()
    assert not any(processes.alive(each) for each in living)


def test_a_worker_joins_only_a_head_that_answers(machine: NodeMachine, head_address: str) -> None:
    machine.start_worker(headAddress=head_address)
    machine.until("running", "worker", "w1")
    assert "gcs_server" not in programs(machine, role="worker", node="w1")
    with socket.create_server(("127.0.0.2", 0)) as closed:
        port = closed.getsockname()[1]
    machine.start_worker(node="w2", headAddress=f"127.0.0.1:{port}")
    seen = machine.until("failed", "worker", "w2")
    assert seen.message == f"the head at 127.0.0.1:{port} does not answer: Connection refused"


def test_ray_gets_what_the_order_says_and_the_token_only_by_file(machine: NodeMachine, head_address: str) -> None:
    offered = {"cpus": 8, "gpus": 2, "memoryBytes": 1 << 30, "custom": {"slot": 2.5}}
    labels, env = {"pool": "h20"}, {"NCCL_IB_GID_INDEX": "3", "RAY_gcs_rpc_server_reconnect_timeout_s": "10"}
    machine.start_worker(headAddress=head_address, resources=offered, labels=labels, env=env)
    machine.until("running", "worker", "w1")
    arguments = (machine.home / "ray" / "arguments").read_text()
    for wanted in ("--num-cpus=8", "--num-gpus=2", f"--memory={1 << 30}", '--resources={"slot": 2.5}'):
        assert wanted in arguments
    assert "--labels=pool=h20,rayops-node=w1 " in arguments
    assert "--node-ip-address=127.0.0.2 " in arguments
    environment = dict(
        line.split("=", 1)
        for line in (machine.home / "ray" / "environment").read_text().splitlines()
        if "=" in line
    )
    assert environment.items() >= {**env, "RAY_AUTH_MODE": "token"}.items()
    assert TOKEN not in arguments + str(environment)
    token_file = Path(environment["RAY_AUTH_TOKEN_PATH"])
    assert (token_file.read_text(), token_file.stat().st_mode & 0o777) == (TOKEN, 0o600)


def test_the_gates_own_environment_stays_out_of_ray(machine: NodeMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "AWS_SECRET_ACCESS_KEY",
        "RAY_ADDRESS",
        "RAY_START_HOOK",
        "PYTHONPATH",
        "HTTP_PROXY",
        "LD_PRELOAD_X",
    ):
        monkeypatch.setenv(name, "leak")
    monkeypatch.setenv("NCCL_DEBUG", "INFO")
    machine.start_head()
    machine.until("running")
    environment = (machine.home / "ray" / "environment").read_text()
    assert "leak" not in environment
    assert "NCCL_DEBUG=INFO" in environment


def test_a_look_that_is_older_than_the_record_takes_nothing_for_ended(machine: NodeMachine) -> None:
    look = Look()
    machine.start_head()
    started = machine.until("running")
    seen = look.at(machine.slot())
    assert (seen.state, seen.message) == ("running", "")
    assert started.record is not None
    assert set(started.record.core.values()) <= set(seen.living)


def test_the_same_start_again_is_the_same_slot(machine: NodeMachine) -> None:
    machine.start_head()
    keeper = machine.until("running").record
    again = machine.start_head()["result"]
    assert (again["state"], again["epoch"]) == ("running", 1)
    assert machine.seen().record == keeper


def test_a_start_remembers_the_boot_that_it_is_in(machine: NodeMachine) -> None:
    machine.start_head()
    known = machine.node_dir / SITE / ".boots"
    assert [each.name for each in known.iterdir()] == [processes.boot_id()]


def test_many_starts_at_once_make_one_keeper(machine: NodeMachine) -> None:
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: machine.start_head(), range(6)))
    assert all(answer["ok"] for answer in answers)
    machine.until("running")
    keepers = [each for each in machine.seen().living if "keep" in processes.command_line(each)]
    assert len(keepers) == 1


@pytest.mark.parametrize("epoch", [1, 3])
def test_another_generation_is_refused_while_one_lives(machine: NodeMachine, epoch: int) -> None:
    machine.start_head(2)
    machine.until("running")
    answer = machine.start_head(epoch)
    assert (answer["kind"], answer["message"]) == (
        "refused",
        "head slot n1 of main still runs generation 2; stop it first",
    )
    assert machine.seen().state == "running"


@pytest.mark.parametrize("role", ["head", "worker"])
def test_a_generation_that_ended_never_comes_back(machine: NodeMachine, head_address: str, role: str) -> None:
    node = SLOTS[role]
    start(machine, role, head_address, 2)
    machine.until("running", role, node)
    machine.stop(role, node)
    machine.until("stopped", role, node)
    for late in (1, 2):
        assert start(machine, role, head_address, late)["kind"] == "refused"
    assert start(machine, role, head_address, 3)["result"]["generation"] == 3


def test_a_worker_may_join_the_same_head_again(machine: NodeMachine, head_address: str) -> None:
    for generation in (1, 2):
        assert machine.start_worker(headAddress=head_address, generation=generation)["ok"]
        machine.until("running", "worker", "w1")
        machine.stop("worker", "w1")
        machine.until("stopped", "worker", "w1")


@pytest.mark.parametrize("role", ["head", "worker"])
def test_what_is_late_ends_nothing_newer(machine: NodeMachine, head_address: str, role: str) -> None:
    node = SLOTS[role]
    start(machine, role, head_address, 2)
    machine.until("running", role, node)
    late = machine.call("stop", {**names(role, node, generation=1), "graceSeconds": 0})
    assert (late["kind"], late["message"]) == (
        "refused",
        f"{role} slot {node} of main has generation 2; this was for 1",
    )
    assert machine.seen(role, node).state == "running"
    assert machine.stop(role, node, generation=2)["state"] == "stopping"
    machine.until("stopped", role, node)
    assert machine.call("clean", names(role, node, generation=1))["kind"] == "refused"
    assert machine.seen(role, node).generation == 2
    assert machine.result("clean", names(role, node, generation=2))["state"] == "none"


def test_a_stop_without_a_generation_is_invalid(machine: NodeMachine) -> None:
    machine.start_head()
    machine.until("running")
    unnamed = {"cluster": "main", "role": "head", "node": "n1"}
    assert machine.call("stop", {**unnamed, "graceSeconds": 0})["kind"] == "invalid"
    assert machine.call("clean", unnamed)["kind"] == "invalid"
    assert machine.seen().state == "running"


@pytest.mark.parametrize(("role", "generation"), [("head", 3), ("worker", 0)])
def test_a_slot_from_before_starts_were_counted_can_be_stopped_and_started(
    machine: NodeMachine, head_address: str, role: str, generation: int
) -> None:
    node = SLOTS[role]
    start(machine, role, head_address, 3)
    machine.until("running", role, node)
    record = machine.slot(role, node).record
    document = json.loads(record.read_text())
    del document["generation"]
    files.write_json(record, document)
    assert machine.seen(role, node).generation == generation
    machine.stop(role, node, generation=generation)
    machine.until("stopped", role, node)
    assert start(machine, role, head_address, 4)["ok"]


def start(machine: NodeMachine, role: str, head_address: str, generation: int) -> dict[str, Any]:
    if role == "head":
        return machine.start_head(generation)
    return machine.start_worker(generation, headAddress=head_address)


def test_half_a_head_is_ended_and_its_log_told(machine: NodeMachine) -> None:
    machine.start_head(env={"PRETEND": "half"})
    seen = machine.until("failed")
    assert (seen.message, seen.living) == ("ray start ended with code 1", ())
    (slot,) = machine.result("probe", {})["slots"]
    assert slot["log"] == "starting with token [token]\nno raylet came up\n"


def test_a_start_that_hangs_can_be_stopped(machine: NodeMachine) -> None:
    machine.start_head(env={"PRETEND": "hangs"})
    until(lambda: programs(machine), lambda found: "sleep" in found)
    machine.stop()
    assert machine.until("stopped").living == ()


@pytest.mark.parametrize("name", ["raylet", "gcs_server"])
def test_the_end_of_a_core_process_fails_the_slot(machine: NodeMachine, name: str) -> None:
    machine.start_head()
    record = machine.until("running").record
    assert record is not None
    kill(record.core[name].pid)
    seen = machine.until("failed")
    assert (seen.message, seen.living) == (f"{name} was ended by SIGKILL", ())


@pytest.mark.parametrize(("takes", "saved"), [(0.3, True), (60, False)], ids=["in time", "longer"])
def test_when_ray_ends_its_jobs_have_two_seconds_whatever_their_grace(
    machine: NodeMachine, takes: float, saved: bool
) -> None:
    machine.start_head()
    record = machine.until("running").record
    assert record is not None
    job = Job(machine.home / "jobs" / "rl.ppo-0a1b2c3d-1", machine.program)
    saves = f'trap "" TERM; sleep {takes}; echo saved; exit 0'
    job.write(["sh", "-c", f"trap '{saves}' TERM; echo ready; while :; do sleep 0.02; done"], graceSeconds=60)
    try:
        runner = job.start(RAYOPS_SLOT=str(machine.slot().folder))
        job.wait_for_log("ready")
        kill(record.core["raylet"].pid)
        runner.wait(20)
        machine.until("failed")
        assert ("saved" in job.log, (job.folder / "result.json").exists()) == (saved, saved)
        assert job.living() == []
    finally:
        job.close()


def test_what_ignores_the_request_to_end_is_killed(machine: NodeMachine) -> None:
    machine.start_head(env={"PRETEND": "stubborn"})
    machine.until("running")
    assert "sh" in until(lambda: programs(machine), lambda found: "sh" in found)
    machine.stop(grace=1)
    assert machine.until("stopped").living == ()


def test_without_its_keeper_a_slot_runs_on_and_can_be_stopped(machine: NodeMachine) -> None:
    machine.start_head(env={"PRETEND": "stubborn"})
    record = machine.until("running").record
    assert record is not None
    assert record.keeper is not None
    kill(record.keeper.pid)
    seen = until(machine.seen, lambda seen: record.keeper not in seen.living)
    assert (seen.state, seen.message) == ("running", "its keeper is gone; Ray runs unwatched")
    stopped = machine.stop()
    assert (stopped["state"], stopped["message"]) == ("stopped", "ended without its keeper")
    assert machine.seen().living == ()


def test_a_keeper_that_hangs_is_ended_once_it_is_overdue(machine: NodeMachine) -> None:
    machine.start_head()
    record = machine.until("running").record
    assert record is not None
    assert record.keeper is not None
    kill(record.keeper.pid, signal.SIGSTOP)
    assert machine.stop(grace=1)["state"] == "stopping"
    asked = json.loads(machine.slot().stop.read_text())
    files.write_json(machine.slot().stop, {**asked, "ticks": asked["ticks"] - 60})
    assert machine.stop(grace=1)["state"] == "stopped"
    assert machine.seen().living == ()


def test_a_pid_that_went_to_a_stranger_is_never_signalled(machine: NodeMachine) -> None:
    slot, me = machine.slot(), processes.myself()
    machine.result("probe", {})
    files.own_folder(slot.folder.parent)
    files.own_folder(slot.folder)
    stranger = processes.Process(me.pid, me.start_ticks - 1)
    write_record(slot, Record("running", 4, processes.boot_id(), "x", "", stranger, {"raylet": stranger}))
    assert machine.stop()["state"] == "failed"  # and this test is still here to see it
    write_record(slot, Record("running", 4, "another-boot", "x", "", me, {"raylet": me}))
    assert machine.stop()["state"] == "stopped"


def test_a_damaged_record_hides_no_process(machine: NodeMachine) -> None:
    machine.start_head()
    machine.until("running")
    machine.slot().record.write_bytes(b"{")
    assert machine.seen().state == "running"
    assert machine.start_head(9)["kind"] == "refused"
    assert machine.stop(generation=4)["state"] == "stopped"
    assert machine.seen().living == ()
    # What ran there is not known, so that no start up to that stop may come back.
    assert machine.start_head(4)["kind"] == "refused"


def test_only_a_dead_slot_is_cleaned(machine: NodeMachine) -> None:
    machine.start_head()
    machine.until("running")
    assert machine.call("clean", names())["kind"] == "refused"
    machine.stop()
    machine.until("stopped")
    assert machine.result("clean", names())["state"] == "none"
    assert not machine.slot().folder.exists()
    assert machine.result("probe", {})["slots"] == []


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"rayVersion": "2.59.0"}, "this machine has Ray 2.60.0, the cluster asks for 2.59.0"),
        ({"env": {"PRETEND_CODE": "1"}}, "has no Ray; install ray[default]==2.60.0"),
        ({"python": "/nowhere/python3"}, "/nowhere/python3 cannot be run on this machine"),
        ({"address": "203.0.113.7"}, "203.0.113.7 is no address of this machine"),
        ({"address": "name.invalid"}, "cannot resolve the address name.invalid"),
    ],
)
def test_a_machine_that_cannot_do_it_says_so_at_once(
    machine: NodeMachine, change: dict[str, Any], word: str
) -> None:
    answer = machine.start_head(**change)
    assert answer["kind"] == "refused"
    assert word in answer["message"]
    assert machine.seen().state == "none"


def test_two_clusters_share_a_machine(machine: NodeMachine) -> None:
    for cluster in ("main", "other"):
        machine.start_head(cluster=cluster)
    for cluster in ("main", "other"):
        machine.until("running", cluster=cluster)
    machine.stop()
    machine.until("stopped")
    assert machine.seen(cluster="other").state == "running"
    assert [slot["cluster"] for slot in machine.result("probe", {})["slots"]] == ["main", "other"]
    assert (machine.node_dir / SITE).stat().st_mode & 0o777 == 0o700
    assert list(machine.node_dir.iterdir()) == [machine.node_dir / SITE]
