"""`rayops logs`: what a job printed, with or without a head, and nothing from outside its directory."""

import io
from collections.abc import Callable
from pathlib import Path
from threading import Event

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.cli.call import Surroundings
from reconciler.cli.exit import Exit
from reconciler.cli.logfile import BLOCK, LogFile
from reconciler.cli.parser import run
from reconciler.config import Environment
from reconciler.remote.disk import DiskFiles
from tests.cli.site import FIRST, RUNNING, Clock, Said, Site, ago, full, job

PPO = "rl-ppo-gsm8k-0a1b2c3d"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = full(tmp_path / "shared")
    site.log(f"{PPO}-1", b"first\n")
    site.log(f"{PPO}-2", b"".join(b"step %d\n" % n for n in range(5)))
    return site


def followed(site: Site, *words: str, script: list[Callable[[], None]]) -> Said:
    return site.call("logs", *words, "-f", clock=Clock(script=script))


def add(site: Site, submission: str, content: bytes) -> None:
    file = site.root / "jobs" / submission / "logs/driver.log"
    file.write_bytes(file.read_bytes() + content)


def ended(site: Site, state: str) -> None:
    last = {**RUNNING, "state": state, "ended": ago(seconds=0), "exitCode": 0}
    site.put(job("ppo-gsm8k", state, detail={"attempts": [FIRST, last]}))


def attempt(number: int, **facts: object) -> dict[str, object]:
    return {
        "number": number,
        "submissionId": f"{PPO}-{number}",
        "state": "Running",
        "running": ago(hours=1),
    } | facts


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("rl/ppo-gsm8k", "step 0\nstep 1\nstep 2\nstep 3\nstep 4\n"),
        ("job/rl/ppo-gsm8k --tail 2", "step 3\nstep 4\n"),
        ("ppo-gsm8k --tail 0", ""),
        ("ppo-gsm8k --tail 99", "step 0\nstep 1\nstep 2\nstep 3\nstep 4\n"),
        ("ppo-gsm8k --attempt 1", "first\n"),
        ("ppo-gsm8k --since 4h --tail 1", "first\nstep 4\n"),
        ("ppo-gsm8k --since 1h --tail 1", "step 4\n"),
    ],
)
def test_these_lines_are_shown(site: Site, words: str, shown: str) -> None:
    said = site.call("logs", *words.split())
    assert (said.out, said.code) == (shown, Exit.DONE)


@given(
    content=st.lists(st.sampled_from([b"\n", b"x", b"yy"])).map(b"".join),
    lines=st.integers(0, 9),
    block=st.integers(1, 5),
)
def test_the_last_lines_are_the_last_lines(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, lines: int, block: int
) -> None:
    root = tmp_path_factory.mktemp("log")
    (root / "log").write_bytes(content)
    log = LogFile(DiskFiles(root), 1, "log")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("reconciler.cli.logfile.BLOCK", block)
        start = log.start_of_last(lines)
    assert content[start:].splitlines() == (content.splitlines()[-lines:] if lines else [])


def test_a_long_log_is_shown_to_its_end(site: Site) -> None:
    content = b"".join(b"line %d \xc3\xa9\n" % n for n in range(3 * BLOCK // 10))
    site.log(f"{PPO}-2", content)
    assert site.call("logs", "rl/ppo-gsm8k").out == content.decode()
    assert site.call("logs", "rl/ppo-gsm8k", columns=80).out == content.decode()


def test_a_program_gets_the_bytes_as_they_are(site: Site) -> None:
    content = b"\x1b[31mred\x1b[0m\r\n\xff\xfe"
    site.log(f"{PPO}-2", content)
    out = io.BytesIO()
    text = io.TextIOWrapper(out, encoding="utf-8")
    around = Surroundings(text, io.StringIO(), Clock(), Environment(status=str(site.status)), Event())
    assert run(["logs", "rl/ppo-gsm8k"], around) == Exit.DONE
    assert out.getvalue() == content


def test_a_terminal_is_not_obeyed(site: Site) -> None:
    site.log(f"{PPO}-2", b"\x1b[2J\x1b]0;owned\x07\x1b[31mred\x1b[0m\rback\n")
    assert site.call("logs", "rl/ppo-gsm8k", columns=80).out == "red\nback\n"


def test_following_ends_when_the_job_has_ended_and_loses_no_line(site: Site) -> None:
    def last_words() -> None:
        add(site, f"{PPO}-2", b"saved\n")
        ended(site, "Succeeded")

    said = followed(
        site, "rl/ppo-gsm8k", "--tail", "1", script=[lambda: add(site, f"{PPO}-2", b"step 5\n"), last_words]
    )
    assert (said.out, said.code) == ("step 4\nstep 5\nsaved\n", Exit.DONE)


def test_following_goes_on_with_the_next_attempt(site: Site) -> None:
    def lost() -> None:
        add(site, f"{PPO}-2", b"dies\n")
        site.put(job("ppo-gsm8k", "Backoff", detail={"attempts": [FIRST, {**RUNNING, "ended": ago()}]}))

    def again() -> None:
        site.log(f"{PPO}-3", b"one\ntwo\n")
        site.put(job("ppo-gsm8k", "Running", detail={"attempts": [FIRST, {**RUNNING, "ended": ago()}, attempt(3)]}))

    def done() -> None:
        site.put(job("ppo-gsm8k", "Succeeded", detail={"attempts": [FIRST, RUNNING, attempt(3, ended=ago())]}))

    said = followed(site, "rl/ppo-gsm8k", "--tail", "1", script=[lost, again, done])
    assert (said.out, said.code) == ("step 4\ndies\none\ntwo\n", Exit.DONE)
    assert said.err == f"==> attempt 2, {PPO}-2\n==> attempt 3, {PPO}-3\n"


def test_following_one_attempt_ends_with_it(site: Site) -> None:
    said = followed(site, "rl/ppo-gsm8k", "--attempt", "1", script=[])
    assert (said.out, said.code) == ("first\n", Exit.DONE)


def test_following_waits_for_the_first_attempt(site: Site) -> None:
    def begins() -> None:
        site.put(
            job("sft-3", "Running", detail={"attempts": [{"number": 1, "submissionId": "rl-sft-3-00000000-1"}]})
        )

    def prints() -> None:
        site.log("rl-sft-3-00000000-1", b"hello\n")
        site.put(
            job("sft-3", "Failed", detail={"attempts": [{"number": 1, "submissionId": "rl-sft-3-00000000-1"}]})
        )

    said = followed(site, "rl/sft-3", script=[begins, prints])
    assert (said.out, said.code) == ("hello\n", Exit.DONE)


def test_following_ends_when_the_job_is_gone(site: Site) -> None:
    said = followed(site, "rl/ppo-gsm8k", script=[lambda: site.remove("job/rl/ppo-gsm8k.json")])
    assert (len(said.lines), said.code) == (5, Exit.DONE)


def test_following_can_be_interrupted(site: Site) -> None:
    assert followed(site, "rl/ppo-gsm8k", script=[]).code == Exit.INTERRUPTED


def test_a_log_that_became_shorter_is_shown_again(site: Site) -> None:
    def shorter() -> None:
        site.log(f"{PPO}-2", b"new\n")

    said = followed(site, "rl/ppo-gsm8k", script=[shorter])
    assert said.out.endswith("step 4\nnew\n")
    assert "became shorter" in said.err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ("rl/sft-3", Exit.NOT_FOUND, "job/rl/sft-3: no attempt has begun: BehindOthers"),
        ("rl/old", Exit.NOT_FOUND, "attempt 1 has no log yet (jobs/rl-old-11111111-1/logs/driver.log)"),
        ("rl/ppo-gsm8k --attempt 7", Exit.NOT_FOUND, "no attempt 7 (there is: 1, 2)"),
        ("rl/nope", Exit.NOT_FOUND, "job/rl/nope: there is no status of it"),
        ("pool/h20", Exit.USAGE, "nodepool/h20: only jobs have logs"),
        ("rl/ppo-gsm8k --since x", Exit.USAGE, "--since x: expected a length of time"),
        ("rl/ppo-gsm8k --tail x", Exit.USAGE, "argument --tail: invalid count value"),
        ("rl/ppo-gsm8k --tail -3", Exit.USAGE, "argument --tail: "),
    ],
)
def test_what_cannot_be_shown_is_said(site: Site, words: str, code: Exit, message: str) -> None:
    said = site.call("logs", *words.split())
    assert (said.code, said.out) == (code, "")
    assert message in said.err


@pytest.mark.parametrize("submission", ["../../secret", "/etc", "", ".", "a/b", "A" * 10, "x" * 200, 7, None])
def test_a_status_file_cannot_lead_elsewhere(site: Site, submission: object) -> None:
    site.put(job("evil", "Running", detail={"attempts": [{"number": 1, "submissionId": submission}]}))
    said = site.call("logs", "rl/evil")
    assert (said.code, said.out) == (Exit.NOT_FOUND, "")
    assert said.err == "attempt 1: the status names no job directory\n"


@pytest.mark.parametrize("place", ["logs/driver.log", "logs", "."])
def test_a_link_in_the_job_directory_is_not_followed(site: Site, tmp_path: Path, place: str) -> None:
    outside = tmp_path / "outside"
    (outside / "logs").mkdir(parents=True)
    (outside / "logs/driver.log").write_bytes(b"secret\n")
    folder = site.root / "jobs/rl-evil-00000000-1"
    (folder / place).parent.mkdir(parents=True, exist_ok=True)
    (folder / place).symlink_to(outside / place)
    site.put(job("evil", "Running", detail={"attempts": [{"number": 1, "submissionId": folder.name}]}))
    said = site.call("logs", "rl/evil")
    assert (said.code, said.out) == (Exit.UNREACHABLE, "")
    assert "link" in said.err


def test_the_shared_directory_must_be_known(site: Site, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    site.status.rename(moved)
    said = site.call("logs", "rl/ppo-gsm8k", environment=Environment(status=str(moved)))
    assert (said.code, said.out) == (Exit.USAGE, "")
    assert "give --config FILE with [paths] shared" in said.err
    settings = tmp_path / "rayops.toml"
    settings.write_text(f'[paths]\nshared = "{site.root}"\nstatus = "{moved}"\n')
    assert len(site.call("--config", str(settings), "logs", "ppo-gsm8k", environment=Environment()).lines) == 5
