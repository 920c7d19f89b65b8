"""`rayops get`: which objects, in which order, in which form."""

import csv
import json
from io import StringIO
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from reconciler.cli.exit import Exit
from reconciler.config import Environment
from tests.cli.site import Site, ago, full, job

JOBS_80 = """\
JOB           STATE    SYNC     POS  USER   POOL  GPUS  SINCE  REASON
cv/eval       Queued   Pending  1/3  alice  h20   8x4   9h     WaitsForNodes
rl/grpo-7     Queued   Pending  3/3  alice  h20   1x8   1h     BehindOthers
rl/old        Failed   Synced   -    alice  h20   2x4   20h    Failed
rl/ppo-gsm8k  Running  Synced   -    alice  h20   2x4   3h     AsDesired
rl/sft-3      Queued   Pending  2/3  alice  h20   2x4   2h     BehindOthers
"""
JOBS_60 = """\
JOB      STATE   SYNC   POS  USER   POOL  GPUS  SINCE  REAS…
cv/eval  Queued  Pend…  1/3  alice  h20   8x4   9h     Wait…
"""
NODES_120 = """\
NODE    STATE   POOL  HOST       GPUS  JOB           SINCE  REVISION  REASON    MESSAGE
h20-01  online  h20   10.0.0.11  4     rl/ppo-gsm8k  2d     -         -         -
h20-02  online  h20   10.0.0.12  4     rl/ppo-gsm8k  2d     -         -         -
h20-03  lost    h20   10.0.0.13  4     -             3h30m  -         NodeLost  -
h20-10  online  h20   10.0.0.20  4     -             2d     -         -         -
"""
CLUSTERS = """\
CLUSTER  STATE  SYNC    HEALTH  EPOCH  HEAD    NODES  JOBS  SINCE  REASON
main     Ready  Synced  Ready   3      cpu-01  3/4    1/30  2d     AsDesired
"""
POOLS = """\
POOL  STATE     SYNC    HEALTH    CLUSTER  NODES  FREE  SINCE  REASON
h20   Degraded  Synced  Degraded  main     4      4/16  3h30m  NodeLost
"""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return full(tmp_path / "shared")


@pytest.mark.parametrize(
    ("words", "columns", "text"),
    [
        ("get jobs", 80, JOBS_80),
        ("get jobs", None, JOBS_80),
        ("get jobs -l state=Queued,reason!=x -T cv", 60, JOBS_60),
        ("get nodes -o wide", 120, NODES_120),
        ("get clusters", 80, CLUSTERS),
        ("get cl", 80, CLUSTERS),
        ("get pools", 80, POOLS),
    ],
)
def test_a_table_looks_like_this(site: Site, words: str, columns: int | None, text: str) -> None:
    said = site.call(*words.split(), columns=columns)
    assert (said.out, said.code, said.err) == (text, Exit.DONE, "")


@pytest.mark.parametrize("columns", [40, 60, 80, 100, 120])
def test_the_widest_table_fits_every_terminal(site: Site, columns: int) -> None:
    said = site.call("get", "jobs", "-o", "wide", columns=columns)
    # Sixteen columns need 5 characters each and 2 between them; below that lines wrap.
    assert max(map(len, said.lines)) <= max(columns, 16 * 5 + 15 * 2)


def test_what_is_piped_is_never_cut(site: Site) -> None:
    assert "attempt 2 runs on h20-01, h20-02" in site.call("get", "jobs", "-o", "wide").out


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("jobs", "cv/eval rl/grpo-7 rl/old rl/ppo-gsm8k rl/sft-3"),
        ("jobs -A", "cv/eval rl/grpo-7 rl/old rl/ppo-gsm8k rl/sft-3"),
        ("j -T cv", "cv/eval"),
        ("jobs --team rl -l state=Queued", "rl/grpo-7 rl/sft-3"),
        ("jobs -l state!=Queued", "rl/old rl/ppo-gsm8k"),
        ("jobs -l state==Queued,reason=BehindOthers,team=rl", "rl/grpo-7 rl/sft-3"),
        ("jobs -l user=bob", ""),
        ("jobs ppo-gsm8k rl/old", "rl/ppo-gsm8k rl/old"),
        ("job/rl/old job/cv/eval", "rl/old cv/eval"),
        ("rl/old", "rl/old"),
        ("jobs --sort-by since", "rl/old cv/eval rl/ppo-gsm8k rl/sft-3 rl/grpo-7"),
        ("jobs --sort-by pos", "cv/eval rl/sft-3 rl/grpo-7 rl/old rl/ppo-gsm8k"),
        ("jobs --sort-by detail.needs.nodes", "rl/grpo-7 rl/old rl/ppo-gsm8k rl/sft-3 cv/eval"),
    ],
)
def test_these_objects_come_in_this_order(site: Site, words: str, names: str) -> None:
    said = site.call("get", *words.split(), "--no-headers")
    assert [line.split()[0] for line in said.lines] == names.split()


def test_nodes_sort_as_people_count(site: Site) -> None:
    said = site.call("get", "nodes", "--sort-by", "node", "-o", "name")
    assert said.lines == ["node/h20-01", "node/h20-02", "node/h20-03", "node/h20-10"]


def test_labels_select_before_fields(site: Site) -> None:
    site.put(
        job("red", "Queued", metadata={"name": "red", "team": "rl", "labels": {"tier": "gold", "state": "odd"}})
    )
    for selector in ("tier=gold", "tier", "state=odd"):
        assert site.call("get", "jobs", "-l", selector, "-o", "name").lines == ["job/rl/red"]
    assert "job/rl/red" not in site.call("get", "jobs", "-l", "!tier", "-o", "name").lines


def test_several_kinds_share_a_table(site: Site) -> None:
    said = site.call("get", "pools,nodes", columns=80)
    assert said.lines[0].split() == ["OBJECT", "STATE", "SYNC", "HEALTH", "SINCE", "REASON"]
    assert [line.split()[0] for line in said.lines[1:3]] == ["nodepool/h20", "node/h20-01"]
    assert len(site.call("get", "all", "-o", "name").lines) == 15


def test_one_named_object_is_itself_and_several_are_a_list(site: Site) -> None:
    one = json.loads(site.call("get", "job/rl/old", "-o", "json").out)
    several = json.loads(site.call("get", "jobs", "-o", "json").out)
    assert one == json.loads((site.status / "job/rl/old.json").read_text())
    assert (several["kind"], len(several["items"])) == ("List", 5)
    assert several["items"][2] == one


def test_yaml_jsonl_and_csv_say_the_same(site: Site) -> None:
    items = json.loads(site.call("get", "jobs", "-o", "json").out)["items"]
    assert YAML(typ="safe").load(site.call("get", "jobs", "-o", "yaml").out)["items"] == items
    assert [json.loads(line) for line in site.call("get", "jobs", "-o", "jsonl").lines] == items
    rows = list(csv.DictReader(StringIO(site.call("get", "jobs", "-o", "csv").out)))
    assert [row["STATE"] for row in rows] == [item["state"] for item in items]
    assert rows[0]["TRY"] == ""


def test_what_is_missing_is_named_and_the_rest_is_shown(site: Site) -> None:
    said = site.call("get", "jobs", "old", "nope", "rl/ppo-gsm8", "-o", "name")
    assert (said.lines, said.code) == (["job/rl/old"], Exit.NOT_FOUND)
    assert "job/nope: there is no status of it (see `rayops get all`)" in said.err
    assert "job/rl/ppo-gsm8: there is no status of it (did you mean job/rl/ppo-gsm8k?)" in said.err


def test_a_name_that_two_objects_have_must_be_told_apart(site: Site) -> None:
    site.put(job("old", "Queued", team="cv"))
    said = site.call("get", "jobs", "old")
    assert (said.code, said.out) == (Exit.USAGE, "")
    assert said.err == "job/old: several are called so: job/cv/old, job/rl/old (name one)\n"


def test_nothing_found_is_no_failure(site: Site) -> None:
    said = site.call("get", "jobs", "-T", "nobody")
    assert (said.code, said.out, said.err) == (Exit.DONE, "", "no job found\n")
    assert json.loads(site.call("get", "jobs", "-T", "nobody", "-o", "json").out)["items"] == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("get jbos", "jbos: no such kind (did you mean jobs?)"),
        ("get jobs --sort-by sinc", "sinc: no such column to sort by (did you mean since?)"),
        ("get jobs -l a=b=c", "a=b=c: expected a selector such as"),
        ("get jobs -l state=Qeued", "state=Qeued: a job has no such state (did you mean Queued?"),
        ("get jobs -l user=bob,state!=Qeued", "state!=Qeued: a job has no such state (did you mean Queued?"),
        ("get all -l health=Redy", "health=Redy: an object has no such health (did you mean Ready?"),
        ("get nodes -l sync=Synced", "sync=Synced: a node has no sync"),
        ("get job/rl/sft-3 -l state=Qeued", "(did you mean Queued?"),
        ("get jobs -o xml", "argument -o/--output: invalid choice: 'xml'"),
        ("get jobs --tea rl", "no such option --tea (did you mean --team?)"),
        ("get job/../../etc", "job/../../etc: expected an object such as job/team/name"),
        ("get job/rl/..", "job/rl/..: expected an object such as job/team/name"),
        ("get pool/rl/h20", "pool/rl/h20: expected an object such as"),
        ("get jobs,pools x", "x: names go with one kind"),
        ("gte jobs", "rayops: no such verb gte (did you mean get?)"),
        ("get jobs --watch -o yaml", "--watch cannot write yaml"),
        ("get jobs -A -T rl", "not allowed with argument"),
    ],
)
def test_a_mistake_names_what_is_right(site: Site, words: str, message: str) -> None:
    said = site.call(*words.split())
    assert (said.code, said.out) == (Exit.USAGE, "")
    assert message in said.err


def test_old_status_is_called_old(site: Site) -> None:
    site.beat(ago(minutes=12))
    said = site.call("get", "pools")
    assert said.code == Exit.DONE
    assert said.err == "warning: this is 12m old: the daemon is silent (is `rayops run` alive?)\n"
    assert said.lines[1].split()[1:4] == ["Degraded", "Synced", "Unknown"]
    assert site.call("get", "pools", "--require-fresh").code == Exit.UNREACHABLE
    site.beat(ago(seconds=30))
    assert site.call("get", "pools", "--require-fresh").code == Exit.DONE


def test_status_of_a_time_to_come_is_not_called_fresh(site: Site) -> None:
    site.beat(ago(hours=-3))
    said = site.call("get", "pools", "--require-fresh")
    assert said.code == Exit.UNREACHABLE
    assert "its last sign of life is 3h ahead of this clock: one of the clocks is wrong" in said.err
    site.beat(ago(seconds=-30))
    assert site.call("get", "pools", "--require-fresh").code == Exit.DONE, "clocks differ a little everywhere"


def test_hostile_texts_cannot_draw(site: Site) -> None:
    evil = "\x1b[2J\x1b]8;;http://evil.example\x07x\n\rrl/fake  Running\u202e"
    site.put(job("evil", "Queued", reason=evil, message=evil, detail={"user": evil}))
    for words in ("get jobs", "get jobs -o wide", "get jobs -o csv", "get jobs -o json", "get jobs -o yaml"):
        said = site.call(*words.split(), columns=200)
        assert not {"\x1b", "\x07", "\r", "\u202e"} & set(said.out)
        assert not any(line.startswith("rl/fake") for line in said.lines)


def test_colours_are_for_terminals_that_want_them(site: Site) -> None:
    asks = Environment(status=str(site.status))
    assert "\x1b[31mFailed\x1b[0m" in site.call("get", "jobs", columns=80, environment=asks).out
    assert "\x1b" not in site.call("get", "jobs", environment=asks).out
    assert "\x1b" not in site.call("get", "jobs", "--no-color", columns=80, environment=asks).out
    for silent in (
        Environment(status=str(site.status), dumb=True),
        Environment(status=str(site.status), no_color=True),
    ):
        assert "\x1b" not in site.call("get", "jobs", columns=80, environment=silent).out
