"""Attacks on the way to machines, through the running daemon and a real sshd in a namespace of its own."""

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest

from tests import netns
from tests.attacks.stage import document, trap
from tests.e2e.installation import ROOT, Installation, installation

pytestmark = pytest.mark.real

# Stands where a machine's Python with Ray is: says its version, and writes down what else it is called with.
RECORDER = """#!/bin/sh
if [ "$1" = -c ]; then echo 2.60.0; exit; fi
{ env -0; printf '%s\\0' "$@"; } > "$0.tmp" && mv "$0.tmp" "$0.seen"
exit 1
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder full of traps for ssh and fabric, and the recorder."""
    home = tmp_path_factory.mktemp("home")
    program, _ = trap(home)
    (home / ".ssh").mkdir()
    (home / ".ssh/config").write_text(f"Host *\n  ProxyCommand {program}\n  User evil\n  Port 1\n")
    (home / ".fabric.py").write_text(f"open({str(home / 'trace')!r}, 'w')\n")
    (home / "python3").write_text(RECORDER)
    (home / "python3").chmod(0o755)
    return home


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[netns.Hosts]:
    with netns.hosts(1, tmp_path_factory.mktemp("hosts")) as made:
        yield made


@pytest.fixture(scope="module")
def site(hosts: netns.Hosts, folder: Path) -> Iterator[Installation]:
    machines = {
        "transport": '"ssh"',
        "ssh_key": f'"{hosts.key}"',
        "known_hosts": f'"{hosts.known_hosts}"',
    }
    with installation(machines) as made:
        made.commit("Add alice", {"users/alice.yaml": document("User", "alice", "{}")})
        made.start({"HOME": str(folder), "INVOKE_RUN_ECHO": "1", "SSH_AUTH_SOCK": str(folder / "agent")})
        made.until("user/alice", "Ready")
        yield made
        assert made.stop() == 0
    assert not (folder / "trace").exists(), "a program was run that the daemon was not told to run"


def cluster(host: str, python: str = "python3", user: str = netns.LOGIN, env: str = "{}") -> str:
    """Return a cluster with one candidate for its head; the texts are given as YAML."""
    candidate = f"{{name: head, host: {host}, user: {user}}}"
    head = f"{{candidates: [{candidate}], env: {env}}}"
    return document("Cluster", "main", f"\n  ray: {{version: 2.60.0, python: {python}}}\n  head: {head}")


HOSTILE = {
    "LABEL": "x; touch {0}",
    "SUBSTITUTED": "$(touch {0})",
    "BACKTICKS": "`touch {0}`",
    "LINES": "a\ntouch {0}\n",
    "OPTION": "-oProxyCommand=touch {0}",
    "QUOTES": "';touch {0};'\"",
}


def test_no_value_of_a_variable_reaches_a_shell(site: Installation, hosts: netns.Hosts, folder: Path) -> None:
    """Injection by environment: `; touch`, `$(...)`, line ends and options arrive as they were written."""
    trace = folder / "trace"
    wanted = {name: text.format(trace) for name, text in HOSTILE.items()}
    # JSON is YAML.
    text = cluster(hosts.hosts[0].address, str(folder / "python3"), env=json.dumps(wanted))
    site.commit("Add a cluster", {"cluster.yaml": text})
    site.until_file(folder / "python3.seen", "start")
    seen = dict(
        row.split("=", 1)
        for row in (folder / "python3.seen").read_text().split("\0")
        if row.partition("=")[0] in wanted
    )
    assert seen == wanted
    assert not trace.exists()


BAD = {
    "host": cluster('"root@evil:22"'),
    "port": cluster('"evil:22"'),
    "option": cluster('"-oProxyCommand=x"'),
    "command": cluster('"$(id)"'),
    "line": cluster('"evil\\n"'),
    "address": cluster('"127.1"'),
    "login": cluster("evil", user='"root;id"'),
    "name": cluster("evil", env='{"A=1; touch /p; B": "1"}'),
    "linker": cluster("evil", env='{LD_PRELOAD: "/p"}'),
    "python": cluster("evil", python='"python3 -c x"'),
}


def test_a_host_names_a_host_and_a_variable_a_variable(site: Installation, tmp_path: Path) -> None:
    """Shorthands that ssh libraries obey: `root@evil:22`, `-oProxyCommand=x`, names of variables with a command."""
    files = {f"{name}.yaml": text.replace("name: main", f"name: {name}") for name, text in BAD.items()}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    said = site.rayops("validate", str(tmp_path), code=2)
    assert {line.partition(":")[0] for line in said.splitlines() if ".yaml:" in line} == set(files)
    site.commit("Add clusters", files)
    site.until_file(site.status / "summary.json", "python.yaml")
    assert [path.name for path in (site.status / "cluster").iterdir()] == ["main.json"]
    site.commit("Remove them", dict.fromkeys(files))


def test_the_ssh_library_is_new_enough_wherever_it_comes_from() -> None:
    """Old ssh libraries can be tricked in the key exchange; settings, lock and what runs name a newer one."""
    assert int(paramiko.__version__.partition(".")[0]) >= 5
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert "paramiko>=5.1,<6" in dependencies
    for lock in ("requirements.lock", "requirements-dev.lock"):
        assert "\nparamiko==5." in (ROOT / "deploy" / lock).read_text()
