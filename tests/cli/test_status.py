"""Reading a status directory that is missing, old, half new or broken."""

import json
from pathlib import Path

import pytest

from reconciler.cli.exit import Exit
from reconciler.config import Environment
from tests.cli.site import Site, full, job


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return full(tmp_path / "shared")


def test_a_document_newer_than_the_index_counts(site: Site) -> None:
    site.write("job/rl/new.json", job("new", "Running"))
    assert json.loads(site.call("get", "job/rl/new", "-o", "json").out)["state"] == "Running"
    assert "rl/new" not in site.call("get", "jobs").out


def test_an_index_older_than_a_removal_tells_of_nothing_that_is_gone(site: Site) -> None:
    (site.status / "job/rl/old.json").unlink()
    said = site.call("get", "jobs", "-o", "json")
    assert said.code == Exit.DONE
    assert "old" not in {item["metadata"]["name"] for item in json.loads(said.out)["items"]}
    assert site.call("get", "job/rl/old").code == Exit.NOT_FOUND


@pytest.mark.parametrize("content", ["", "{", "[1, 2]", '"text"', "\x00\xff", '{"state": "\\ud800"}'])
def test_a_broken_document_spoils_only_its_own_row(site: Site, content: str) -> None:
    (site.status / "job/rl/old.json").write_text(content, encoding="latin-1")
    said = site.call("get", "jobs", "-o", "json")
    states = {item["metadata"]["name"]: item["state"] for item in json.loads(said.out)["items"]}
    assert (said.code, states["old"], states["eval"]) == (Exit.DONE, "Unknown", "Queued")
    assert "StatusUnreadable" in site.call("why", "rl/old").out


@pytest.mark.parametrize("content", ["", "{", "null", '{"objects": 7}', None])
def test_without_an_index_the_documents_are_read(site: Site, content: str | None) -> None:
    before = site.call("get", "jobs").out
    if content is None:
        (site.status / "index.json").unlink()
    else:
        site.write("index.json", content)
    said = site.call("get", "jobs")
    assert (said.out, said.code) == (before, Exit.DONE)


@pytest.mark.parametrize(
    "facts",
    [
        {"detail": None, "conditions": 7, "history": "x", "metadata": [], "since": 12, "observed": None},
        {"detail": {"attempts": "x", "needs": [], "pool": 7, "user": None, "dependsOn": {}}, "reason": None},
        {"detail": {"attempts": [1, {"number": "x", "nodes": 3, "submissionId": []}]}, "conditions": [None, {}]},
        {"state": None, "sync": {}, "health": [], "message": 3},
    ],
)
def test_fields_of_another_type_read_as_nothing(site: Site, facts: dict[str, object]) -> None:
    site.write("job/rl/old.json", job("old", "Failed") | facts)
    for words in ("get jobs -o wide", "get jobs", "describe rl/old", "why rl/old", "get job/rl/old -o yaml"):
        assert site.call(*words.split()).code == Exit.DONE
    site.write("job/rl/old.json", {"unexpected": True})
    assert site.call("describe", "rl/old").code == Exit.DONE


def test_index_rows_that_are_none_of_ours_are_passed_over(site: Site) -> None:
    site.index(
        [*site.rows(), {"path": "z"}, {"path": "y", "kind": "Job"}, {"path": "x", "kind": "Pod", "name": "p"}]
    )
    assert len(site.call("get", "jobs", "-o", "name").lines) == 5


def test_a_row_cannot_lead_out_of_the_directory(site: Site) -> None:
    (site.root / "secret.json").write_text('{"state": "Stolen"}')
    row = {"path": "p", "kind": "Job", "team": "..", "name": "../secret", "state": "Queued"}
    site.index([*site.rows(), row])
    assert "Stolen" not in site.call("get", "jobs", "-o", "json").out


def test_a_link_is_not_followed(site: Site) -> None:
    (site.root / "secret.json").write_text('{"state": "Stolen"}')
    (site.status / "job/rl/old.json").unlink()
    (site.status / "job/rl/old.json").symlink_to(site.root / "secret.json")
    assert "Stolen" not in site.call("get", "job/rl/old", "-o", "json").out


def test_a_missing_directory_is_unreachable(tmp_path: Path) -> None:
    site = Site(tmp_path / "shared")
    said = site.call("get", "jobs", environment=Environment(status=str(tmp_path / "nowhere")))
    assert (said.code, said.out) == (Exit.UNREACHABLE, "")
    assert "nowhere: it does not exist" in said.err


def test_a_directory_that_nobody_named_is_asked_for(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(site.root)
    said = site.call("get", "jobs", environment=Environment())
    assert said.code == Exit.USAGE
    assert "give --status DIR" in said.err


def test_the_settings_tell_where_status_is(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(site.root)
    (site.root / "rayops.toml").write_text(f'[paths]\nshared = "{site.root}"\n')
    named = site.root / "named.toml"
    named.write_text('[paths]\nstatsu = "x"\n')
    assert len(site.call("get", "jobs", environment=Environment()).lines) == 6
    wrong = site.call("--config", str(named), "get", "jobs", environment=Environment())
    assert (wrong.code, wrong.err) == (
        Exit.USAGE,
        f"{named}:2: paths.statsu: no such setting (did you mean status?)\n",
    )
    elsewhere = Site(site.root / "other")
    assert site.call("get", "jobs", "--status", str(elsewhere.status), environment=Environment()).lines == []


def test_an_empty_directory_has_nothing_and_says_that_nobody_lives(tmp_path: Path) -> None:
    said = Site(tmp_path / "shared").call("get", "jobs")
    assert (said.code, said.out) == (Exit.DONE, "")
    assert said.err == "warning: no daemon has said that it lives (is `rayops run` started?)\nno job found\n"
