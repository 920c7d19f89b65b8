"""The gate: whatever comes on stdin, one answer goes out, and nothing is done that was not asked for well."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reconciler.model.outcome import Unknown
from reconciler.node import files, gate, processes
from reconciler.node.documents import DOCUMENT_LIMIT
from reconciler.remote.answer import Conversation
from tests.fuzz.engine import Broken
from tests.fuzz.fence import fenced
from tests.fuzz.target import Target

# Stands in inputs for the folder of this run.
HOME = b"@HOME@"
TOKEN = "t0ken-C4N4RY#0123456789"
SITE = "c0ffee"
# No process can have this pid: the kernel counts to 4194304 at most (proc(5), pid_max).
PID, TICKS = 5_000_000, 77

_home = Path()


@contextmanager
def _a_machine() -> Iterator[None]:
    """Stand on a machine of our own: its processes are files, and only its folder can be changed."""
    global _home  # noqa: PLW0603 - of this process alone
    roomy = Path("/dev/shm")  # where a flush costs nothing
    with tempfile.TemporaryDirectory(dir=roomy if os.access(roomy, os.W_OK) else None) as folder:
        _home = Path(folder)
        real, processes.PROC = processes.PROC, _home / "proc"
        try:
            with fenced(_home):
                yield
        finally:
            processes.PROC = real


def _furnish() -> None:
    """Put a site there: a head that failed, a worker that lives, an attempt of an earlier boot."""
    shutil.rmtree(_home / "node", ignore_errors=True)
    shutil.rmtree(_home / "proc", ignore_errors=True)
    boot = _home / "proc" / "sys" / "kernel" / "random" / "boot_id"
    process = _home / "proc" / str(PID)
    for folder in (boot.parent, process):
        folder.mkdir(parents=True)
    boot.write_text("b007\n")
    (process / "stat").write_text(f"{PID} (raylet) S 1 {'0 ' * 17}{TICKS} 0\n")
    (process / "environ").write_bytes(f"RAYOPS_SLOT={_home}/node/{SITE}/main/worker-w1\0".encode())
    (process / "cmdline").write_bytes(b"raylet\0")
    site = files.own_folder(files.own_folder(_home / "node") / SITE)
    (site / "term").write_text("3\n")
    cluster = files.own_folder(site / "main")
    living = {"pid": PID, "startTicks": TICKS}
    for name, state, keeper in (("head-n1", "failed", None), ("worker-w1", "running", living)):
        slot = files.own_folder(cluster / name)
        record = {
            "protocol": 1,
            "state": state,
            "epoch": 2,
            "generation": 2,
            "bootId": processes.boot_id(),
            "startedAt": "now",
        }
        (slot / "state.json").write_text(json.dumps({**record, "message": "", "keeper": keeper, "core": {}}))
        (slot / "token").write_text(TOKEN)
        (slot / "start.log").write_text(f"started with {TOKEN}\n")
    job = _home / "node" / "rl.a-0123abcd-1"
    job.mkdir()
    claim = {"submissionId": job.name, "hostName": os.uname().nodename, "bootId": "an earlier one", **living}
    (job / "claim.json").write_text(json.dumps({**claim, "claimedAt": "now"}))


def check_request(data: bytes) -> None:
    """Answer a request as the gate does, and read the answer as the daemon does."""
    _furnish()
    request = data.replace(HOME, str(_home).encode())
    answer = files.encode(gate.answer_to(request))
    if len(answer) > DOCUMENT_LIMIT:
        raise Broken(f"too long: an answer of {len(answer)} bytes")
    document = json.loads(answer)
    if document.get("kind") == "bug":
        raise Broken(f"a defect: {document['message']}")
    if TOKEN in answer.decode() and not _is_in_a_path(request):
        raise Broken("a secret is told: the token is in the answer")
    if isinstance(Conversation("here", request).outcome(answer, 0, b""), Unknown):
        raise Broken("no answer: the daemon cannot read it")


def _is_in_a_path(request: bytes) -> bool:
    """Say whether somebody put the token where a path or a name belongs: those are told."""
    document: dict[str, Any] = json.loads(request)
    args = document.get("args")
    where = [document.get("nodeDir"), *(args.values() if isinstance(args, dict) else ())]
    named = [each for each in where if isinstance(each, str) and each != TOKEN]
    return any(TOKEN in each for each in named)


def requests() -> Iterator[bytes]:
    """Give a good request of each verb."""
    head = {"cluster": "main", "role": "head", "node": "n1"}
    worker = {"cluster": "main", "role": "worker", "node": "w1"}
    order = {"cluster": "main", "epoch": 3, "token": TOKEN, "python": "python3", "rayVersion": "2.60.0"}
    order |= {"address": "127.0.0.1", "env": {"NCCL_DEBUG": TOKEN}}
    ports = {"gcs": 6379, "dashboard": 8265, "client": 10001}
    offered = {"cpus": 8, "gpus": 4, "memoryBytes": 1 << 33, "custom": {"disk": 1.5}}
    joins = {"headAddress": "10.0.0.1:6379", "resources": offered, "generation": 3}
    job = {"jobDir": f"{HOME.decode()}/node/rl.a-0123abcd-1", "submissionId": "rl.a-0123abcd-1"}
    wanted: list[tuple[str, dict[str, Any]]] = [
        ("probe", {}),
        ("probe", {"slots": [head, worker, {**worker, "node": "w9"}]}),
        ("start-head", {**order, "node": "n1", "labels": {}, "ports": ports}),
        ("start-worker", {**order, "node": "w2", "labels": {"gpu": "h20"}, **joins}),
        ("stop", {**worker, "generation": 2, "graceSeconds": 5}),
        ("stop", {**head, "generation": 1, "graceSeconds": 0}),
        ("clean", {**head, "generation": 2}),
        ("sweep", {**job, "kill": True}),
    ]
    for verb, args in wanted:
        request = {"protocol": 1, "verb": verb, "site": SITE, "term": 3, "nodeDir": f"{HOME.decode()}/node"}
        yield json.dumps({**request, "args": args}).encode()


TARGETS = (
    Target(
        "gate",
        "every request gets one answer that the daemon reads, never a defect, and no secret of it is told",
        check_request,
        requests,
        around=_a_machine,
    ),
)
