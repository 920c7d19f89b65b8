"""One site for all stories: its remote and its head are behind fronts, and one job is never to notice anything."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import netns
from tests.e2e.installation import Installation, Json, Node, installation
from tests.gitremote import http_server
from tests.outages.front import Front
from tests.raycluster import free_ports

# Short limits, so that a fault is over soon; the one of a silent head leaves a busy machine time to answer.
REQUEST_SECONDS, CALL_SECONDS, SILENCE_SECONDS, FETCH_SECONDS = 2, 5, 12, 30
SECONDS = 120.0
# Of each machine of its own that the stories need, and of those that fall ill (test_machines.py).
HOSTS = ("head", "calm", "busy", "banner", "login", "command", "key", "disk", "link")


@dataclass
class Work:
    """A job whose program keeps a diary of its lives, and works until it is let go.

    Two lives at once would be told: the second one finds the lock taken.
    """

    site: Installation
    name: str
    pool: str = "gpu"

    @property
    def path(self) -> str:
        """Where its status is."""
        return f"job/rl/{self.name}"

    @property
    def status(self) -> Json:
        """What people read about it."""
        return self.site.object(self.path) or {}

    @property
    def attempts(self) -> list[Json]:
        """Its attempts, as people read about them."""
        found: list[Json] = self.status["detail"]["attempts"]
        return found

    def lives(self) -> list[str]:
        """Return what the diary says; it is only ever appended to."""
        diary = self.site.home / f"{self.name}.diary"
        return diary.read_text().splitlines() if diary.exists() else []

    def files(self, more: str = "") -> dict[str, str]:
        """Return the file of the job."""
        own = self.site.home / self.name
        script = (
            f"exec 9>>{own}.lock; flock -n 9 || echo twice >>{own}.diary; "
            f'echo "began $RAYOPS_ATTEMPT" >>{own}.diary; '
            f"until [ -e {own}.go ]; do sleep 0.1 9>&-; done; "
            f'echo "ended $RAYOPS_ATTEMPT" >>{own}.diary'
        )
        files = self.site.job(self.name, script, more=more)
        return {path: text.replace("pool: gpu", f"pool: {self.pool}") for path, text in files.items()}

    def begun(self, more: str = "") -> "Work":
        """Commit it, wait until its program lives and Ray says so, and return it."""
        self.site.commit(f"Add {self.name}", self.files(more))
        self.begins()
        self.site.until(self.path, "Running", seconds=SECONDS)
        return self

    def begins(self, number: int = 1) -> None:
        """Wait until the program of an attempt lives."""
        until(self.site, lambda: f"began {number}" in self.lives(), f"attempt {number} of {self.name} begins")

    def ends(self, seconds: float = SECONDS) -> None:
        """Let the program end, and wait until the status says that it did."""
        (self.site.home / f"{self.name}.go").touch()
        self.site.until(self.path, "Succeeded", seconds=seconds)


def until(site: Installation, true: Callable[[], Any], what: str, seconds: float = SECONDS) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not in time: {what}\n{site.trail()}"
        time.sleep(0.1)


@dataclass
class Scene:
    """What stories play with."""

    site: Installation
    remote: Front
    head: Front
    steady: Work
    hosts: netns.Hosts | None = None

    @property
    def source(self) -> Json:
        """What people read about trouble with the source; empty without any."""
        return (self.site.object("summary") or {}).get("source") or {}

    @property
    def cluster(self) -> Json:
        """What people read about the cluster."""
        return self.site.object("cluster/main") or {}

    @property
    def objects(self) -> set[str]:
        """The documents of all that there is."""
        folders = [self.site.status / each for each in ("user", "team", "cluster", "nodepool", "job")]
        return {str(path.relative_to(self.site.status)) for each in folders for path in each.rglob("*.json")}

    def host(self, name: str) -> netns.Host:
        """Return a machine of its own."""
        assert self.hosts is not None, "stories about machines are skipped without any"
        return self.hosts.hosts[HOSTS.index(name)]

    def node(self, name: str, host: str) -> Node:
        """Return a node that the YAML can name."""
        return Node(name) if self.hosts is None else Node(name, self.host(host).address, netns.LOGIN)

    def until(self, true: Callable[[], Any], what: str) -> None:
        """Wait until something is so."""
        until(self.site, true, what)

    def source_is(self, fault: str | None) -> Json:
        """Wait until people read this about the source, and return all of it."""
        self.until(lambda: self.source.get("fault") == fault, f"the source is {fault}")
        return self.source

    def is_well(self) -> None:
        """Wait until nothing is left of any fault; the steady job was never touched."""
        self.source_is(None)
        for path in ("cluster/main", "nodepool/calm", "nodepool/gpu"):
            self.site.until(path, "Ready", seconds=SECONDS)
        self.site.until(self.steady.path, "Running", seconds=SECONDS)
        assert self.steady.lives() == ["began 1"]


def pool(name: str, *nodes: Node) -> dict[str, str]:
    """Return the file of a pool."""
    listed = "".join(f"    - {node.yaml()}\n" for node in nodes)
    return {
        f"nodepools/{name}.yaml": (
            f"apiVersion: rayops/v1\nkind: NodePool\nmetadata: {{name: {name}}}\nspec:\n"
            f"  cluster: main\n  join: ssh\n  perNode: {{gpus: 4, cpus: 2}}\n  nodes:\n{listed}"
        )
    }


@contextmanager
def scene(folder: Path) -> Iterator[Scene]:
    """Build it, with machines of their own where they can be made."""
    with ExitStack() as stack:
        hosts = None
        if not netns.missing():
            hosts = stack.enter_context(netns.hosts(len(HOSTS), folder))
        gcs, dashboard, client, hidden, git = free_ports(5)
        site = stack.enter_context(installation(_machines(hosts), _limits(git)))
        site.ports = [gcs, dashboard, client]
        server = stack.enter_context(http_server(site.home))
        address = "127.0.0.1" if hosts is None else hosts.hosts[0].address
        head = Front((address, dashboard), (address, hidden))
        if hosts is not None:
            head.listen = hosts.hosts[0].listen
        made = Scene(
            site,
            Front(("127.0.0.1", git), ("127.0.0.1", server.server_port)),
            head,
            Work(site, "steady", "calm"),
            hosts,
        )
        for front in (made.remote, made.head):
            front.open()
            stack.callback(front.close)
        site.commit("Describe the site", _documents(made))
        site.start()
        until(site, made.steady.lives, "the site is up", 2 * SECONDS)
        yield made


def _machines(hosts: netns.Hosts | None) -> dict[str, str]:
    if hosts is None:
        return {"transport": '"local"'}
    return {"transport": '"ssh"', "ssh_key": f'"{hosts.key}"', "known_hosts": f'"{hosts.known_hosts}"'}


def _limits(git: int) -> dict[str, dict[str, str]]:
    return {
        "source": {
            "url": f'"http://127.0.0.1:{git}/desired/.git"',
            "allow_http": "true",
            "poll": '"1s"',
            "timeout": f'"{FETCH_SECONDS}s"',
        },
        "ray": {"request_timeout": f'"{REQUEST_SECONDS}s"'},
        "machines": {"call_timeout": f'"{CALL_SECONDS}s"', "connect_timeout": '"2s"'},
        "tuning": {
            "visibility": '"1s"',
            "head_silence": f'"{SILENCE_SECONDS}s"',
            "backoff_base": '"1s"',
            "backoff_cap": '"2s"',
        },
    }


def _documents(made: Scene) -> dict[str, str]:
    files = made.site.base(made.node("head-1", "head"), [])
    cluster = files["clusters/main.yaml"]
    python = cluster.partition("python: ")[2].partition("}")[0]
    files["clusters/main.yaml"] = cluster.replace(python, str(_aside(made, python)))
    files |= pool("calm", made.node("node-1", "calm"))
    files |= pool("gpu", made.node("node-2", "busy"))
    return {**files, **made.steady.files()}


def _aside(made: Scene, python: str) -> Path:
    """Return an interpreter under which a head's dashboard listens where the front expects it."""
    aside = made.site.home / "python"
    named, real = made.head.place[1], made.head.server[1]
    aside.write_text(
        "#!/bin/sh\nfor word do\n  shift\n"
        f'  [ "$word" = --dashboard-port={named} ] && word=--dashboard-port={real}\n'
        f'  set -- "$@" "$word"\ndone\nexec {python} "$@"\n'
    )
    aside.chmod(0o755)
    return aside
