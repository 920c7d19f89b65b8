"""Attacks on and by Ray: one real head under the running daemon, first open to everybody, then as it must be."""

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from reconciler.node.raystart import temporary_folder
from tests.attacks.stage import CANARY
from tests.e2e.installation import Installation, Node, installation

pytestmark = pytest.mark.real

# Stands where the machine's Python is; whoever can change that can switch Ray's token off.
WRAPPER = f"""#!/bin/sh
[ -e "$0.open" ] && export RAY_AUTH_MODE=disabled
exec {sys.executable} "$@"
"""
# Ids that Ray takes and mistreats: one writes its log outside of the session, one is HTML.
IDS = ("../../x", "<img src=x onerror=alert(1)>", "a/b", "", "x" * 10_000)
STRANGER = (
    {"Host": "evil.example"},
    {"Origin": "http://evil"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "http://evil"},
    {"Authorization": "Bearer " + "0" * 64},
)

# What a hostile job does: it tells its token, squats ids, forks away, and leaves modules for whoever comes next.
HOSTILE = """
import json, os, subprocess, sys, urllib.error, urllib.request
token = open(os.environ["RAY_AUTH_TOKEN_PATH"]).read() if "RAY_AUTH_TOKEN_PATH" in os.environ else ""
token = os.environ.get("RAY_AUTH_TOKEN", token)
print("token", token)
for name in json.loads(sys.argv[2]):
    body = json.dumps({"entrypoint": "echo squatted", "submission_id": name}).encode()
    headers = {"Authorization": "Bearer " + token, "Content-Type": "application/json"}
    try:
        urllib.request.urlopen(urllib.request.Request(sys.argv[1] + "/api/jobs/", body, headers), timeout=20)
        print("taken", name[:40])
    except urllib.error.HTTPError as error:
        print("refused", name[:40], error.code)
for name in ("ray", "sitecustomize", "usercustomize", "hashlib", "json", "reconciler"):
    with open(name + ".py", "w") as module:
        module.write(f"open({sys.argv[3]!r}, 'w').write(__name__)\\n")
subprocess.Popen(["setsid", "nohup", "sleep", sys.argv[4]], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
"""
SLEEP = "98765.4321"


@dataclass
class Opened:
    """A site whose head began without a token, and what was told of it then."""

    made: Installation
    status: dict[str, Any]
    published: list[Path]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    python = tmp_path_factory.mktemp("python") / "python3"
    python.write_text(WRAPPER)
    python.chmod(0o755)
    with installation() as made:
        files = made.base(Node("head-1"), [Node("node-1")])
        files["clusters/main.yaml"] = files["clusters/main.yaml"].replace(sys.executable, str(python))
        Path(f"{python}.open").touch()
        made.commit("Start a head", {path: text for path, text in files.items() if path != "nodepools/gpu.yaml"})
        made.start()
        made.until_file(made.status / "cluster/main.json", "NoTokenRequired", seconds=120)
        status = made.object("cluster/main") or {}
        published = list((made.shared / ".rayops").glob("clusters/main/*"))
        Path(f"{python}.open").unlink()
        made.commit("Remove it", {"clusters/main.yaml": None})
        made.until_gone("cluster/main")
        made.commit("Describe the site", files)
        made.until("cluster/main", "Ready")
        made.until("nodepool/gpu", "Ready")
        yield Opened(made, status, published)
        assert made.stop() == 0


@pytest.fixture
def site(opened: Opened) -> Installation:
    return opened.made


def ask(
    site: Installation, method: str, path: str, headers: Mapping[str, str], body: bytes = b""
) -> tuple[int, str]:
    """Send one request to the head as it is."""
    with closing(HTTPConnection("127.0.0.1", site.ports[1], timeout=20)) as connection:
        # Not through a client that tidies paths up.
        connection.putrequest(method, path, skip_host="Host" in headers)
        for name, value in {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            **headers,
        }.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")


def token(site: Installation) -> str:
    """Return the cluster's token, as somebody has it who works on the cluster."""
    return (site.home / "state/tokens/main").read_text().strip()


def jobs(site: Installation) -> str:
    """Return what the head tells of all jobs."""
    status, text = ask(site, "GET", "/api/jobs/", {"Authorization": f"Bearer {token(site)}"})
    assert status == 200
    return text


def test_a_head_that_lets_strangers_in_is_never_published(opened: Opened) -> None:
    """An unauthenticated Jobs API is code execution: the head was started with RAY_AUTH_MODE=disabled."""
    assert opened.status["state"] != "Ready"
    assert "answers without a token" in opened.status["message"]
    assert opened.published == []


@pytest.mark.parametrize("headers", STRANGER, ids=lambda headers: next(iter(headers)))
def test_a_stranger_or_a_foreign_page_gets_nothing_from_a_head(
    site: Installation, headers: Mapping[str, str]
) -> None:
    """DNS rebinding and forged requests by a browser: foreign Host, Origin, Sec-Fetch-Site, and a wrong token."""
    body = json.dumps({"entrypoint": "echo stranger", "submission_id": "stranger"}).encode()
    for method, path in (
        ("GET", "/api/jobs/"),
        ("POST", "/api/jobs/"),
        ("DELETE", "/api/jobs/stranger"),
        ("GET", "/nodes?view=summary"),
        ("GET", "/api/version"),
        ("GET", "/api/v0/logs/file?node_id=x&filename=raylet.out"),
    ):
        status, _ = ask(site, method, path, headers, body if method == "POST" else b"")
        assert status in {401, 403, 405}, (method, path, status)
    assert "stranger" not in jobs(site)


@pytest.mark.parametrize(
    "path",
    [
        "/api/v0/logs/file?node_id={node}&filename=../../../../etc/passwd",
        "/api/v0/logs/file?node_id={node}&filename=../../../../../../../../etc/passwd",
        "/api/v0/logs/file?node_id={node}&filename=/etc/passwd",
        "/static/../../../../../../etc/passwd",
        "/static/js/..%2f..%2f..%2f..%2f..%2f..%2fetc/passwd",
        "/log_proxy?url=http://127.0.0.1:{port}/api/version",
        "/logs/../../../../etc/passwd",
    ],
)
def test_no_file_of_a_machine_is_read_through_a_head(site: Installation, path: str) -> None:
    """File reads and proxying by the dashboard, even with the token: `filename=../../../../etc/passwd`."""
    status, text = ask(site, "GET", "/nodes?view=summary", {"Authorization": f"Bearer {token(site)}"})
    assert status == 200
    node = json.loads(text)["data"]["summary"][0]["raylet"]["nodeId"]
    _, said = ask(
        site, "GET", path.format(node=node, port=site.ports[1]), {"Authorization": f"Bearer {token(site)}"}
    )
    assert "root:" not in said
    assert "ray_version" not in said


def test_no_word_of_a_command_reaches_a_shell(site: Installation) -> None:
    """Entrypoints are run by a shell: `["python", "a b;id"]` is a file of that name, and no second command."""
    words = json.dumps([sys.executable, "a b;id"])
    text = site.job("quoted", "").popitem()[1].replace('[sh, -c, ""]', words)
    site.commit("Add", {"teams/rl/jobs/quoted.yaml": text})
    seen = site.until("job/rl/quoted", "Failed")
    log = (site.shared / "jobs" / seen["detail"]["attempts"][0]["submissionId"] / "logs/driver.log").read_text()
    assert "a b;id'" in log
    assert "uid=" not in log


def test_no_variable_of_a_job_is_in_ray(site: Installation) -> None:
    """Ray shows and logs the variables of its jobs: a value is in the program's environment, and nowhere in Ray."""
    text = site.job("secret", 'test "$WANDB_API_KEY" = ' + CANARY + " && sleep 2").popitem()[1]
    env = text.replace("type: command,", f"type: command, env: {{WANDB_API_KEY: {CANARY}}},")
    site.commit("Add", {"teams/rl/jobs/secret.yaml": env})
    site.until("job/rl/secret", "Running")
    told = jobs(site)
    assert "rl.secret-" in told
    site.until("job/rl/secret", "Succeeded")
    assert CANARY not in told + jobs(site)
    folders = [
        temporary_folder(path.parent, os.getuid()) for path in (site.home / "node").glob("*/main/*/state.json")
    ]
    files = [path for folder in folders for path in folder.glob("session_2*/**/*") if path.is_file()]
    assert files
    for path in [*files, site.home / "daemon.log", *site.status.rglob("*.json*")]:
        assert CANARY.encode() not in path.read_bytes(), path


def test_a_hostile_job_reaches_no_further_than_its_cluster(site: Installation, tmp_path: Path) -> None:
    """A job tells its token, squats ids of other jobs, forks away, and drops `ray.py` into a shared directory."""
    trace, code = tmp_path / "trace", site.shared / "users/alice/code"
    code.mkdir(parents=True)
    site.commit("Add", site.job("victim", "echo honest", more="  suspend: true\n"))
    digest = site.until("job/rl/victim", "Suspended")["observed"]["specDigest"]
    squatted = f"rl.victim-{digest[:8]}-1"
    address = f"http://127.0.0.1:{site.ports[1]}"
    words = [sys.executable, "-I", "-c", HOSTILE, address, json.dumps([*IDS, squatted]), str(trace), SLEEP]
    text = site.job("hostile", "").popitem()[1].replace('[sh, -c, ""]', json.dumps(words))
    there = text.replace("type: command,", "type: command, workingDir: users/alice/code,")
    site.commit("Add", {"teams/rl/jobs/hostile.yaml": there})
    seen = site.until("job/rl/hostile", "Succeeded")
    log = (site.shared / "jobs" / seen["detail"]["attempts"][0]["submissionId"] / "logs/driver.log").read_text()
    assert f"token {token(site)}" in log
    assert f"taken {squatted[:40]}" in log
    assert not [line for line in processes() if SLEEP in line], "what it forked away is ended"
    other_token(site)
    after = site.job("after", "cat ray.py >/dev/null && echo fine").popitem()[1]
    after = after.replace(
        "type: command,", f"type: command, workingDir: users/alice/code, env: {{PYTHONPATH: {code}}},"
    )
    site.commit("Run where it was", {"teams/rl/jobs/after.yaml": after, **site.job("victim", "echo honest")})
    site.until("job/rl/after", "Succeeded")
    assert not trace.exists(), "a module of the shared directory was imported by ours"
    until_honest(site)
    told = "".join(path.read_text() for path in site.status.rglob("*.json*"))
    assert "<img" not in told
    assert "squatted" not in told


def test_a_token_that_somebody_tells_is_in_no_status_and_no_log(site: Installation) -> None:
    """Whoever knows the token names a program so: it comes back in what the machine says of that."""
    secret = token(site)
    text = site.job("teller", "").popitem()[1].replace('[sh, -c, ""]', json.dumps([f"/nowhere/{secret}"]))
    site.commit("Add", {"teams/rl/jobs/teller.yaml": text})
    attempts = site.until("job/rl/teller", "Failed")["detail"]["attempts"]
    assert "/nowhere/***" in attempts[-1]["message"]
    for path in [site.home / "daemon.log", *site.status.rglob("*.json*")]:
        assert secret not in path.read_text(), path


def other_token(site: Installation) -> None:
    """The token of one cluster is none of another one, of which nothing but its token ever comes to be."""
    node = Node("head-2").yaml()
    spec = f"{{ray: {{version: 2.60.0, python: /nonexistent}}, head: {{candidates: [{node}]}}}}"
    text = f"apiVersion: rayops/v1\nkind: Cluster\nmetadata: {{name: other}}\nspec: {spec}\n"
    site.commit("Add another cluster", {"clusters/other.yaml": text})
    site.until_file(site.home / "state/tokens/other", "")
    assert (site.home / "state/tokens/other").read_text().strip() != token(site)


def until_honest(site: Installation) -> None:
    """The job whose id was taken never counts as done by what somebody else ran under that id."""
    deadline = time.monotonic() + 120
    while (seen := site.object("job/rl/victim") or {}).get("state") not in {"Succeeded", "Failed", "Lost"}:
        assert time.monotonic() < deadline, f"{seen}\n{site.trail()}"
        time.sleep(0.2)
    for attempt in seen["detail"]["attempts"]:
        log = site.shared / "jobs" / attempt["submissionId"] / "logs/driver.log"
        assert attempt["state"] != "Succeeded" or "honest" in log.read_text()


def processes() -> list[str]:
    """Return the command lines of everything that runs."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return found
