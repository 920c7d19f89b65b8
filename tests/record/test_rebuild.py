import errno
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.kind import Doors
from reconciler.kinds.job.execute import _attempt, _write_directory
from reconciler.kinds.job.plan import plan as plan_jobs
from reconciler.kinds.job.submit import submission, submission_id
from reconciler.model.desired import Desired, Loaded
from reconciler.model.document import identity, parse
from reconciler.model.ids import ObjectId
from reconciler.model.job import Job
from reconciler.model.json import canonical
from reconciler.model.ledger import Attempt, Ledger, Meta
from reconciler.model.machine import Machine
from reconciler.model.plan import Action
from reconciler.model.ray import HeadAddress
from reconciler.model.spec import spec_digest
from reconciler.model.states import JobState
from reconciler.model.world import Observed, World
from reconciler.record import journal
from reconciler.record.ledger import LedgerStore
from reconciler.record.rebuild import Rebuilt, rebuild
from reconciler.remote.files import FilesError
from tests.fakes.files import FakeFiles
from tests.fakes.signer import FakeSigner
from tests.kinds.desired_words import said
from tests.record.clock import START, HandClock

NOW = HandClock().now()
NODE = {"name": "n1", "host": "10.0.0.11", "user": "ray"}
CLUSTER = {
    "apiVersion": "rayops/v1",
    "kind": "Cluster",
    "metadata": {"name": "main"},
    "spec": {
        "ray": {"version": "2.60.0"},
        "head": {"candidates": ({"name": "h1", "host": "10.0.0.1", "user": "ray"},)},
    },
}
POOL = {
    "apiVersion": "rayops/v1",
    "kind": "NodePool",
    "metadata": {"name": "h20"},
    "spec": {"cluster": "main", "join": "ssh", "perNode": {"gpus": 4, "cpus": 8}, "nodes": (NODE,)},
}
HEAD = {
    "site": "s1",
    "cluster": "main",
    "epoch": 4,
    "session": "session_x",
    "rayVersion": "2.60.0",
    "host": "10.0.0.1",
    "gcsPort": 6379,
    "dashboardPort": 8265,
    "issuedAt": "2026-03-01T10:00:00+00:00",
}


def _job(name: str = "ppo", team: str = "rl", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "rayops/v1",
        "kind": "Job",
        "metadata": {"name": name, "team": team},
        "spec": {"user": "alice", "pool": "h20", "workload": {"type": "command", "argv": ("true",)}, **spec},
    }


def _desired(*documents: Mapping[str, Any]) -> Desired:
    objects = {}
    for plain in (CLUSTER, POOL, *documents):
        document = parse(plain)
        who = identity(document)
        objects[who] = Loaded(who, said(document), spec_digest(document), f"{who.name}.yaml", "x")
    return Desired("c1", objects)


class _Site:
    """A shared directory, as a daemon and its jobs leave it behind."""

    def __init__(self) -> None:
        self.shared = FakeFiles()
        self.shared.write(".rayops/site.json", b'{"site":"s1","sequence":900,"term":7}')
        self.put(".rayops/clusters/main/head.json", {"payload": orjson.dumps(HEAD).decode(), "signature": "x"})

    def put(self, path: str, value: object) -> None:
        self.shared.write(path, orjson.dumps(value))

    def submit(
        self,
        plain: Mapping[str, Any],
        number: int,
        epoch: int = 4,
        nodes: tuple[str, ...] = ("n1",),
        folder: str = "",
    ) -> str:
        """Write a job directory with the daemon's own hands; `folder` is for checkpoints."""
        job = parse(plain)
        assert isinstance(job, Job)
        name = submission_id(identity(job), spec_digest(job), number)
        attempt = Attempt(number, name, spec_digest(job), "main", epoch, nodes, Machine("h", "u"), NOW)
        folders = {str(identity(job)): folder} if folder else {}
        world = World(_desired(plain), Observed(), Ledger(Meta("s1"), folders=folders), NOW)
        effect = submission(job, attempt, HeadAddress("main", "h", 1, 2, 3), world)
        site = SimpleNamespace(shared_root="/shared", program="/p.pyz", program_sha256="0" * 64)
        doors = SimpleNamespace(shared=self.shared, site=site, signer=FakeSigner())
        given = cast(Doors, doors)
        _write_directory(given, effect, canonical(_attempt(given, effect)), "exec x")
        return name

    def claim(self, name: str, **more: object) -> None:
        claim = {"submissionId": name, "hostName": "host-1", "claimedAt": "2026-03-01T11:00:00Z", **more}
        self.put(f"jobs/{name}/claim.json", claim)

    def end(self, name: str, outcome: str = "exited", code: int | None = 0) -> None:
        result = {"submissionId": name, "outcome": outcome, "exitCode": code, "signal": None, "message": ""}
        self.put(f"jobs/{name}/result.json", {**result, "endedAt": "2026-03-01T11:30:00Z"})


PPO = ObjectId("Job", "rl", "ppo")


def test_what_runs_is_recorded_as_running_where_it_runs() -> None:
    site = _Site()
    name = site.submit(_job(), 3)
    site.claim(name)
    desired = _desired(_job())
    found = rebuild(site.shared, desired, NOW)
    record = found.ledger.job(PPO)
    assert record is not None
    assert record.live is not None
    assert (record.live.submission_id, record.live.number, record.live.epoch) == (name, 3, 4)
    assert (record.live.nodes, record.live.machine) == (("n1",), Machine("10.0.0.11", "ray"))
    assert record.digest == record.live.digest == desired.objects[PPO].digest
    assert record.live.running is not None
    assert NOW.since(record.live.running) == timedelta(hours=1)
    assert found.notes == ()


def test_what_was_only_intended_may_live_too() -> None:
    site = _Site()
    site.submit(_job(), 1)
    record = rebuild(site.shared, _desired(_job()), NOW).ledger.job(PPO)
    assert record is not None
    assert record.live is not None
    assert record.live.submitted is None


@pytest.mark.parametrize(
    ("outcome", "code", "state"),
    [
        ("exited", 0, JobState.SUCCEEDED),
        ("exited", 1, JobState.FAILED),
        ("exited", None, JobState.FAILED),
        ("stopped", 143, JobState.STOPPED),
        ("timed-out", None, JobState.TIMED_OUT),
        ("fenced", None, JobState.LOST),
        ("not-started", None, JobState.FAILED),
        ("nonsense", None, JobState.FAILED),
    ],
)
def test_what_has_ended_stays_ended(outcome: str, code: int | None, state: JobState) -> None:
    site = _Site()
    name = site.submit(_job(), 1)
    site.claim(name)
    site.end(name, outcome, code)
    record = rebuild(site.shared, _desired(_job()), NOW).ledger.job(PPO)
    assert record is not None
    assert record.closed is not None
    assert (record.live, record.closed.state) == (None, state)
    assert record.closed.at.wall == datetime(2026, 3, 1, 11, 30, tzinfo=UTC)


def test_a_burnt_claim_never_ran() -> None:
    site = _Site()
    name = site.submit(_job(), 1)
    site.put(f"jobs/{name}/claim.json", {"submissionId": name, "burnt": True})
    record = rebuild(site.shared, _desired(_job()), NOW).ledger.job(PPO)
    assert record is not None
    assert record.live is None


def test_no_desired_job_is_submitted_again() -> None:
    site = _Site()
    jobs = [_job(f"j{i}") for i in range(3)]
    names = [site.submit(job, 1) for job in jobs]
    site.claim(names[0])
    site.end(names[0])
    site.claim(names[1])
    desired = _desired(*jobs)
    found = rebuild(site.shared, desired, NOW)
    decisions = list(plan_jobs(World(desired, Observed(), found.ledger, NOW)))
    assert [each for each in decisions if isinstance(each, Action)] == []


@pytest.mark.parametrize("name", ["x-y.a-b-0123abcd-8", "x-y.a-b-0123abcd-0123abcd-8"])
def test_every_number_stays_used_although_nothing_else_is_told(name: str) -> None:
    site = _Site()
    site.shared.write(f"jobs/{name}/claim.json", b"\xff")
    numbers = rebuild(site.shared, _desired(), NOW).ledger.numbers
    assert list(numbers.values()) == [8]
    assert next(iter(numbers)).startswith("job/x-y/a-b")


@pytest.mark.parametrize(
    "name", ["ppo", "rl.ppo", "rl.ppo-0123abcd-0", "rl.-ppo-0123abcd-1", "rl.ppo-0123ABCD-1", "a.b.c-0123abcd-1"]
)
def test_folders_of_others_are_named(name: str) -> None:
    site = _Site()
    site.shared.write(f"jobs/{name}/claim.json", b"{}")
    found = rebuild(site.shared, _desired(), NOW)
    assert (found.ledger.numbers, len(found.notes)) == ({}, 1)


def test_finished_jobs_that_left_the_repo_leave_only_their_numbers() -> None:
    site = _Site()
    name = site.submit(_job(), 5)
    site.claim(name)
    site.end(name)
    ledger = rebuild(site.shared, _desired(), NOW).ledger
    assert (dict(ledger.jobs), ledger.numbers["job/rl/ppo"]) == ({}, 5)


def test_what_runs_although_it_left_the_repo_waits_for_the_brakes() -> None:
    site = _Site()
    site.claim(site.submit(_job(), 5))
    ledger = rebuild(site.shared, _desired(), NOW).ledger
    assert ledger.jobs["job/rl/ppo"].live is not None
    assert not ledger.known["Job/rl/ppo"].released


def test_of_many_attempts_only_the_last_may_live() -> None:
    site = _Site()
    for number in range(1, 31):
        name = site.submit(_job(), number)
        site.claim(name)
    site.end(site.submit(_job(), 29), code=1)
    ledger = rebuild(site.shared, _desired(_job()), NOW).ledger
    record = ledger.job(PPO)
    assert ledger.numbers["job/rl/ppo"] == 30
    assert record is not None
    assert [a.number for a in record.attempts] == list(range(11, 31))
    assert [a.number for a in record.attempts if a.ended is None] == [30]
    assert {a.ended.state for a in record.attempts[:-2] if a.ended} == {JobState.LOST}


def test_an_older_generation_is_not_taken_for_the_desired_one() -> None:
    site = _Site()
    name = site.submit(_job(), 1)
    site.claim(name)
    site.end(name)
    desired = _desired(_job(rerun=1))
    record = rebuild(site.shared, desired, NOW).ledger.job(PPO)
    assert record is not None
    assert record.digest != desired.objects[PPO].digest


def test_the_head_goes_on_with_its_session_and_epoch() -> None:
    desired = _desired()
    cluster = rebuild(_Site().shared, desired, NOW).ledger.clusters["main"]
    assert cluster.epoch == 4
    assert cluster.head is not None
    assert (cluster.head.node, cluster.head.session, cluster.head.published) == ("h1", "session_x", True)
    assert (cluster.head.machine, cluster.head.ports) == (Machine("10.0.0.1", "ray"), (6379, 8265, 10001))
    assert cluster.head.digest == desired.objects[ObjectId("Cluster", "", "main")].digest


@pytest.mark.parametrize(
    "changes",
    [{"epoch": "4"}, {"epoch": -1}, {"epoch": True}, {"session": None}, {"cluster": "other"}, {"host": "10.9.9.9"}],
    ids=str,
)
def test_an_epoch_is_never_used_again_when_the_head_file_is_rubbish(changes: Mapping[str, object]) -> None:
    site = _Site()
    payload = orjson.dumps({**HEAD, **changes}).decode()
    site.put(".rayops/clusters/main/head.json", {"payload": payload, "signature": "x"})
    site.submit(_job(), 1, epoch=3)
    found = rebuild(site.shared, _desired(_job()), NOW)
    assert found.ledger.clusters["main"].epoch >= 3
    assert found.ledger.clusters["main"].head is None
    assert any("cluster main" in note for note in found.notes)


def test_a_renamed_job_keeps_its_folder_for_checkpoints_and_its_old_name_gets_another_one() -> None:
    site = _Site()
    site.end(site.submit(_job("old"), 2))
    site.submit(_job("new"), 3, folder="old")
    desired = _desired(_job("old"), _job("new"))
    ledger, notes = (found := rebuild(site.shared, desired, NOW)).ledger, found.notes
    assert ledger.folders == {"job/rl/new": "old", "job/rl/old": "old.3"}
    assert ledger.numbers == {"job/rl/new": 3, "job/rl/old": 3}
    assert [note for note in notes if "job/rl/old" in note and "job/rl/new" in note]


def test_the_old_name_gets_another_folder_also_when_its_own_directories_are_gone() -> None:
    site = _Site()
    site.submit(_job("new"), 3, folder="old")
    ledger = rebuild(site.shared, _desired(_job("new")), NOW).ledger
    assert ledger.folders == {"job/rl/new": "old", "job/rl/old": "old.1"}


def test_what_came_under_an_old_name_keeps_the_folder_that_it_got() -> None:
    site = _Site()
    site.submit(_job("new"), 3, folder="old")
    site.submit(_job("old"), 4, folder="old.3")
    found = rebuild(site.shared, _desired(_job("old"), _job("new")), NOW)
    assert found.ledger.folders == {"job/rl/new": "old", "job/rl/old": "old.3"}
    assert found.notes == ()


def test_a_name_that_was_taken_back_has_its_folder_again() -> None:
    site = _Site()
    site.end(site.submit(_job("new"), 2, folder="old"))
    site.submit(_job("old"), 3)
    found = rebuild(site.shared, _desired(_job("old")), NOW)
    assert found.ledger.folders == {"job/rl/new": "new.3"}
    assert found.notes == ()


@pytest.mark.parametrize(
    "told", ["/s/checkpoints/rl/..", "/s/checkpoints/nlp/x", "/s/x", "/s/checkpoints/rl/.5", "x", "", 7, None]
)
def test_a_folder_that_no_job_of_ours_has_is_not_believed(told: object) -> None:
    site = _Site()
    name = site.submit(_job(), 1)
    path = f"jobs/{name}/config/attempt.json"
    site.put(path, {**orjson.loads(site.shared.read(path) or b""), "checkpoints": told})
    assert rebuild(site.shared, _desired(_job()), NOW).ledger.folders == {}


def test_a_head_file_older_than_an_attempt_names_no_head() -> None:
    site = _Site()
    site.submit(_job(), 1, epoch=5)
    cluster = rebuild(site.shared, _desired(_job()), NOW).ledger.clusters["main"]
    assert (cluster.epoch, cluster.head) == (5, None)


def test_the_order_of_another_attempt_says_nothing() -> None:
    site = _Site()
    name = site.submit(_job(), 1)
    other = site.shared.read(f"jobs/{site.submit(_job(), 2, epoch=99)}/config/attempt.json")
    site.shared.write(f"jobs/{name}/config/attempt.json", other or b"")
    record = rebuild(site.shared, _desired(_job()), NOW).ledger.job(PPO)
    assert record is not None
    assert [a.number for a in record.attempts] == [2]


def test_the_rebuilt_ledger_continues_behind_the_anchor() -> None:
    site = _Site()
    found = rebuild(site.shared, _desired(), NOW)
    assert (found.ledger.meta, found.ledger.sequence) == (Meta("s1", 7), 901)
    store = LedgerStore(FakeFiles(), site.shared, HandClock())
    store.adopt(found.ledger)
    assert store.open() == found.ledger


def test_without_an_anchor_the_head_files_tell_the_site() -> None:
    site = _Site()
    site.shared.remove(".rayops/site.json")
    assert rebuild(site.shared, _desired(), NOW).ledger.meta.site == "s1"
    site.shared.remove(".rayops/clusters/main/head.json")
    lost = rebuild(site.shared, _desired(), NOW)
    assert len(lost.ledger.meta.site) == 16
    assert lost.notes


def test_what_may_run_but_cannot_be_placed_is_left_to_people() -> None:
    site = _Site()
    name = site.submit(_job(), 6)
    site.shared.write(f"jobs/{name}/config/attempt.json", b"{")
    site.shared.write("jobs/notes.txt", b"")
    found = rebuild(site.shared, _desired(_job()), NOW)
    assert found.ledger.numbers["job/rl/ppo"] == 6
    assert len(found.notes) == 2
    assert name in " ".join(found.notes)


def test_a_success_counts_although_its_order_is_lost() -> None:
    site = _Site()
    name = site.submit(_job(), 6)
    site.end(name)
    site.shared.remove(f"jobs/{name}/config/attempt.json")
    record = rebuild(site.shared, _desired(_job()), NOW).ledger.job(PPO)
    assert record is not None
    assert record.closed is not None
    assert record.closed.state is JobState.SUCCEEDED


def test_a_time_in_the_future_is_not_believed() -> None:
    site = _Site()
    site.claim(site.submit(_job(), 1), claimedAt="2999-01-01T00:00:00Z")
    record = rebuild(site.shared, _desired(_job()), NOW).ledger.job(PPO)
    assert record is not None
    assert record.entered.wall == START


@pytest.mark.parametrize(
    "path", ["jobs", "jobs/rl.ppo", ".rayops/clusters", ".rayops/clusters/main", ".rayops/site.json"]
)
def test_a_share_that_fails_gives_no_half_ledger(path: str) -> None:
    site = _Site()
    site.submit(_job(), 1)
    site.shared.fail(errno.ESTALE, step="look", path=path)
    with pytest.raises(FilesError):
        rebuild(site.shared, _desired(_job()), NOW)


def test_a_link_in_a_job_directory_is_rubbish_and_stops_nothing() -> None:
    site = _Site()
    name = site.submit(_job(), 1)
    site.shared.fail(errno.ELOOP, step="look", path=f"jobs/{name}/result.json")
    assert rebuild(site.shared, _desired(_job()), NOW).ledger.jobs["job/rl/ppo"].live is not None


HOSTILE = [
    b'{"submissionId":"%s","outcome":"exited","exitCode":1,"endedAt":"0001-01-01T00:00:00+14:00"}',
    b'{"submissionId":"%s","outcome":"exited","exitCode":1,"endedAt":"9999-12-31T23:59:59-14:00"}',
    b'{"submissionId":"%s","outcome":"exited","exitCode":true}',
    b'{"submissionId":"%s","message":' + b"[" * 1020 + b"]" * 1020 + b"}",
]


@pytest.mark.parametrize("result", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_result_is_the_end_of_its_attempt_and_of_nothing_else(result: bytes) -> None:
    site = _Site()
    name = site.submit(_job(), 1)
    site.shared.write(f"jobs/{name}/claim.json", b'{"hostName":' + b"[" * 1020 + b"]" * 1020 + b"}")
    site.shared.write(f"jobs/{name}/result.json", result % name.encode())
    ledger = rebuild(site.shared, _desired(_job()), NOW).ledger
    record = ledger.job(PPO)
    assert record is not None
    assert record.live is None
    recalled = journal.read(journal.snapshot(ledger, NOW.wall)[0], "journal")
    assert isinstance(recalled, journal.Recalled), str(recalled)


rubbish = st.binary(max_size=40) | st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["submissionId", "cluster", "epoch", "env", "payload", "x"]), inner, max_size=4
        )
    ),
).map(orjson.dumps)


@given(
    st.dictionaries(
        st.sampled_from(["config/attempt.json", "config/spec.yaml", "claim.json", "result.json"]), rubbish
    ),
    rubbish,
)
def test_no_rubbish_stops_the_rebuilding_or_frees_a_number(files: Mapping[str, bytes], head: bytes) -> None:
    site = _Site()
    name = site.submit(_job(), 2)
    for path, data in files.items():
        site.shared.write(f"jobs/{name}/{path}", data)
    site.shared.write(".rayops/clusters/main/head.json", head)
    found: Rebuilt = rebuild(site.shared, _desired(_job()), NOW)
    assert found.ledger.numbers["job/rl/ppo"] == 2
    record = found.ledger.job(PPO)
    assert (record is not None and record.live is not None) or any(name in note for note in found.notes)
