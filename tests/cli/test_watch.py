"""`get --watch`: a screen for people, one line per change for programs."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.cli.exit import Exit
from tests.cli.site import Clock, Said, Site, full, job


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return full(tmp_path / "shared")


def watched(
    site: Site, *words: str, script: list[Callable[[], None]], columns: int | None = None, lines: int = 40
) -> Said:
    said = site.call("get", *words, "--watch", clock=Clock(script=script), columns=columns, lines=lines)
    assert said.code == Exit.INTERRUPTED
    return said


def runs(site: Site) -> None:
    site.put(job("sft-3", "Running", message="attempt 1 runs"))


def nothing() -> None:
    """Time passes, and nothing changes."""


def test_a_program_gets_one_line_per_change(site: Site) -> None:
    script = [nothing, lambda: runs(site), nothing, lambda: site.remove("job/rl/old.json")]
    said = watched(site, "jobs", "-T", "rl", "-o", "json", script=script)
    lines = [json.loads(line) for line in said.lines]
    assert [(line["metadata"]["name"], line["state"]) for line in lines[:4]] == [
        ("grpo-7", "Queued"),
        ("old", "Failed"),
        ("ppo-gsm8k", "Running"),
        ("sft-3", "Queued"),
    ]
    assert [(line["metadata"]["name"], line["state"]) for line in lines[4:]] == [
        ("sft-3", "Running"),
        ("old", "Removed"),
    ]


def test_a_piped_table_goes_on_with_the_rows_that_changed(site: Site) -> None:
    said = watched(site, "jobs", "-T", "rl", script=[lambda: runs(site)])
    assert [line.split()[0] for line in said.lines] == [
        "JOB",
        "rl/grpo-7",
        "rl/old",
        "rl/ppo-gsm8k",
        "rl/sft-3",
        "rl/sft-3",
    ]
    assert said.lines[-1].split()[1] == "Running"


def test_a_move_in_the_queue_is_a_change(site: Site) -> None:
    def overtaken() -> None:
        queue = json.loads((site.status / "queue/h20.json").read_text())
        queue["order"].reverse()
        site.write("queue/h20.json", queue)

    said = watched(site, "jobs", "-T", "cv", script=[overtaken])
    assert [line.split()[3] for line in said.lines] == ["POS", "1/3", "3/3"]


def test_a_terminal_is_redrawn_only_when_something_changed(site: Site) -> None:
    script = [nothing, nothing, lambda: runs(site), nothing]
    said = watched(site, "jobs", "-o", "name", script=script, columns=80)
    assert said.out.count("\x1b[H\x1b[J") == 1
    said = watched(site, "jobs", script=[lambda: site.put(job("new", "Queued"))], columns=80)
    first, second = said.out.split("\x1b[H\x1b[J")[1:]
    assert "rl/new" not in first
    assert "rl/new" in second


def test_more_rows_than_lines_are_a_number(site: Site) -> None:
    screen = watched(site, "all", script=[], columns=80, lines=8).out.split("\x1b[H\x1b[J")[1].splitlines()
    assert len(screen) == 8
    assert screen[-2] == "… 10 more lines"
