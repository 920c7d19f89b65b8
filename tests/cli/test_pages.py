"""`describe`, `why` and `history`: what is known of one object, why it is so, and what happened."""

import json
import re
from pathlib import Path

import pytest

from reconciler.cli.advice import NEXT_STEP
from reconciler.cli.closed import STATES
from reconciler.cli.exit import Exit
from reconciler.cli.names import KINDS, NODE
from reconciler.model.document import KINDS as DOCUMENTS
from reconciler.model.plan import Reason
from tests.cli.site import Site, ago, event, full, job, node, status

JOB_100 = """\
job/rl/ppo-gsm8k
  state       Running for 3h, since 2026-03-14 12:00:00Z
  sync        Synced
  health      Ready
  reason      AsDesired: attempt 2 runs on h20-01, h20-02
  needs       8 GPUs (2×4)
  limits      start 15m, attempt 12h
  user        alice
  pool        h20
  cluster     main
  priority    normal
  revision    4f2c9d1a0b, seen 2026-03-14 14:55:00Z

Conditions
  TYPE    STATUS  REASON     SINCE  MESSAGE
  Placed  True    AsDesired  3h     -

Attempts
  #  STATE    NODES           SUBMITTED             RAN    EXIT  WHY
  1  Lost     h20-01, h20-03  2026-03-14 09:00:00Z  2h29m  137   node h20-03 left the cluster
  2  Running  h20-01, h20-02  2026-03-14 11:59:00Z  3h     -     AsDesired

States
  AT                    STATE    REASON
  2026-03-14 09:00:00Z  Running  New
  2026-03-14 11:30:00Z  Backoff  NodeLost
  2026-03-14 12:00:00Z  Running  AsDesired

Events
  AT                    TYPE    REASON     MESSAGE
  2026-03-14 09:00:00Z  Action  New        SubmitAttempt: attempt 1
  2026-03-14 11:30:00Z  State   NodeLost   attempt 1: node h20-03 is gone
  2026-03-14 12:00:00Z  State   AsDesired  attempt 2 runs on h20-01, h20-02

Log (rayops logs job/rl/ppo-gsm8k)
  step 16
  step 17
  step 18
  step 19
  step 20
"""
NODE_80 = """\
node/h20-03
  state       lost for 3h30m, since 2026-03-14 11:30:00Z
  reason      NodeLost
  pool        h20
  cluster     main
  name        h20-03
  host        10.0.0.13
  gpus        4

Events
  AT                    TYPE   REASON    MESSAGE
  2026-03-14 11:30:00Z  State  NodeLost  node h20-03 left the cluster
"""
WHY = {
    "rl/grpo-7": """\
job/rl/grpo-7: Queued for 1h
  why    Waiting 3rd of 3 in h20 · needs 8 GPUs (1×8), free 4 · ahead: cv/eval (32), rl/sft-3 (8)
         BehindOthers: cv/eval is first
  sync   Pending
  next   wait, or raise its `priority`
""",
    "cv/eval": """\
job/cv/eval: Queued for 9h
  why    Waiting 1st of 3 in h20 · needs 32 GPUs (8×4), free 4
         WaitsForNodes: needs 8 nodes, 1 is free
  sync   Pending
  next   wait, ask for fewer nodes, or choose another pool: `rayops get pools`
""",
    "pool/h20": """\
nodepool/h20: Degraded for 3h30m
  why    NodeLost: 1 of 4 nodes is lost
  next   check the machine; it comes back by itself once it joins again
""",
}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = full(tmp_path / "shared")
    site.log("rl-ppo-gsm8k-0a1b2c3d-2", b"".join(b"\x1b[1mstep\x1b[0m %d\n" % n for n in range(1, 21)))
    return site


def test_a_job_is_described_like_this(site: Site) -> None:
    said = site.call("describe", "rl/ppo-gsm8k", columns=100)
    assert (said.out, said.err, said.code) == (JOB_100, "", Exit.DONE)


def test_a_machine_is_described_with_the_events_of_its_pool(site: Site) -> None:
    site.events(
        "2026-03-14", event(ago(hours=3.5), "nodepool/h20", "State", "NodeLost", "node h20-03 left the cluster")
    )
    assert site.call("describe", "node/h20-03", columns=80).out == NODE_80


def test_a_pool_is_described_with_its_machines(site: Site) -> None:
    lines = site.call("describe", "pool/h20").lines
    assert "  h20-03  lost    4     -             3h30m  NodeLost" in lines


def test_a_waiting_job_is_described_with_who_is_ahead(site: Site) -> None:
    assert "  queue       Waiting 2nd of 3 in h20 · needs 8 GPUs (2×4), free 4 · ahead: cv/eval (32)" in (
        site.call("describe", "job/rl/sft-3").lines
    )


def test_a_page_without_a_log_says_where_it_should_be(site: Site) -> None:
    assert site.call("describe", "job/rl/old").lines[-1] == "  nothing is there yet"


def test_a_described_object_is_json_with_its_events(site: Site) -> None:
    page = json.loads(site.call("describe", "rl/grpo-7", "-o", "json").out)
    assert page["object"]["metadata"]["name"] == "grpo-7"
    assert (page["queue"]["position"], [entry["job"] for entry in page["queue"]["ahead"]]) == (
        3,
        ["cv/eval", "rl/sft-3"],
    )
    assert [entry["reason"] for entry in page["events"]] == ["BehindOthers"]


def test_troubles_of_the_whole_site_are_told_first_and_described_on_its_page(site: Site) -> None:
    error = {
        "path": "teams/rl/x.yaml",
        "line": 3,
        "column": 5,
        "field": "spec.pool",
        "message": "no such",
        "hint": "h20?",
    }
    held = {"brake": "removals", "digest": "ab" * 32, "message": "11 removals", "what": [], "targets": []}
    source = {"message": "force push", "since": "2026-03-01T11:30:00Z"}
    summary = {"readOnly": {"reason": "the ledger is torn"}, "source": source}
    another = error | {"line": 4, "field": "spec.user"}
    site.write("summary.json", summary | {"errors": [error, another], "held": [held]})
    said = site.call("describe", "site/site")
    assert said.err.splitlines() == [
        "warning: the daemon touches nothing: the ledger is torn",
        "warning: the source cannot be followed since 2026-03-01 11:30:00Z: force push",
        "warning: broken files in the source: 1 (see `rayops describe site`)",
    ]
    assert "  teams/rl/x.yaml:3:5  spec.pool  no such (h20?)" in said.lines
    assert f"  removals  {'ab' * 32}  11 removals" in said.lines
    assert "Broken files" not in site.call("describe", "rl/old").out


def test_broken_files_are_counted_and_not_their_mistakes(site: Site) -> None:
    errors = [{"path": path, "message": "no such"} for path in ("a.yaml", "a.yaml", "b.yaml")]
    site.write("summary.json", {"errors": errors})
    assert "broken files in the source: 2 (see" in site.call("get", "jobs").err
    site.write("summary.json", {"errors": errors, "errorsOmitted": 5})
    assert "broken files in the source: 2 or more (see" in site.call("get", "jobs").err


@pytest.mark.parametrize("who", WHY)
def test_why_answers_like_this(site: Site, who: str) -> None:
    said = site.call("why", who)
    assert (said.out, said.code) == (WHY[who], Exit.DONE)


def test_why_names_a_few_who_are_ahead_and_counts_the_rest(site: Site) -> None:
    order = [{"job": f"rl/j{n}", "needs": {"nodes": 1, "gpusPerNode": 2}} for n in range(6)]
    site.write("queue/h20.json", {"pool": "h20", "order": [*order, {"job": "cv/eval"}]})
    assert "ahead: rl/j0 (2), rl/j1 (2), rl/j2 (2), and 3 more (6 GPUs)" in site.call("why", "cv/eval").out


def test_a_queue_that_is_not_listed_to_its_end_is_counted_to_its_end(site: Site) -> None:
    order = [{"job": "rl/a", "needs": {"nodes": 1, "gpusPerNode": 2}}, {"job": "cv/eval"}]
    site.write("queue/h20.json", {"pool": "h20", "order": order, "orderOmitted": 1000})
    assert "Waiting 2nd of 1002 in h20" in site.call("why", "cv/eval").out


def test_why_counts_idle_machines_for_a_job_without_gpus(site: Site) -> None:
    site.put(job("prep", "Queued", needs=(2, 0), reason="WaitsForNodes"))
    site.write("queue/h20.json", {"order": [{"job": "rl/prep", "needs": {"nodes": 2, "gpusPerNode": 0}}]})
    assert "Waiting 1st of 1 in h20 · needs 2 nodes, free 1" in site.call("why", "rl/prep").out


def test_why_looks_at_what_a_job_depends_on(site: Site) -> None:
    site.put(job("next", "Queued", reason="DependencyFailed", detail={"dependsOn": ["old", "cv/eval", "gone"]}))
    assert "needs  old (Failed), cv/eval (Queued), gone (not there)" in site.call("why", "rl/next").out


def test_why_repeats_conditions_that_are_not_met(site: Site) -> None:
    row = {"type": "Ready", "status": "False", "reason": "SomeMissing", "message": "3 of 4 nodes are online"}
    site.put(status("NodePool", "h20", "Degraded", conditions=[row], detail={"nodes": [node("a", "b", "online")]}))
    assert "also   Ready False: 3 of 4 nodes are online" in site.call("why", "pool/h20").out


def test_every_reason_has_a_next_step() -> None:
    assert NEXT_STEP.keys() - {"StatusUnreadable"} == {reason.value for reason in Reason}


def test_the_words_of_the_reading_verbs_are_those_of_the_nouns() -> None:
    assert KINDS.keys() - {NODE} == DOCUMENTS.keys()
    assert STATES.keys() == KINDS.keys()


def test_history_goes_back_through_the_days(site: Site) -> None:
    said = site.call("history")
    assert [line.split()[2] for line in said.lines[1:]] == [
        "job/rl/old",
        "job/rl/ppo-gsm8k",
        "job/rl/ppo-gsm8k",
        "job/rl/ppo-gsm8k",
        "job/rl/grpo-7",
    ]
    assert [line.split()[4] for line in site.call("history", "rl/ppo-gsm8k", "-n", "2").lines[1:]] == [
        "NodeLost",
        "AsDesired",
    ]


@pytest.mark.parametrize(
    ("words", "count"),
    [
        ("", 5),
        ("--since 2h", 1),
        ("--since 3h", 2),
        ("--since 1d", 5),
        ("-n 1", 1),
        ("job/rl/gone", 0),
        ("node/h20-03", 0),
    ],
)
def test_history_is_cut_by_time_number_and_object(site: Site, words: str, count: int) -> None:
    said = site.call("history", *words.split(), "-o", "jsonl")
    assert (len(said.lines), said.code) == (count, Exit.DONE)
    assert len(json.loads(site.call("history", *words.split(), "-o", "json").out)) == count


def test_history_says_when_it_leaves_out_older_events(site: Site) -> None:
    assert site.call("history", "-n", "4").err == "the newest 4; there are older ones (-n N shows more)\n"
    assert site.call("history", "-n", "5").err == ""


def test_history_passes_over_lines_that_are_torn(site: Site) -> None:
    whole = json.dumps(event(ago(hours=1), "job/rl/a", "State", "New", "x"))
    site.write("history/2026-03-14.jsonl", f'{{"at": "torn\n[]\n7\n{whole}\n{whole[:30]}')
    assert len(site.call("history", "--since", "1h", "-o", "jsonl").lines) == 1


@pytest.mark.parametrize(
    "words", ["history --since soon", "history -n 0", "why", "describe a/b/c/d", "history job/../x"]
)
def test_wrong_words_end_with_usage(site: Site, words: str) -> None:
    said = site.call(*words.split())
    assert (said.code, said.out) == (Exit.USAGE, "")


@pytest.mark.parametrize("verb", ["describe", "why"])
def test_what_is_not_there_is_not_found(site: Site, verb: str) -> None:
    said = site.call(verb, "job/rl/nope")
    assert (said.code, said.out) == (Exit.NOT_FOUND, "")


def test_hostile_texts_stay_in_their_line(site: Site) -> None:
    evil = "\x1b]8;;http://evil.example\x07x\nstate Succeeded\u202e"
    facts = {"user": evil, "cluster": evil, "attempts": [{"number": 1, "message": evil, "nodes": [evil]}]}
    row = {"type": evil, "status": "False", "reason": evil, "message": evil}
    site.put(job("evil", "Queued", reason=evil, message=evil, conditions=[row], detail=facts))
    site.events("2026-03-14", event(ago(hours=1), "job/rl/evil", evil, evil, evil))
    for words in ("describe rl/evil", "why rl/evil", "history rl/evil", "describe rl/evil -o yaml"):
        said = site.call(*words.split(), columns=120)
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", said.out)
        assert not any(line.startswith("state Succeeded") for line in said.lines)
