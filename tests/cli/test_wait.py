"""`rayops wait`: the exit code is the answer."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.cli.exit import Exit
from reconciler.desired.parse import parse
from reconciler.model.desired import Loaded
from tests.cli.site import Clock, Said, Site, ago, full, job, status


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return full(tmp_path / "shared")


def becomes(site: Site, state: str, **facts: object) -> Callable[[], None]:
    return lambda: site.put(job("sft-3", state, message=f"it is {state}", **facts))  # type: ignore[arg-type]  # texts


def waited(site: Site, *words: str, script: list[Callable[[], None]] | None = None) -> Said:
    return site.call("wait", *words, clock=Clock(script=script or []))


def nothing() -> None:
    """Time passes, and nothing changes."""


def test_each_change_is_told_until_it_is_true(site: Site) -> None:
    script = [nothing, becomes(site, "Starting"), nothing, becomes(site, "Running"), becomes(site, "Succeeded")]
    said = waited(site, "rl/sft-3", "--for=state=Succeeded", script=script)
    assert said.code == Exit.DONE
    assert said.lines == [
        "2026-03-14 15:00:00Z  job/rl/sft-3  Queued: cv/eval is first",
        "2026-03-14 15:00:02Z  job/rl/sft-3  Starting: it is Starting",
        "2026-03-14 15:00:04Z  job/rl/sft-3  Running: it is Running",
        "2026-03-14 15:00:05Z  job/rl/sft-3  Succeeded: it is Succeeded",
    ]


@pytest.mark.parametrize(
    ("goal", "end", "code"),
    [
        ("state=Succeeded", "Succeeded", Exit.DONE),
        ("state=Failed", "Failed", Exit.DONE),
        ("state=Succeeded", "Failed", Exit.NO),
        ("state=Succeeded", "TimedOut", Exit.NO),
        ("state=Succeeded", "Lost", Exit.NO),
        ("state=Running", "Stopped", Exit.NO),
        ("condition=Complete", "Succeeded", Exit.NO),
        ("state=Succeeded", "Backoff", Exit.INTERRUPTED),
        ("deleted", "Succeeded", Exit.INTERRUPTED),
    ],
)
def test_an_end_decides(site: Site, goal: str, end: str, code: Exit) -> None:
    said = waited(site, "job/rl/sft-3", f"--for={goal}", script=[becomes(site, end)])
    assert said.code == code
    assert ("cannot come true: it has ended as" in said.err) == (code is Exit.NO)


def test_time_may_run_out(site: Site) -> None:
    said = waited(site, "rl/sft-3", "--for=state=Succeeded", "--timeout", "3s", script=[nothing] * 9)
    assert (said.code, said.err) == (Exit.TIMED_OUT, "job/rl/sft-3: not state=Succeeded after 3s\n")


def test_the_last_look_is_when_time_is_up(site: Site) -> None:
    script = [nothing, nothing, becomes(site, "Succeeded")]
    assert waited(site, "rl/sft-3", "--for=state=Succeeded", "--timeout", "3s", script=script).code == Exit.DONE


def test_a_timeout_of_zero_only_asks(site: Site) -> None:
    assert waited(site, "rl/sft-3", "--for=state=Queued", "--timeout", "0s").code == Exit.DONE
    assert waited(site, "rl/sft-3", "--for=state=Running", "--timeout", "0s").code == Exit.TIMED_OUT


def test_a_silent_daemon_can_answer_nothing(site: Site) -> None:
    said = waited(site, "rl/sft-3", "--for=state=Queued", script=[])
    assert said.code == Exit.DONE
    site.beat(ago(minutes=1, seconds=58))
    said = waited(site, "rl/sft-3", "--for=state=Running", script=[nothing] * 9)
    assert said.code == Exit.UNREACHABLE
    assert "job/rl/sft-3: nobody can say: this is 2m1s old" in said.err


@pytest.mark.parametrize(
    ("goal", "code"),
    [
        ("condition=Ready", Exit.DONE),
        ("condition=Ready=True", Exit.DONE),
        ("condition=HeadFilePublished=False", Exit.DONE),
        ("condition=HeadFilePublished", Exit.INTERRUPTED),
        ("health=Ready", Exit.DONE),
        ("health=Failed", Exit.INTERRUPTED),
        ("sync=Synced", Exit.DONE),
    ],
)
def test_conditions_health_and_sync_can_be_waited_for(site: Site, goal: str, code: Exit) -> None:
    rows = [{"type": "Ready", "status": "True"}, {"type": "HeadFilePublished", "status": "False"}]
    site.put(status("Cluster", "main", "Starting", conditions=rows))
    assert waited(site, "cluster/main", f"--for={goal}").code == code


def test_what_goes_away_is_deleted_or_cannot_come_true(site: Site) -> None:
    def gone() -> None:
        site.remove("job/rl/sft-3.json")

    back = full(site.root / "again")
    assert waited(site, "rl/sft-3", "--for=deleted", script=[gone]).code == Exit.DONE
    said = waited(back, "rl/sft-3", "--for=state=Running", script=[lambda: back.remove("job/rl/sft-3.json")])
    assert (said.code, said.err) == (Exit.NO, "job/rl/sft-3: state=Running cannot come true: it is gone\n")


def test_what_went_before_anybody_waited_is_deleted(site: Site) -> None:
    said = waited(site, "rl/late", "--for=deleted")
    assert (said.code, said.err) == (Exit.DONE, "job/rl/late: it has no status; it is gone, or it never was\n")


def test_a_status_that_is_too_old_proves_no_deletion(site: Site) -> None:
    site.beat(ago(hours=2))
    assert waited(site, "rl/late", "--for=deleted").code == Exit.UNREACHABLE


def test_what_is_not_there_is_not_found_unless_it_may_appear(site: Site) -> None:
    def appears() -> None:
        site.put(job("late", "Running"))

    assert waited(site, "rl/late", "--for=state=Running").code == Exit.NOT_FOUND
    assert waited(site, "rl/late", "--for=state=Running", "--appear", script=[nothing, appears]).code == Exit.DONE
    late = waited(site, "rl/later", "--for=state=Running", "--appear", "--timeout", "2s", script=[nothing] * 5)
    assert late.code == Exit.TIMED_OUT


def test_a_program_gets_documents(site: Site) -> None:
    said = waited(site, "rl/sft-3", "--for=state=Running", "-o", "json", script=[becomes(site, "Running")])
    assert [json.loads(line)["state"] for line in said.lines] == ["Queued", "Running"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("rl/sft-3", "the following arguments are required: --for"),
        ("rl/sft-3 --for=stat=Running", "(did you mean state?)"),
        ("rl/sft-3 --for=Running", "--for=Running: expected state=Succeeded"),
        ("rl/sft-3 --for=state=Running=True", "--for=state=Running=True: expected"),
        ("rl/sft-3 --for=deleted --timeout soon", "--timeout soon: expected a length of time"),
        ("rl/sft-3 --for=state=Runing", "--for=state=Runing: a job has no such state (did you mean Running?"),
        ("rl/sft-3 --for=state=Runing", "one of: Queued, Starting, Running, Succeeded, Failed"),
        ("rl/sft-3 --for=state=succeeded", "(did you mean Succeeded?"),
        ("rl/sft-3 --for=state=Ready", "a job has no such state"),
        ("rl/sft-3 --for=health=Redy", "a job has no such health (did you mean Ready?"),
        ("rl/sft-3 --for=sync=Sinced", "a job has no such sync (did you mean Synced?"),
        ("rl/sft-3 --for=condition=Ready", "a job has no such condition"),
        ("rl/late --for=state=Runing --appear", "(did you mean Running?"),
        ("team/rl --for=condition=Ready", "--for=condition=Ready: a team has no condition"),
        ("pool/h20 --for=state=online", "a pool has no such state (one of: Ready, Joining"),
        ("node/n1 --for=state=Online", "(did you mean online?"),
        ("node/n1 --for=health=Ready", "--for=health=Ready: a node has no health"),
        # Only once it is found, its kind is known.
        ("sft-3 --for=state=Ready", "a job has no such state"),
        ("nobody --for=state=Redy --appear", "an object has no such state (did you mean Ready?"),
    ],
)
def test_wrong_words_end_with_usage(site: Site, words: str, message: str) -> None:
    said = waited(site, *words.split())
    assert (said.code, said.out) == (Exit.USAGE, "")
    assert message in said.err


SPEC = """\
apiVersion: rayops/v1
kind: Job
metadata: {name: sft-3, team: rl}
spec: {user: alice, pool: h20, workload: {type: command, argv: [make, train]}}
"""


def test_a_success_of_the_spec_before_an_edit_does_not_count(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "sft-3.yaml"
    file.write_text(SPEC)
    parsed = parse(str(file), SPEC.encode())
    assert isinstance(parsed, Loaded)
    told = {"observed": {"revision": "4f2c9d1a0b", "specDigest": parsed.digest, "asOf": ago(minutes=5)}}
    site.put(job("sft-3", "Succeeded", message="of the old spec"))
    script = [nothing, becomes(site, "Running", **told), becomes(site, "Succeeded", **told)]
    said = waited(site, "rl/sft-3", "--for=state=Succeeded", "--spec", str(file), script=script)
    assert said.code == Exit.DONE
    assert [line.split("  ", 2)[2] for line in said.lines] == [
        "Succeeded: of the old spec",
        "Running: it is Running",
        "Succeeded: it is Succeeded",
    ]


def test_a_file_that_is_not_right_cannot_be_waited_for(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "sft-3.yaml"
    file.write_text(SPEC.replace("pool", "pol"))
    said = waited(site, "rl/sft-3", "--for=state=Succeeded", "--spec", str(file))
    assert said.code == Exit.USAGE
    assert "sft-3.yaml:4:" in said.err


def test_an_object_may_appear_together_with_the_status_directory(tmp_path: Path) -> None:
    site = Site(tmp_path / "later")
    site.status.rmdir()
    (site.root / "jobs").rmdir()
    script = [nothing, lambda: (full(site.root), None)[1]]
    said = site.call("wait", "job/rl/sft-3", "--for=state=Queued", "--appear", clock=Clock(script=script))
    assert said.code == Exit.DONE
