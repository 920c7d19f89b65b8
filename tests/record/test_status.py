import errno
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.desired import FileError
from reconciler.model.ids import ObjectId
from reconciler.model.plan import Held
from reconciler.model.snapshot import SourceFault, SourceProblem
from reconciler.model.status import Condition, Health, ObjectStatus, Sync
from reconciler.record.document import HISTORY_LENGTH, Overview
from reconciler.record.status import StatusWriter
from reconciler.record.text import MAX_MESSAGE, Redaction
from reconciler.remote.disk import DiskFiles
from reconciler.remote.files import Files, FilesError, FileStamp
from tests.fakes.files import Crash, FakeFiles
from tests.record.clock import START, HandClock

VIEW = Overview("c1")
TREE = ("", "job", "job/rl", "job/cv", "cluster", "queue")


def _job(name: str = "ppo", state: str = "Running", **changes: Any) -> ObjectStatus:
    usual = ObjectStatus(
        kind="Job",
        team="rl",
        name=name,
        revision="c1",
        specDigest="d1",
        state=state,
        sync=Sync.SYNCED,
        health=Health.READY,
        reason="AsDesired",
        message="attempt 1 runs",
        conditions=(Condition("Complete", "False", state, ""),),
        detail={
            "user": "alice",
            "attempts": [{"number": 1, "nodes": ["n1"], "message": "m"}],
            "labels": {"a": "b"},
        },
    )
    return replace(usual, **changes)


def _cluster(name: str = "main", state: str = "Ready") -> ObjectStatus:
    return ObjectStatus("Cluster", "", name, "c1", "d9", state, Sync.SYNCED, Health.READY, "AsDesired", "")


def _read(files: Files, path: str) -> Any:
    data = files.read(path)
    assert data is not None, path
    return orjson.loads(data)


def _stamps(files: FakeFiles) -> dict[str, FileStamp | None]:
    found = {}
    for folder in TREE:
        for name in files.list(folder):
            path = f"{folder}/{name}".lstrip("/")
            if path.endswith(".json"):
                found[path] = files.stamp(path)
    return found


class _Daemon:
    """A daemon that may start again on the same directory."""

    def __init__(self, redaction: Redaction | None = None) -> None:
        self.files = FakeFiles()
        self.clock = HandClock()
        self.redaction = redaction
        self.restart()

    def restart(self) -> None:
        self.writer = StatusWriter(self.files, self.clock, self.redaction)

    def write(self, *changed: ObjectStatus, removed: tuple[str, ...] = (), view: Overview = VIEW) -> None:
        assert self.writer.write(changed, removed, view) is None

    def later(self, seconds: int = 60) -> str:
        self.clock.advance(timedelta(seconds=seconds))
        return self.clock.now().wall.strftime("%Y-%m-%dT%H:%M:%SZ")


def test_a_document_says_everything_about_its_object() -> None:
    daemon = _Daemon()
    daemon.write(_job())
    assert _read(daemon.files, "job/rl/ppo.json") == {
        "apiVersion": "rayops.status/v1",
        "kind": "Job",
        "metadata": {"name": "ppo", "team": "rl", "labels": {"a": "b"}},
        "observed": {"revision": "c1", "specDigest": "d1", "asOf": "2026-03-01T12:00:00Z"},
        "state": "Running",
        "sync": "Synced",
        "health": "Ready",
        "reason": "AsDesired",
        "message": "attempt 1 runs",
        "since": "2026-03-01T12:00:00Z",
        "conditions": [
            {
                "type": "Complete",
                "status": "False",
                "reason": "Running",
                "message": "",
                "lastTransitionTime": "2026-03-01T12:00:00Z",
            }
        ],
        "detail": {"user": "alice", "attempts": [{"number": 1, "nodes": ["n1"], "message": "m"}]},
        "history": [{"at": "2026-03-01T12:00:00Z", "state": "Running", "reason": "AsDesired"}],
    }


def test_documents_are_for_people_and_always_the_same_bytes() -> None:
    daemon = _Daemon()
    daemon.write(_job())
    data = daemon.files.read("job/rl/ppo.json")
    assert data is not None
    assert data.endswith(b"\n}\n")
    assert data == orjson.dumps(
        orjson.loads(data), option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    )


@pytest.mark.parametrize("restarted", [False, True], ids=["same daemon", "after a restart"])
def test_what_did_not_change_is_not_rewritten_although_time_and_revision_moved(*, restarted: bool) -> None:
    daemon = _Daemon()
    daemon.write(_job(), _cluster(), _job("sft", "Queued"))
    before = _stamps(daemon.files)
    daemon.later()
    if restarted:
        daemon.restart()
    daemon.write(_job(revision="c2"), _cluster(), _job("sft", "Queued", revision="c2"))
    assert _stamps(daemon.files) == before
    daemon.write(view=Overview("c2"))
    assert {path for path, stamp in _stamps(daemon.files).items() if before[path] != stamp} == {"summary.json"}


def test_only_the_changed_object_the_summary_and_the_index_are_written() -> None:
    daemon = _Daemon()
    daemon.write(_job(), _job("sft"), _cluster())
    before = _stamps(daemon.files)
    daemon.later()
    daemon.write(_job("sft", "Succeeded"))
    changed = {path for path, stamp in _stamps(daemon.files).items() if before[path] != stamp}
    assert changed == {"job/rl/sft.json", "summary.json", "index.json"}


def test_a_start_without_index_compares_with_the_documents() -> None:
    daemon = _Daemon()
    daemon.write(_job())
    stamp = daemon.files.stamp("job/rl/ppo.json")
    daemon.files.remove("index.json")
    daemon.later()
    daemon.restart()
    daemon.write(_job())
    assert daemon.files.stamp("job/rl/ppo.json") == stamp
    assert [row["name"] for row in _read(daemon.files, "index.json")["objects"]] == ["ppo"]


@pytest.mark.parametrize(
    "rubbish",
    [
        b"",
        b"[]",
        b"{",
        b'{"objects":7}',
        b'{"objects":[7,{"kind":"Job"}]}',
        b'{"state":3,"history":{},"conditions":1}',
    ],
)
@pytest.mark.parametrize("path", ["index.json", "job/rl/ppo.json", "summary.json"])
def test_rubbish_in_the_directory_is_replaced(rubbish: bytes, path: str) -> None:
    daemon = _Daemon()
    daemon.write(_job())
    good = {each: _read(daemon.files, each) for each in ("index.json", "job/rl/ppo.json", "summary.json")}
    daemon.files.write(path, rubbish)
    daemon.files.remove("index.json") if path != "index.json" else None
    daemon.restart()
    daemon.write(_job())
    assert {each: _read(daemon.files, each) for each in good} == good


@pytest.mark.parametrize("name", ["job/.ppo.json.swp", "job/notes", "cluster/main.json~"])
def test_a_stray_file_keeps_nobody_from_reading(tmp_path: Path, name: str) -> None:
    files = DiskFiles(tmp_path)
    assert StatusWriter(files, HandClock()).write([_job(), _cluster()], [], VIEW) is None
    files.write(name, b"not ours")
    (tmp_path / "job/link").symlink_to("/etc")
    restarted = StatusWriter(files, HandClock())
    assert restarted.write([_job(state="Succeeded")], [], VIEW) is None
    assert _read(files, "job/rl/ppo.json")["state"] == "Succeeded"
    assert restarted.paths() == {"cluster/main.json", "job/rl/ppo.json"}
    assert files.read(name) == b"not ours"


def test_a_document_that_vanished_is_written_again_after_a_restart() -> None:
    daemon = _Daemon()
    daemon.write(_job())
    daemon.files.remove("job/rl/ppo.json")
    daemon.restart()
    daemon.write(_job())
    assert _read(daemon.files, "job/rl/ppo.json")["state"] == "Running"


def test_since_and_history_follow_the_state() -> None:
    daemon = _Daemon()
    daemon.write(_job(state="Queued"))
    began = daemon.later()
    daemon.write(_job(state="Running", reason="New"))
    daemon.later()
    daemon.restart()
    daemon.write(_job(state="Running", message="attempt 1 still runs"))
    document = _read(daemon.files, "job/rl/ppo.json")
    assert document["since"] == began
    assert [(e["state"], e["reason"]) for e in document["history"]] == [("Queued", "AsDesired"), ("Running", "New")]


def test_the_parts_of_an_object_say_since_when_they_are_as_they_are() -> None:
    def pool(**states: str) -> ObjectStatus:
        rows = [{"name": name, "state": state, "started": START} for name, state in states.items()]
        return replace(_cluster(), kind="NodePool", detail={"nodes": rows})

    def since() -> dict[str, str]:
        return {row["name"]: row["since"] for row in _read(daemon.files, "nodepool/main.json")["detail"]["nodes"]}

    daemon = _Daemon()
    daemon.write(pool(n1="pending", n2="pending"))
    began = since()["n1"]
    joined = daemon.later()
    daemon.write(pool(n1="online", n2="pending"))
    assert since() == {"n1": joined, "n2": began}
    daemon.later()
    daemon.restart()
    stamp = daemon.files.stamp("nodepool/main.json")
    daemon.write(pool(n1="online", n2="pending"))
    assert daemon.files.stamp("nodepool/main.json") == stamp
    lost = daemon.later()
    daemon.write(pool(n1="lost", n3="pending"))
    assert since() == {"n1": lost, "n3": lost}


def test_history_is_bounded() -> None:
    daemon = _Daemon()
    for i in range(25):
        daemon.later()
        daemon.write(_job(state=f"S{i}"))
    history = _read(daemon.files, "job/rl/ppo.json")["history"]
    assert [e["state"] for e in history] == [f"S{i}" for i in range(25 - HISTORY_LENGTH, 25)]


def test_a_condition_keeps_its_transition_time_until_its_status_changes() -> None:
    daemon = _Daemon()
    daemon.write(_job())
    daemon.later()
    daemon.write(_job(conditions=(Condition("Complete", "False", "Other", "why"),)))
    kept = _read(daemon.files, "job/rl/ppo.json")["conditions"][0]
    assert (kept["reason"], kept["lastTransitionTime"]) == ("Other", "2026-03-01T12:00:00Z")
    moved = daemon.later()
    daemon.write(_job(conditions=(Condition("Complete", "True", "Done", ""),)))
    assert _read(daemon.files, "job/rl/ppo.json")["conditions"][0]["lastTransitionTime"] == moved


def test_the_revision_of_a_document_is_the_one_that_changed_it() -> None:
    daemon = _Daemon()
    daemon.write(_job())
    daemon.later()
    daemon.write(_job(revision="c2"))
    assert _read(daemon.files, "job/rl/ppo.json")["observed"]["revision"] == "c1"
    daemon.write(_job(revision="c3", specDigest="d3"))
    assert _read(daemon.files, "job/rl/ppo.json")["observed"]["revision"] == "c3"


def test_as_of_is_when_the_pass_looked() -> None:
    daemon = _Daemon()
    daemon.later(600)
    daemon.write(_job(), view=Overview("c1", as_of=START))
    assert _read(daemon.files, "job/rl/ppo.json")["observed"]["asOf"] == "2026-03-01T12:00:00Z"


def test_removed_objects_leave_no_file_no_row_and_no_empty_folder() -> None:
    daemon = _Daemon()
    daemon.write(_job(), _cluster())
    daemon.restart()
    assert daemon.writer.paths() == {"job/rl/ppo.json", "cluster/main.json"}
    daemon.write(removed=("job/rl/ppo.json", "job/rl/never-was.json"))
    assert daemon.files.list("job/rl") == ()
    assert "rl" not in daemon.files.list("job")
    assert [row["kind"] for row in _read(daemon.files, "index.json")["objects"]] == ["Cluster"]
    assert daemon.writer.paths() == {"cluster/main.json"}


def test_the_index_is_sorted_and_holds_what_tables_need() -> None:
    daemon = _Daemon()
    daemon.write(_job("b"), _job("a"), _cluster(), _job("c", team="cv", detail={}))
    rows = _read(daemon.files, "index.json")["objects"]
    assert [(row["kind"], row["team"], row["name"]) for row in rows] == [
        ("Cluster", "", "main"),
        ("Job", "cv", "c"),
        ("Job", "rl", "a"),
        ("Job", "rl", "b"),
    ]
    row = dict(rows[2])
    assert len(row.pop("content")) == 32
    assert row == {
        "kind": "Job",
        "team": "rl",
        "name": "a",
        "metadata": {"name": "a", "team": "rl", "labels": {"a": "b"}},
        "state": "Running",
        "sync": "Synced",
        "health": "Ready",
        "reason": "AsDesired",
        "message": "attempt 1 runs",
        "since": "2026-03-01T12:00:00Z",
        "observed": {"revision": "c1"},
        "detail": {"user": "alice", "attempts": [{"number": 1, "nodes": ["n1"]}]},
        "path": "job/rl/a.json",
    }


def test_the_summary_counts_what_is_there() -> None:
    daemon = _Daemon()
    daemon.write(_job("a"), _job("b", "Queued"), _job("c", "Queued"), _cluster())
    daemon.write(_job("b", "Running"), removed=("job/rl/c.json",))
    daemon.restart()
    daemon.write()
    assert _read(daemon.files, "summary.json")["counts"] == {
        "Cluster": {"total": 1, "state": {"Ready": 1}, "sync": {"Synced": 1}, "health": {"Ready": 1}},
        "Job": {"total": 2, "state": {"Running": 2}, "sync": {"Synced": 2}, "health": {"Ready": 2}},
    }


def test_the_summary_says_what_holds_the_site_back() -> None:
    daemon = _Daemon()
    daemon.write(
        view=Overview(
            "c1",
            source=SourceProblem(SourceFault.REWRITTEN, "main was force-pushed", "c9"),
            read_only="the ledger is older than the world",
            held=(
                Held(
                    "removals",
                    "ab" * 32,
                    "11 objects would go",
                    ("remove job/rl/a",),
                    (ObjectId("Job", "rl", "a"),),
                ),
            ),
            errors=(FileError("teams/rl/jobs/a.yaml", 3, 5, "spec.pool", "no such pool", "did you mean h20?"),),
        )
    )
    found = _read(daemon.files, "summary.json")
    assert found["revision"] == "c1"
    since = "2026-03-01T12:00:00Z"
    assert found["source"] == {
        "fault": "HistoryRewritten",
        "message": "main was force-pushed",
        "revision": "c9",
        "since": since,
    }
    assert found["readOnly"] == {"reason": "the ledger is older than the world", "since": since}
    assert found["held"][0]["digest"] == "ab" * 32
    assert found["held"][0]["targets"] == ["job/rl/a"]
    assert found["errors"][0]["line"] == 3
    daemon.write()
    assert _read(daemon.files, "summary.json")["readOnly"] is None


def test_a_trouble_says_since_when_also_after_a_restart() -> None:
    daemon = _Daemon()

    def told(fault: SourceFault, message: str) -> str:
        daemon.write(view=Overview("c1", source=SourceProblem(fault, message)))
        daemon.clock.advance(timedelta(minutes=1))
        since: str = _read(daemon.files, "summary.json")["source"]["since"]
        return since

    assert told(SourceFault.UNREACHABLE, "no answer yet") == "2026-03-01T12:00:00Z"
    assert told(SourceFault.UNREACHABLE, "connection refused") == "2026-03-01T12:00:00Z"
    daemon.restart()
    assert told(SourceFault.UNREACHABLE, "no answer yet") == "2026-03-01T12:00:00Z"
    assert told(SourceFault.REFUSED, "no key") == "2026-03-01T12:03:00Z"
    daemon.write()
    daemon.clock.advance(timedelta(minutes=1))
    assert told(SourceFault.REFUSED, "no key") == "2026-03-01T12:05:00Z"


def test_extra_documents_come_and_go_with_the_view() -> None:
    daemon = _Daemon()
    queue = {"pool": "h20", "order": [{"job": "rl/ppo", "since": START}]}
    view = Overview("c1", extras={"plan.json": {"holds": []}, "queue/h20.json": queue})
    daemon.write(view=view)
    assert _read(daemon.files, "queue/h20.json")["order"] == [{"job": "rl/ppo", "since": "2026-03-01T12:00:00Z"}]
    before = _stamps(daemon.files)
    daemon.restart()
    daemon.write(view=view)
    assert _stamps(daemon.files) == before
    daemon.write()
    assert _stamps(daemon.files) == before
    daemon.write(view=Overview("c1", extras={"plan.json": {"holds": []}}))
    assert daemon.files.list("queue") == ()


def test_the_heartbeat_is_a_file_of_its_own() -> None:
    daemon = _Daemon()
    daemon.write(_job())
    before = _stamps(daemon.files)
    assert daemon.writer.beat(7, 4711, "c1") is None
    assert {k: v for k, v in _stamps(daemon.files).items() if k != "heartbeat.json"} == before
    beat = _read(daemon.files, "heartbeat.json")
    assert {**beat, "version": ""} == {
        "at": "2026-03-01T12:00:00Z",
        "pass": 7,
        "pid": 4711,
        "revision": "c1",
        "version": "",
    }


def test_foreign_text_is_made_harmless_and_short() -> None:
    daemon = _Daemon(Redaction("tok-SECRET-1"))
    daemon.write(
        _job(
            message="died\x1b[2J\nat https://bob:pw@h/x " + "y" * 9000,
            conditions=(Condition("Ready", "False", "R", "tok-SECRET-1\x07\n"),),
            detail={"log": "a\nb\x1b]8;;http://evil\x07", "token": "x tok-SECRET-1"},
        )
    )
    data = (daemon.files.read("job/rl/ppo.json") or b"") + (daemon.files.read("index.json") or b"")
    assert b"SECRET" not in data
    assert b"pw@" not in data
    assert b"\\u001b" not in data
    document = _read(daemon.files, "job/rl/ppo.json")
    assert len(document["message"]) == MAX_MESSAGE
    assert "\n" not in document["message"]
    assert document["detail"]["log"] == "a\nb]8;;http://evil"


@pytest.mark.parametrize(
    "value", [2**70, -(2**70), "half \ud800", object(), {1: 2}, {("a", 1): 2}, float("nan"), (1, (2,))]
)
def test_no_value_that_a_machine_tells_stops_the_writer(value: object) -> None:
    daemon = _Daemon()
    for _ in range(2):
        daemon.write(_job(detail={"told": value}), view=Overview("c1", extras={"plan.json": {"told": value}}))
    assert "told" in _read(daemon.files, "job/rl/ppo.json")["detail"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO])
@pytest.mark.parametrize("path", ["job", "index.json", "summary.json", "queue", ""])
@pytest.mark.parametrize("step", ["write", "flush folder"])
def test_a_full_disk_is_reported_and_caught_up_with_later(number: int, path: str, step: str) -> None:
    daemon = _Daemon()
    daemon.write(_job(), _cluster())
    daemon.later()
    view = Overview("c2", extras={"queue/h20.json": {"order": []}})
    daemon.files.fail(number, step=step, path=path, times=100)
    problem = daemon.writer.write([_job(state="Failed"), _job("new")], ["cluster/main.json"], view)
    assert problem
    daemon.writer.write([], [], view)
    daemon.files.mend()
    daemon.write(view=view)
    fresh = _Daemon()
    fresh.later()
    fresh.write(_job(state="Failed"), _job("new"), view=view)
    for each in ("summary.json", "queue/h20.json"):
        assert _read(daemon.files, each) == _read(fresh.files, each)
    assert [row["path"] for row in _read(daemon.files, "index.json")["objects"]] == [
        "job/rl/new.json",
        "job/rl/ppo.json",
    ]
    assert _read(daemon.files, "job/rl/ppo.json")["state"] == "Failed"
    assert daemon.files.list("cluster") == ()


def test_an_unreadable_directory_is_reported_and_not_forgotten() -> None:
    daemon = _Daemon()
    daemon.files.fail(errno.EIO, times=1)
    with pytest.raises(FilesError):
        daemon.writer.paths()
    daemon.files.fail(errno.EIO, times=1)
    assert daemon.writer.write([_job()], [], VIEW)
    daemon.write()
    assert _read(daemon.files, "job/rl/ppo.json")["state"] == "Running"


statuses = st.lists(
    st.builds(
        _job,
        st.sampled_from(["a", "b", "c"]),
        st.sampled_from(["Queued", "Running"]),
        revision=st.sampled_from(["c1", "c2"]),
        specDigest=st.sampled_from(["d1", "d2"]),
        message=st.text(max_size=5),
        detail=st.dictionaries(st.text(max_size=2), st.none() | st.integers() | st.text(max_size=3), max_size=2),
    ),
    max_size=4,
)


@given(st.lists(st.tuples(statuses, st.booleans(), st.integers(1, 60)), max_size=6), st.integers(0, 1000))
def test_after_any_crash_the_next_pass_brings_every_file_up_to_date(
    rounds: list[tuple[list[ObjectStatus], bool, int]], seed: int
) -> None:
    daemon = _Daemon()
    daemon.files = FakeFiles(seed)
    daemon.restart()
    wanted: dict[str, ObjectStatus] = {}
    for changed, dies, step in rounds:
        wanted.update({status.path: status for status in changed})
        if dies:
            daemon.files.die_at = daemon.files.steps + step
            with suppress(Crash):
                daemon.writer.write(wanted.values(), [], VIEW)
            daemon.files.crash()
            daemon.restart()
        else:
            daemon.write(*changed)
    daemon.restart()
    daemon.write(*wanted.values())
    rows: Mapping[str, Any] = {row["path"]: row for row in _read(daemon.files, "index.json")["objects"]}
    assert rows.keys() == wanted.keys()
    for path, status in wanted.items():
        document = _read(daemon.files, path)
        assert (document["state"], rows[path]["state"]) == (status.state, status.state)
        assert document["observed"]["specDigest"] == status.specDigest
        assert document["history"][-1]["state"] == status.state


def _as_told(daemon: _Daemon) -> None:
    """Tell what was true before, and check that documents and index say it."""
    daemon.write(_job(), _cluster())
    assert _read(daemon.files, "job/rl/ppo.json")["state"] == "Running"
    assert _read(daemon.files, "cluster/main.json")["state"] == "Ready"
    assert [row["state"] for row in _read(daemon.files, "index.json")["objects"]] == ["Ready", "Running"]


@pytest.mark.parametrize("power_fails", [False, True], ids=["process dies", "power fails"])
def test_what_was_true_for_a_moment_only_is_not_told_for_ever_after_a_death_in_it(*, power_fails: bool) -> None:
    for step in range(1, 100):
        daemon = _Daemon()
        daemon.write(_job(), _cluster())
        daemon.files.die_at = daemon.files.steps + step
        died = True
        with suppress(Crash):
            daemon.write(_job(state="Failed"), _cluster(state="Silent"))
            died = False
        if power_fails:
            daemon.files.crash()
        daemon.files.die_at = None
        daemon.restart()
        _as_told(daemon)
        if not died:
            return
    raise AssertionError("it died at every step that was tried")


def test_readers_keep_the_rows_of_documents_that_nobody_can_vouch_for() -> None:
    daemon = _Daemon()
    daemon.write(_job(), _cluster())
    for _ in range(2):
        daemon.files.fail(errno.ENOSPC, step="write", path="index.json")
        daemon.writer.write([_job(state="Failed")], [], VIEW)
        daemon.files.mend()
        daemon.restart()
        # Without a ledger the daemon tells of no object.
        daemon.write()
        assert [row["name"] for row in _read(daemon.files, "index.json")["objects"]] == ["main", "ppo"]
    daemon.restart()
    _as_told(daemon)
    assert daemon.files.list("") == ("cluster", "index.json", "job", "summary.json")


@pytest.mark.parametrize("path", ["job", "cluster", "index.json", "summary.json", "writing.json"])
@pytest.mark.parametrize("step", ["open", "write", "name", "flush folder"])
@pytest.mark.parametrize("restarted", [False, True], ids=["same daemon", "after a restart"])
def test_what_was_true_for_a_moment_only_is_not_told_for_ever_after_an_error(
    path: str, step: str, *, restarted: bool
) -> None:
    daemon = _Daemon()
    daemon.write(_job(), _cluster())
    daemon.files.fail(errno.ENOSPC, step=step, path=path)
    daemon.writer.write([_job(state="Failed"), _cluster(state="Silent")], [], VIEW)
    daemon.files.mend()
    if restarted:
        daemon.restart()
    _as_told(daemon)


def test_a_real_disk_shows_the_same_tree(tmp_path: Path) -> None:
    fake, real = FakeFiles(), DiskFiles(tmp_path)
    for files in (fake, real):
        writer = StatusWriter(files, HandClock())
        assert writer.write([_job("a"), _job("b"), _cluster()], [], VIEW) is None
        assert writer.write([_job("a", "Failed")], ["job/rl/b.json"], VIEW) is None
        assert writer.beat(1, 2, "c1") is None
    for path in ("index.json", "summary.json", "heartbeat.json", "job/rl/a.json", "cluster/main.json"):
        assert fake.read(path) == real.read(path)
    assert fake.list("") == real.list("")
