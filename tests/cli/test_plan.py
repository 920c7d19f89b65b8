"""`rayops plan`: what would happen, in words for people, programs and pull requests; and nothing happens."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.cli.exit import Exit
from reconciler.cli.plantext import MARKDOWN_LIMIT, MESSAGE_LIMIT, lines, markdown
from reconciler.kinds import ALL
from reconciler.loop import settled_plan
from reconciler.model.desired import FileError
from reconciler.model.effect import StopAttempt, SubmitAttempt
from reconciler.model.plan import Action, Because, Held, Hold, Plan, Reason, Weight
from reconciler.model.preview import plan_json
from reconciler.model.ray import HeadAddress
from tests.cli.premises import Premises
from tests.cli.tree import JOB, JOB_FILE
from tests.kinds.desired_words import object_id
from tests.kinds.shorthand import world_of

GOLDEN = Path(__file__).parent / "golden"
HEAD = HeadAddress("main", "10.0.0.1", 6379, 8265, 10001)
CASE = {
    "desired": {
        "cluster/main": {},
        "nodepool/h20": {"nodes": ["n1", "n2"]},
        "job/rl/changed": {},
        "job/rl/moved": {"workload": {"argv": ["other"]}},
        "job/rl/new": {},
        "job/rl/same": {},
        "job/rl/wrong": {},
    },
    "problems": {"job/rl/wrong": "pool l40 does not exist"},
    "ledger": {
        "known/job/rl/changed": {},
        "known/job/rl/gone": {},
        "known/job/rl/new": None,
        "known/job/rl/moved": None,
        "known/job/rl/before": {"like": "job/rl/moved"},
    },
}


def planned() -> Mapping[str, Any]:
    """Return a plan with one of everything, as JSON values."""
    here = world_of(CASE)
    error = FileError("teams/rl/jobs/odd.yaml", 3, 5, "spec.pol", "this field is not known", "did you mean pool?")
    here = replace(here, desired=replace(here.desired, errors=(error,)))
    renames, _ = settled_plan(here, ALL)
    submit = SubmitAttempt(
        head=HEAD,
        submission_id="rl-new-01234567-1",
        epoch=1,
        nodes=("n1",),
        argv=("train",),
        working_dir=None,
        env={"WANDB_API_KEY": "hunter2"},
        metadata={"attempt": "1"},
        grace=timedelta(seconds=30),
        checkpoints="jobs/new/checkpoints",
        python="python3",
        spec='{"env":{"WANDB_API_KEY":"hunter2"}}',
    )
    because = Because(Reason.REMOVED, "its file is gone")
    plan = Plan(
        revision="4f2c9d1a0b",
        actions=(
            Action(object_id("job/rl/new"), submit, Because(Reason.NEW, "n1 is free", (("needs", 1), ("free", 2)))),
            Action(object_id("job/rl/old"), StopAttempt(HEAD, "rl-old-1"), because, weight=Weight.STOPS),
        ),
        notes=tuple(note for note in renames.notes if note.because.reason is Reason.RENAMED),
        holds=(
            Hold(object_id("job/rl/wrong"), Because(Reason.INVALID, "pool l40 does not exist")),
            Hold(object_id("nodepool/h20"), Because(Reason.JOINING, "n2 joins its head"), part="n2"),
        ),
        held=(Held("removals", "5068cad2" * 8, "1 of 9 objects left the repo", ("Job/rl/gone",), ()),),
    )
    return plan_json(here, plan)


def with_text(text: str) -> Mapping[str, Any]:
    """Return a plan in which everything that outsiders can word says `text`."""
    plan = planned()
    told = {part: [{**each, "message": text} for each in plan[part]] for part in ("changes", "actions", "holds")}
    held = [{**each, "message": text, "what": [text]} for each in plan["held"]]
    return {**plan, **told, "held": held, "errors": [text], "problems": {"job/rl/wrong": [text]}, "revision": text}


@pytest.mark.parametrize("form", ["txt", "md", "json"])
def test_a_plan_reads_like_this(form: str) -> None:
    plan = planned()
    told = {
        "txt": "\n".join(lines(plan)),
        "md": markdown(plan),
        "json": json.dumps(plan, indent=2, sort_keys=True),
    }
    assert told[form] + "\n" == (GOLDEN / f"plan.{form}").read_text()


def test_the_golden_plan_shows_no_secret() -> None:
    assert all("hunter2" not in file.read_text() for file in GOLDEN.iterdir())
    assert '"WANDB_API_KEY"' in (GOLDEN / "plan.json").read_text()


def test_an_empty_plan_says_so() -> None:
    here = world_of({"desired": {"team/rl": {}}})
    plan = plan_json(here, settled_plan(here, ALL)[0])
    assert list(lines(plan)) == [
        "",
        f"Plan: 0 to add, 0 to change, 0 to remove; 0 to do now, 0 waiting. Digest {plan['digest'][:12]}.",
    ]
    assert "<details>" not in markdown(plan)


def test_a_team_with_a_broken_file_loses_nothing() -> None:
    here = world_of({**CASE, "unsettled": ["rl"]})
    changes = plan_json(here, Plan("r1"))["changes"]
    assert {each["op"] for each in changes} == {"add", "change"}
    assert "job/rl/gone" not in {each["object"] for each in changes}


def test_the_same_plan_is_the_same_bytes_and_the_digest_covers_all_of_it() -> None:
    one = planned()
    assert json.dumps(one) == json.dumps(planned())
    here = world_of(CASE)
    other = plan_json(here, Plan("4f2c9d1a0b"))
    assert one["digest"] != other["digest"] != plan_json(here, Plan("4f2c9d1a0c"))["digest"]


HOSTILE = (
    "@octocat #1 !2 ~3 *bold* <img src=x onerror=alert(1)> [a](http://evil.example) http://evil.example",
    "``` ```` ` end of code | end of cell",
    "</details>\n\n# heading\n```\n- [ ] task",
    "\x1b[2J\x1b]8;;http://evil.example\x07link\u202egnp.exe\u200b\x00",
    "&#64;octocat &lt;b&gt; \\` \\|",
    "<!-- rayops plan -->",
)


def outside_code(text: str) -> str:
    """Return what a forge reads as markup: the text without spans and fences of code."""
    text = re.sub(r"^```diff\n.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`\n]*`", "", text)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_only_text(text: str) -> None:
    shown = markdown(with_text(text))
    assert outside_code(shown) == outside_code(markdown(with_text("harmless")))
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f\u200b\u202e]", shown)


@given(st.text())
def test_no_text_gets_out_of_its_place(text: str) -> None:
    shown = markdown(with_text(text))
    assert outside_code(shown) == outside_code(markdown(with_text("harmless")))
    # Rows of a table have three cells whatever is in them.
    assert {line.count("|") for line in shown.splitlines() if line.startswith("|")} == {4}


@pytest.mark.parametrize(("count", "length"), [(1, 10**6), (300, 5_000), (20_000, 20), (20_000, 1_000)])
def test_a_comment_is_never_longer_than_a_forge_takes(count: int, length: int) -> None:
    plan = planned()
    many = {part: plan[part] * count for part in ("changes", "actions", "holds", "errors")}
    held = [{**plan["held"][0], "what": ["x" * length] * count}] * 50
    longest = {**with_text("x" * length), **many, "held": held}
    shown = markdown(longest)
    assert len(shown) <= MARKDOWN_LIMIT
    assert shown.startswith("<!-- rayops plan -->\n**Plan: ")
    assert shown.count("<details>") == shown.count("</details>")
    assert shown.count("```") % 2 == 0


def test_what_is_left_out_of_a_comment_is_counted() -> None:
    plan = {**planned(), "errors": ["x" * 1000] * 300}
    shown = markdown(plan)
    assert f"`{'x' * MESSAGE_LIMIT}…`" in shown
    assert re.search(r"^… and 251 more$", shown, re.MULTILINE)


# From here on: the command, on an installation of which no machine was ever reached.


@pytest.fixture
def premises(tmp_path: Path) -> Premises:
    return Premises(tmp_path)


def test_the_codes_are_those_of_a_command_line_and_on_demand_terraforms(premises: Premises) -> None:
    changes = premises.rayops("plan")
    assert (changes.code, changes.err) == (Exit.DONE, "")
    assert premises.rayops("plan", "--detailed-exitcode").code == 2
    premises.commit({JOB_FILE: JOB.replace("pool: h20", "pol: h20")})
    assert premises.rayops("plan").code == Exit.USAGE
    assert premises.rayops("plan", "--detailed-exitcode").code == 1
    premises.commit({JOB_FILE: JOB.replace("pool: h20", "pool: h21")})
    assert premises.rayops("plan").code == Exit.USAGE
    assert premises.rayops("plan", "--detailed-exitcode").code == 1


def test_nothing_to_do_is_zero(premises: Premises) -> None:
    folder = premises.home / "nothing"
    folder.mkdir()
    said = premises.rayops("plan", "--tree", str(folder), "--detailed-exitcode")
    assert (said.code, said.err) == (0, "")


def test_a_plan_is_byte_identical(premises: Premises) -> None:
    for form in ("text", "json", "markdown"):
        assert premises.rayops("plan", "-o", form).out == premises.rayops("plan", "-o", form).out != ""


def test_a_plan_changes_nothing(premises: Premises) -> None:
    before = premises.everything()
    for words in ((), ("--tree", str(premises.repo.root)), ("--revision", "main")):
        said = premises.rayops("plan", *words)
        assert said.code == Exit.DONE
        assert "+ job/rl/ppo  from teams/rl/jobs/ppo.yaml" in said.lines
    # Planning has a mirror of its own in the state directory; nothing else is left.
    mirror = f"{premises.state}/plan-mirror"
    left = {path for path in premises.everything() if path not in before and not path.startswith(mirror)}
    assert left == {str(premises.state)}


def test_a_plan_of_a_started_site_changes_nothing_either(premises: Premises) -> None:
    assert premises.rayops("once").code == Exit.DONE
    before = premises.everything()
    said = premises.rayops("plan")
    assert said.code == Exit.DONE
    assert "Waits:" in said.lines
    assert {path: what for path, what in premises.everything().items() if "plan-mirror" not in path} == before


def test_a_work_tree_is_planned_before_it_is_committed(premises: Premises) -> None:
    premises.repo.write("teams/rl/jobs/next.yaml", JOB.replace("name: ppo", "name: next"))
    assert "job/rl/next" not in premises.rayops("plan").out
    assert (
        "+ job/rl/next  from teams/rl/jobs/next.yaml"
        in premises.rayops("plan", "--tree", str(premises.repo.root)).lines
    )


def test_a_branch_is_planned(premises: Premises) -> None:
    premises.repo.git("switch", "--quiet", "--create", "mine")
    premises.commit({"teams/rl/jobs/next.yaml": JOB.replace("name: ppo", "name: next")})
    commit = premises.repo.git("rev-parse", "HEAD").strip()
    assert "job/rl/next" not in premises.rayops("plan").out
    for revision in ("mine", commit):
        assert (
            "+ job/rl/next  from teams/rl/jobs/next.yaml" in premises.rayops("plan", "--revision", revision).lines
        )


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("--revision", "nothing"), Exit.REFUSED, "NoBranch: "),
        (
            ("--revision", "--upload-pack=evil"),
            Exit.USAGE,
            "rayops plan: argument --revision: expected one argument",
        ),
        (("--tree", "{}/nowhere"), Exit.REFUSED, "Unreachable: {}/nowhere"),
        (("--tree", ".", "--revision", "main"), Exit.USAGE, "rayops plan: argument --revision: not allowed with"),
    ],
)
def test_what_cannot_be_planned_is_refused(
    premises: Premises, words: tuple[str, ...], code: Exit, says: str
) -> None:
    said = premises.rayops("plan", *(word.format(premises.home) for word in words))
    assert (said.code, said.out) == (code, "")
    assert said.err.startswith(says.format(premises.home)), said.err


def test_an_empty_work_tree_is_a_wrong_path_once_something_was_applied(premises: Premises) -> None:
    premises.rayops("once")
    empty = premises.home / "empty"
    empty.mkdir()
    said = premises.rayops("plan", "--tree", str(empty))
    assert (said.code, said.out) == (Exit.REFUSED, "")
    assert said.err.startswith(f"EmptyTree: {empty} holds no desired file")


def test_a_missing_share_is_no_plan(premises: Premises) -> None:
    premises.shared.rmdir()
    assert premises.rayops("plan").code == Exit.UNREACHABLE
    said = premises.rayops("plan", "--detailed-exitcode")
    assert (said.code, said.out) == (1, "")
    assert str(premises.shared) in said.err


def test_a_lost_ledger_is_no_plan(premises: Premises) -> None:
    premises.rayops("once")
    premises.lose_ledger()
    said = premises.rayops("plan")
    assert (said.code, said.out) == (Exit.REFUSED, "")
    assert "recover" in said.err
