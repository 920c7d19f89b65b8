"""The main job on real parts: a commit becomes a running Ray job, and its result comes back as a file.

Everything is on this machine, in `.demo/`, on loopback, without root: one head and two nodes with four pretend GPUs
each. It ends what it started and removes what it made, Ray's logs too; `--keep` leaves the files for a look.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from reconciler.node.raystart import temporary_folder

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / ".demo"
REPO, SHARED, CONFIG = DEMO / "desired", DEMO / "shared", DEMO / "rayops.toml"
RAYOPS = [sys.executable, "-m", "reconciler", "--config", str(CONFIG)]
GIT = [
    "git",
    "-C",
    str(REPO),
    "-c",
    "user.name=Demo",
    "-c",
    "user.email=demo@localhost",
    "-c",
    "commit.gpgsign=false",
]

SETTINGS = """\
[source]
url = "{repo}"
poll = "1s"

[paths]
state = "{demo}/state"
shared = "{shared}"

[machines]
transport = "local"
python = "{python}"
node_dir = "{demo}/node"

[daemon]
resync = "1s"

[tuning]
visibility = "2s"
"""

FILES = {
    "site.yaml": """\
apiVersion: rayops/v1
kind: Site
metadata: {name: site}
spec: {}
""",
    "users/alice.yaml": """\
apiVersion: rayops/v1
kind: User
metadata: {name: alice}
spec: {displayName: Alice}
""",
    "teams/rl/team.yaml": """\
apiVersion: rayops/v1
kind: Team
metadata: {name: rl}
spec: {members: [alice]}
""",
    "clusters/main.yaml": """\
apiVersion: rayops/v1
kind: Cluster
metadata: {name: main}
spec:
  ray: {version: {ray}, python: {python}}
  head:
    candidates: [{name: head-1, host: 127.0.0.1, user: demo}]
    ports: {gcs: {gcs}, dashboard: {dashboard}, client: {client}}
""",
    "nodepools/gpu.yaml": """\
apiVersion: rayops/v1
kind: NodePool
metadata: {name: gpu}
spec:
  cluster: main
  join: ssh
  perNode: {gpus: 4, cpus: 2}
  nodes:
    - {name: node-1, host: 127.0.0.1, user: demo}
    - {name: node-2, host: 127.0.0.1, user: demo}
""",
}

JOB = """\
# Trains on two nodes with four GPUs each.
apiVersion: rayops/v1
kind: Job
metadata: {name: digits, team: rl}
spec:
  user: alice
  pool: gpu
  resources: {nodes: 2, gpusPerNode: 4}
  workload:
    type: command
    argv: [{python}, train.py, --epochs, "{epochs}"]
    workingDir: common/code/demo
  limits: {attempt: 10m}
"""


def say(text: str) -> None:
    """Print what happens next."""
    print(f"\n\033[1m== {text}\033[0m" if sys.stdout.isatty() else f"\n== {text}", flush=True)


def rayops(*words: str, check: bool = True) -> int:
    """Run the command as a user would, and show it."""
    print(f"$ rayops {' '.join(words)}", flush=True)
    return subprocess.run([*RAYOPS, *words], cwd=ROOT, check=check).returncode


def fill(text: str, **values: object) -> str:
    """Put values in; the braces of YAML stay."""
    for name, value in values.items():
        text = text.replace("{" + name + "}", str(value))
    return text


def commit(message: str, files: dict[str, str | None]) -> None:
    """Write or remove files and commit them: in a team, this is a merged pull request."""
    for name, text in files.items():
        path = REPO / name
        if text is None:
            path.unlink()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    subprocess.run([*GIT, "add", "--all"], check=True)
    subprocess.run([*GIT, "commit", "--quiet", "--message", message], check=True)
    print(f"$ git commit -m '{message}'", flush=True)


def free_ports(count: int) -> list[int]:
    """Return ports that nobody uses now."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def prepare() -> dict[str, str]:
    """Make the directories, the settings and the first files; return the values that the files need."""
    import ray

    if DEMO.exists():
        shutil.rmtree(DEMO)
    (SHARED / "common/code/demo").mkdir(parents=True)
    shutil.copy(Path(__file__).with_name("train.py"), SHARED / "common/code/demo/train.py")
    CONFIG.write_text(fill(SETTINGS, repo=REPO, demo=DEMO, shared=SHARED, python=sys.executable))
    subprocess.run(["git", "init", "--quiet", "--initial-branch", "main", str(REPO)], check=True)
    gcs, dashboard, client = free_ports(3)
    return {
        "ray": ray.__version__,
        "python": sys.executable,
        "gcs": str(gcs),
        "dashboard": str(dashboard),
        "client": str(client),
    }


def play(values: dict[str, str]) -> None:
    """Show the loop: start, run, edit, delete, tear down."""
    say("a cluster and its nodes come up")
    rayops("wait", "cluster/main", "--for=state=Ready", "--appear", "--timeout", "90s")
    rayops("wait", "nodepool/gpu", "--for=state=Ready", "--timeout", "90s")
    rayops("get", "all")

    say("a job is planned as a pull request, then merged")
    job = REPO / "teams/rl/jobs/digits.yaml"
    job.parent.mkdir(parents=True)
    job.write_text(fill(JOB, epochs=3, **values))
    rayops("plan", "--tree", str(REPO))
    commit("Train on digits", {})
    rayops("wait", "job/rl/digits", "--for=state=Succeeded", "--appear", "--timeout", "90s")
    rayops("logs", "job/rl/digits")

    say("its status file")
    print((SHARED / "status/job/rl/digits.json").read_text())
    checkpoints = sorted((SHARED / "users/alice/checkpoints/rl/digits").iterdir())
    print("checkpoints:", *(path.name for path in checkpoints))

    say("an edit runs it again, from its last checkpoint")
    commit("Train for longer", {"teams/rl/jobs/digits.yaml": fill(JOB, epochs=5, **values)})
    rayops("wait", "job/rl/digits", "--for=state=Succeeded", "--spec", str(job), "--timeout", "90s")
    rayops("logs", "job/rl/digits")

    say("a deletion removes it")
    commit("Remove the job", {"teams/rl/jobs/digits.yaml": None})
    rayops("wait", "job/rl/digits", "--for=deleted", "--timeout", "60s")
    rayops("get", "jobs", "-A")

    say("the cluster goes the same way")
    commit("Remove pool and cluster", {"nodepools/gpu.yaml": None, "clusters/main.yaml": None})
    rayops("wait", "cluster/main", "--for=deleted", "--timeout", "90s")
    rayops("history", "--since", "10m", "-n", "200")


def main() -> int:
    """Play the demo and clean up, whatever happens."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave .demo/ for a look")
    options = parser.parse_args()
    began = time.monotonic()
    values = prepare()
    say("a site, its team and machines are described")
    commit("Describe the site", {name: fill(text, **values) for name, text in FILES.items()})
    log = (DEMO / "daemon.log").open("wb")
    daemon = subprocess.Popen([*RAYOPS, "run"], cwd=ROOT, stdout=log, stderr=log, start_new_session=True)
    failed = True
    try:
        play(values)
        failed = False
    except subprocess.CalledProcessError as error:
        print(f"\nthe demo failed at: {' '.join(error.cmd)}\n", file=sys.stderr)
        print("".join((DEMO / "daemon.log").read_text(errors="replace").splitlines(keepends=True)[-40:]))
    finally:
        stop(daemon)
        log.close()
    if failed:
        print(f"files are left in {DEMO}", file=sys.stderr)
        return 1
    if not options.keep:
        clean_up()
    say(f"done in {time.monotonic() - began:.0f} s")
    return 0


def clean_up() -> None:
    """Remove all files, and what Ray has left of each slot."""
    for slot in (DEMO / "node").glob("*/*/*-*"):
        shutil.rmtree(temporary_folder(slot, os.getuid()), ignore_errors=True)
    shutil.rmtree(DEMO)


def stop(daemon: "subprocess.Popen[bytes]") -> None:
    """End the daemon, and what Ray it has not ended itself."""
    daemon.send_signal(signal.SIGTERM)
    try:
        daemon.wait(timeout=20)
    except subprocess.TimeoutExpired:
        os.killpg(daemon.pid, signal.SIGKILL)
        daemon.wait()
    for slot in sorted((DEMO / "node").glob("*/*/*-*")):
        stop_slot(slot)


def stop_slot(slot: Path) -> None:
    """Let the gate end a head or worker that is left, by its recorded processes."""
    site = json.loads((SHARED / ".rayops/site.json").read_text())
    program = next((SHARED / ".rayops/bin").iterdir())
    role, _, node = slot.name.partition("-")
    request = {
        "protocol": 1,
        "verb": "stop",
        "site": site["site"],
        "term": site["term"],
        "nodeDir": str(DEMO / "node"),
        # The highest generation there can be: whatever runs there.
        "args": {
            "cluster": slot.parent.name,
            "role": role,
            "node": node,
            "generation": 1 << 53,
            "graceSeconds": 0,
        },
    }
    gate = [sys.executable, "-I", str(program), "gate"]
    subprocess.run(gate, input=json.dumps(request), text=True, check=False, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.exit(main())
