"""Fail points: they reach every effect, are told of, and do nothing unless they are asked for."""

import signal
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from reconciler.app.failpoints import OF_EFFECTS, points
from reconciler.cli.exit import Exit
from reconciler.clock import SystemClock
from reconciler.config import Environment
from reconciler.model.effect import Effect
from tests.cli.premises import Premises
from tests.cli.site import Said, call
from tests.crashes import test_begin, test_kills, test_take_down

STORIES = (test_begin, test_kills, test_take_down)


def once(premises: Premises, fail_points: str) -> Said:
    """Do one pass in this process."""
    around = Environment(config=str(premises.file), no_color=True, fail_points=fail_points)
    return call("once", environment=around, clock=SystemClock())


def test_every_effect_has_its_three_moments() -> None:
    assert {f"{moment}:{effect.__name__}" for effect in get_args(Effect) for moment in OF_EFFECTS} <= set(points())


def test_the_stories_die_at_every_point() -> None:
    assert {point for story in STORIES for point in story.POINTS} == set(points())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("before:StartHead", "'before:StartHead': expected kill@POINT or stop@POINT"),
        ("pause@commit", "'pause@commit': expected kill@POINT or stop@POINT"),
        ("kill@after:StartHeads", "no such point 'after:StartHeads' (did you mean after:StartHead?)"),
        ("kill@commit,", "'': expected kill@POINT or stop@POINT"),
        ("kill@", "no such point ''"),
    ],
)
def test_what_is_no_fail_point_is_refused_before_anything_is_done(tmp_path: Path, text: str, said: str) -> None:
    premises = Premises(tmp_path)
    before = premises.everything()
    told = once(premises, text)
    assert told.code == Exit.USAGE
    assert f"RAYOPS_FAIL_POINTS: {said}" in told.err
    assert premises.everything() == before


def test_a_pass_without_fail_points_says_nothing_of_them(tmp_path: Path) -> None:
    assert "fail point" not in once(Premises(tmp_path), "").err


def test_a_fail_point_ends_the_process_where_it_says_and_is_told(tmp_path: Path) -> None:
    premises = Premises(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "reconciler", "--config", premises.file, "once"],
        cwd=Path(__file__).parents[2],
        env={"PATH": "/usr/bin:/bin", "RAYOPS_FAIL_POINTS": "kill@lead, kill@status"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    first, last = done.stderr.splitlines()
    assert "WARNING" in first
    assert 'fail points are set: this daemon kills or stops itself points="kill@lead, kill@status"' in first
    assert "fail point reached point=lead signal=SIGKILL" in last
    # The term was taken in the shared directory, and the ledger does not know it yet.
    assert (premises.shared / ".rayops/leader/1").exists()
    assert b'"term":0' in next(premises.state.glob("ledger/journal-*")).read_bytes()
