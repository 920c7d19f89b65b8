"""A site on this machine with a real head, a real Git remote and the real stages, driven pass by pass."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import grpc  # type: ignore[import-untyped]  # grpcio ships no types
import urllib3
from ray.core.generated import autoscaler_pb2, autoscaler_pb2_grpc

from reconciler.app.lead import company, running
from reconciler.app.parts import ground
from reconciler.clock import SystemClock
from reconciler.config import read_settings
from reconciler.daemon import Wakeups
from reconciler.desired.load import load_tree
from reconciler.loop import Loop, PassReport
from reconciler.record.journal import LedgerFault
from reconciler.record.ledger import LedgerStore
from reconciler.record.text import Redaction
from reconciler.remote.tokens import Tokens
from tests.benchmarks.scene import Size, files, history
from tests.e2e.installation import Installation, installation

HEAD_SECONDS = 120.0


@dataclass
class Site:
    """The parts that a figure times."""

    place: Installation
    loop: Loop
    wakeups: Wakeups
    token: str

    def pass_for_source(self) -> PassReport:
        """Do one pass that looks at the source, as a signal asks for it."""
        self.wakeups.wake_for_source()
        return self.loop.once()

    def until_quiet(self) -> None:
        """Do passes until there is nothing left to do."""
        quiet, ends = 0, time.monotonic() + HEAD_SECONDS
        while quiet < 3:
            report = self.loop.once()
            quiet = quiet + 1 if report.quiet and self._head_is_up() and not self.loop.busy else 0
            assert time.monotonic() < ends, self.place.trail()
            time.sleep(0.05)

    def _head_is_up(self) -> bool:
        world = self.loop.world
        head = world.ledger.clusters["main"].head if world is not None and world.ledger.clusters else None
        return head is not None and head.published

    @property
    def counters(self) -> tuple[int, int, int]:
        """Contents parsed, status files written, looks at anything but heads."""
        stages = self.loop._stages
        return stages.loader.parsed, stages.recorder._scribe._status.written, stages.collector.looked

    def raw_poll(self) -> None:
        """Ask the head what a look asks, with nothing of ours around it."""
        answer = self._http.request("GET", f"{self._dashboard}/api/version", headers=self._headers)
        assert answer.status == 200
        self._gcs.GetClusterResourceState(
            autoscaler_pb2.GetClusterResourceStateRequest(),
            metadata=(("authorization", f"Bearer {self.token}"),),
            timeout=5,
        )

    def __post_init__(self) -> None:
        gcs, dashboard, _ = self.place.ports
        self._http = urllib3.PoolManager()
        self._dashboard, self._headers = f"http://127.0.0.1:{dashboard}", {"Authorization": f"Bearer {self.token}"}
        self._gcs = autoscaler_pb2_grpc.AutoscalerStateServiceStub(grpc.insecure_channel(f"127.0.0.1:{gcs}"))


@contextmanager
def prepared(size: Size) -> Iterator[Installation]:
    """Make an installation whose repo holds a site of this size, and whose ledger has its history."""
    with installation() as place:
        gcs, dashboard, client = place.ports
        wanted = files(size, ports=(gcs, dashboard, client), drained=True)
        place.commit("all", {path: data.decode() for path, data in wanted.items()})
        settings = read_settings(place.home / "rayops.toml")
        here = ground(settings)
        store = LedgerStore(here.state, here.shared, SystemClock())
        assert not isinstance(store.open(), LedgerFault)
        store.commit(history(size, load_tree(wanted)))
        store.anchor()
        yield place


@contextmanager
def at_work(place: Installation) -> Iterator[Site]:
    """Lead the site in this process until it is quiet."""
    settings, clock = read_settings(place.home / "rayops.toml"), SystemClock()
    wakeups, token = Wakeups(), Tokens(ground(settings).state)
    with (
        company(settings, clock, wakeups, Redaction()) as around,
        running(settings, clock, around) as live,
    ):
        site = Site(place, live.loop, wakeups, "")
        site.until_quiet()
        around.hands.submit(lambda: None).result(HEAD_SECONDS)  # once all is written that was told so far
        yield Site(place, live.loop, wakeups, token.of("main").reveal())


def git(*words: str) -> str:
    """Run git plainly, as a floor does."""
    return subprocess.run(["git", *words], check=True, capture_output=True, text=True).stdout
