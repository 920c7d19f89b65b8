"""The settings file: what is there is read, what is wrong is named with its place, and no value is echoed."""

import sys
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from reconciler.config import Environment, Misconfigured, Places, find, read_places, read_settings
from reconciler.model.duration import read_duration
from reconciler.model.quantity import parse_duration
from reconciler.model.world import Tuning

WHOLE = """
[source]
url = "ssh://git@forge.example/rayops.git"
branch = "live"
ssh_key = "keys/deploy"

[paths]
state = "/var/lib/rayops"
shared = "/mnt/shared"

[machines]
transport = "local"
parallel = 8

[ray.interpreters]
"2.60.0" = "/opt/ray-2.60/bin/python"

[daemon]
resync = "2m"
log = "json"

[tuning]
node_join = "45s"
"""


def written(folder: Path, text: str) -> Path:
    file = folder / "rayops.toml"
    file.write_text(text, encoding="utf-8")
    return file


def mistakes(folder: Path, text: str) -> list[str]:
    with pytest.raises(Misconfigured) as caught:
        read_settings(written(folder, text))
    return [line.removeprefix(f"{folder}/") for line in str(caught.value).splitlines()]


def test_what_is_written_counts_and_the_rest_has_defaults(tmp_path: Path) -> None:
    settings = read_settings(written(tmp_path, WHOLE))
    assert (settings.source.branch, settings.source.path) == ("live", "")
    assert settings.paths.status == Path("/mnt/shared/status")
    assert (settings.machines.transport, settings.machines.parallel) == ("local", 8)
    assert settings.ray.interpreters == {"2.60.0": "/opt/ray-2.60/bin/python"}
    assert (settings.daemon.resync, settings.daemon.heartbeat) == (timedelta(minutes=2), timedelta(seconds=10))
    assert settings.tuning == Tuning(node_join=timedelta(seconds=45))


def test_relative_paths_start_at_the_settings_file(tmp_path: Path) -> None:
    assert read_settings(written(tmp_path, WHOLE)).source.ssh_key == tmp_path / "keys/deploy"


@pytest.mark.parametrize(
    ("source", "poll"),
    [
        ('directory = "/mnt/desired"', 2),
        ('url = "/srv/git/desired.git"', 2),
        ('url = "file:///srv/git/desired.git"', 2),
        ('url = "https://forge.example/desired.git"', 15),
        ('url = "git@forge.example:desired.git"', 15),
        ('url = "https://forge.example/desired.git"\npoll = "1m"', 60),
    ],
)
def test_a_local_source_is_looked_at_more_often(tmp_path: Path, source: str, poll: int) -> None:
    text = f'[source]\n{source}\n[paths]\nstate = "/s"\nshared = "/m"\n'
    assert read_settings(written(tmp_path, text)).source.poll == timedelta(seconds=poll)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("branch", "brnch"), "rayops.toml:4: source.brnch: no such setting (did you mean branch?)"),
        (("[machines]", "[machine]"), "rayops.toml:11: machine: no such section (did you mean machines?)"),
        (("= 8", '= "8"'), "rayops.toml:13: machines.parallel: expected a whole number"),
        (("= 8", "= true"), "rayops.toml:13: machines.parallel: expected a whole number"),
        (("= 8", "= 0"), "rayops.toml:13: machines.parallel: expected more than zero"),
        (('"local"', '"telnet"'), "rayops.toml:12: machines.transport: expected one of: ssh, local"),
        (('"2m"', '"0s"'), "rayops.toml:19: daemon.resync: expected more than zero"),
        (('"2m"', '"2 minutes"'), "rayops.toml:19: daemon.resync: expected a length of time such as"),
        (('"2m"', "120"), "rayops.toml:19: daemon.resync: expected a length of time such as"),
        (
            ("node_join", "node_joins"),
            "rayops.toml:23: tuning.node_joins: no such setting (did you mean node_join?)",
        ),
        (('shared = "/mnt/shared"', ""), "rayops.toml:7: paths.shared: this setting is required"),
        (('"/mnt/shared"', "7"), "rayops.toml:9: paths.shared: expected a text"),
        (('"/opt/ray-2.60/bin/python"', "2"), "rayops.toml:15: ray.interpreters: expected a table of texts"),
        (
            ("url", 'directory = "/d"\nurl'),
            "rayops.toml:2: source: expected either url (a Git remote) or directory",
        ),
        (("ssh://git@", "https://me:hunter2@"), "rayops.toml:3: source.url: a URL must not hold a credential"),
        (("ssh://git@", "http://"), "rayops.toml:3: source.url: http is not encrypted"),
        (("[paths]", "[paths"), "rayops.toml:7:7: not TOML: "),
    ],
)
def test_a_mistake_is_named_with_its_place(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    found = mistakes(tmp_path, WHOLE.replace(*change, 1))
    assert any(line.startswith(message) or line.endswith(message) for line in found), found
    assert "hunter2" not in "".join(found)


def test_all_mistakes_are_named_at_once(tmp_path: Path) -> None:
    text = WHOLE.replace("branch", "brnch").replace("resync", "rsync").replace("= 8", "= -8")
    assert len(mistakes(tmp_path, text)) == 3


def test_an_empty_file_tells_what_is_required(tmp_path: Path) -> None:
    found = mistakes(tmp_path, "")
    assert [line.split(": ")[1] for line in found] == ["source", "paths.shared", "paths.state"]


def test_a_section_must_be_one(tmp_path: Path) -> None:
    assert "rayops.toml:1: paths: expected a section: [paths]" in mistakes(tmp_path, "paths = 3\n")


@pytest.mark.parametrize("content", [b"\xff\xfe", b"[paths]\nshared = 1\n"])
def test_a_reader_refuses_a_file_that_it_cannot_use(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "rayops.toml"
    file.write_bytes(content)
    with pytest.raises(Misconfigured):
        read_places(file)


def test_a_reader_needs_the_places_only(tmp_path: Path) -> None:
    text = '[paths]\nshared = "/mnt/shared"\n[daemon]\nrsync = 7\n'
    assert read_places(written(tmp_path, text)) == Places(Path("/mnt/shared/status"), Path("/mnt/shared"))
    assert read_places(written(tmp_path, "")) == Places()


def test_the_named_file_must_be_there_and_the_usual_ones_may_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    named = written(tmp_path, "").rename(tmp_path / "named.toml")
    assert find("named.toml", Environment(config="other.toml")) == Path("named.toml")
    assert find("", Environment(config=str(named))) == named
    with pytest.raises(Misconfigured, match=r"other\.toml: there is no such settings file"):
        find("", Environment(config="other.toml"))
    written(tmp_path, "")
    assert find("", Environment()) == Path("rayops.toml")


@given(st.from_regex(r"[0-9]{0,9}d?[0-9]{0,7}h?[0-9]{0,8}m?[0-9]{0,9}s?", fullmatch=True) | st.text(max_size=6))
@example("1d12h")
@example("90s\n")
@example("")
@example("٣s")
def test_a_length_of_time_is_the_same_in_settings_and_in_documents(text: str) -> None:
    try:
        expected = parse_duration(text)
    except PydanticCustomError:
        with pytest.raises(ValueError, match="length of time"):
            read_duration(text)
    else:
        assert read_duration(text) == expected


def test_reading_settings_for_a_reader_loads_no_pydantic() -> None:
    import subprocess

    code = "import sys; import reconciler.config; sys.exit('pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
