"""The command as people start it: quick, with the right streams and codes, and with help."""

import os
import pty
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from reconciler import __version__
from reconciler.cli.exit import Exit
from reconciler.cli.parser import verb_parser
from reconciler.cli.verbs import VERBS, Verb
from reconciler.config import Environment
from tests.cli.site import Site, ago, full, job

READING = ("get", "describe", "why", "logs", "history", "wait", "completion", "__complete")
HEAVY = {"apscheduler", "asyncio", "fabric", "git", "invoke", "paramiko", "pydantic", "ray", "ruamel", "urllib3"}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return full(tmp_path / "shared")


def started(
    site: Site, *words: str, code: str = "from reconciler.__main__ import main; import sys; end = main()"
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", f"{code}\nsys.exit(end)", *words],
        env=surroundings(site),
        cwd=site.root,
        capture_output=True,
        text=True,
        check=False,
    )


def processor_seconds() -> float:
    """Return what all children together have used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def surroundings(site: Site, **more: str) -> dict[str, str]:
    here = str(Path(__file__).parents[2])
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": here,
        "RAYOPS_STATUS": str(site.status),
        "TERM": "xterm",
    } | more


def test_data_goes_to_stdout_and_the_rest_to_stderr(site: Site) -> None:
    site.beat(ago(days=300))
    done = started(site, "get", "jobs")
    assert done.stdout.splitlines()[0].startswith("JOB ")
    assert done.stderr.startswith("warning: this is ")
    assert done.returncode == Exit.DONE
    assert started(site, "wait", "rl/old", "--for=state=Failed").returncode == Exit.UNREACHABLE
    assert started(site, "get", "job/nope").returncode == Exit.NOT_FOUND


@pytest.mark.parametrize(
    "words",
    [
        "get jobs",
        "get all -o yaml",
        "describe rl/old",
        "why rl/old",
        "history",
        "__complete -- get j",
        "completion zsh",
    ],
)
def test_reading_verbs_load_nothing_heavy(site: Site, words: str) -> None:
    check = f"from reconciler.__main__ import main; import sys; main(); end = len({HEAVY!r} & set(sys.modules))"
    assert started(site, *words.split(), code=check).returncode == 0


def test_a_thousand_jobs_are_listed_at_once(site: Site) -> None:
    rows = []
    for number in range(1000):
        document = job(f"j{number:04}", "Queued")
        site.write(f"job/rl/j{number:04}.json", document)
        meta = {"kind": "Job", "team": "rl", "name": f"j{number:04}", "path": f"job/rl/j{number:04}.json"}
        rows.append(document | meta)
    site.index(rows)
    before = processor_seconds()
    assert len(started(site, "get", "jobs").stdout.splitlines()) == 1001
    listed = processor_seconds()
    assert len(started(site, "__complete", "--", "logs", "rl/j00").stdout.splitlines()) == 100
    completed = processor_seconds()
    # The floor: an interpreter that loads what a command line and JSON need, on this machine, now.
    assert started(site, code="import argparse, orjson, dataclasses, sys; end = 0").returncode == 0
    floor = processor_seconds() - completed
    assert listed - before < max(0.3, 8 * floor)
    assert completed - listed < max(0.15, 6 * floor)


def test_a_reader_that_goes_away_is_no_failure(site: Site) -> None:
    site.write("job/rl/big.json", job("big", "Queued", message="x" * 3_000_000))
    with subprocess.Popen(
        [sys.executable, "-m", "reconciler", "get", "job/rl/big", "-o", "json"],
        env=surroundings(site),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.read(10)
        child.stdout.close()
        assert b"Broken" not in child.stderr.read()
        assert child.wait() == Exit.DONE


def test_an_interrupt_ends_a_watch_with_its_code(site: Site) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "reconciler", "get", "jobs", "--watch"],
        env=surroundings(site),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline().startswith(b"JOB")
        child.send_signal(signal.SIGINT)
        child.stdout.read()
        assert child.wait(timeout=20) == Exit.INTERRUPTED


@pytest.mark.parametrize(("more", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_a_real_terminal_gets_colours_unless_it_wants_none(
    site: Site, more: dict[str, str], *, coloured: bool
) -> None:
    ours, theirs = pty.openpty()
    try:
        subprocess.run(
            [sys.executable, "-m", "reconciler", "get", "jobs"],
            env=surroundings(site, COLUMNS="60", **more),
            stdout=theirs,
            stderr=subprocess.DEVNULL,
            check=True,
        )
        shown = os.read(ours, 65_536).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert ("\x1b[31mFail" in shown) == coloured
    assert "REAS…" in shown


def test_a_terminal_of_another_encoding_shows_question_marks(site: Site) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "reconciler", "describe", "rl/ppo-gsm8k"],
        env=surroundings(site, PYTHONIOENCODING="ascii"),
        capture_output=True,
        check=True,
    )
    assert b"8 GPUs (2?4)" in done.stdout


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_every_verb_explains_itself(site: Site, verb: Verb) -> None:
    said = site.call(verb.name, "--help")
    assert (said.code, said.err) == (Exit.DONE, "")
    assert f"{verb.summary[1:]}." in " ".join(said.out.split())
    assert "--status DIR" in said.out


def test_help_lists_every_verb_but_the_hidden_ones(site: Site) -> None:
    said = site.call("--help")
    assert said.code == Exit.DONE
    for verb in VERBS:
        assert (f"\n  {verb.name} " in said.out) != verb.hidden
    assert site.call().out == said.out
    assert site.call().code == Exit.USAGE


def test_the_version_is_told(site: Site) -> None:
    assert site.call("--version").code == Exit.DONE
    assert started(site, "--version").stdout == f"rayops {__version__}\n"


def test_global_options_stand_before_or_after_the_verb(site: Site, tmp_path: Path) -> None:
    other = Site(tmp_path / "other")
    other.put(job("only", "Queued"))
    for words in (["--status", str(other.status), "get", "jobs"], ["get", "jobs", f"--status={other.status}"]):
        assert site.call(*words, "-o", "name").lines == ["job/rl/only"]


@pytest.mark.parametrize("verb", READING)
def test_a_bug_is_no_answer(site: Site, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr("reconciler.cli.verbs.Verb.load", broken)
    said = site.call(verb)
    assert (said.code, said.err) == (Exit.BUG, "this is a bug in rayops: RuntimeError: broken (-v shows where)\n")
    assert "Traceback" in site.call("-v", verb).err


def test_options_of_verbs_do_not_hide_the_global_ones() -> None:
    for verb in VERBS:
        assert {"--config", "--status", "--no-color", "--verbose"} <= set(verb_parser(verb).flags)


def test_nothing_is_read_from_an_environment_that_was_not_given(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAYOPS_STATUS", "/nonexistent")
    assert site.call("get", "jobs", environment=Environment(status=str(site.status))).code == Exit.DONE
