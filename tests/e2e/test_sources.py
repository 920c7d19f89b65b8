"""The daemon follows its source, however that is given; no cluster is needed to see it."""

import signal
import time
from pathlib import Path

import pytest

from tests.e2e.installation import Installation, installation

USER = "apiVersion: rayops/v1\nkind: User\nmetadata: {{name: {0}}}\nspec: {{}}\n"


def _with_source(made: Installation, lines: str) -> None:
    settings = made.home / "rayops.toml"
    text = settings.read_text()
    settings.write_text(text.replace(f'url = "{made.repo}"', lines))


@pytest.mark.parametrize("form", ["path", "file://", "directory"])
def test_a_change_is_seen_at_once(form: str, tmp_path: Path) -> None:
    with installation() as made:
        folder = made.repo
        if form == "directory":
            folder = tmp_path / "desired"
            folder.mkdir()
            _with_source(made, f'directory = "{folder}"')
        elif form == "file://":
            _with_source(made, f'url = "file://{made.repo}"')
        (folder / "alice.yaml").write_text(USER.format("alice"))
        if form != "directory":
            made.commit("Add alice", {})
        made.start()
        made.until("user/alice", "Ready", seconds=30)
        (folder / "bob.yaml").write_text(USER.format("bob"))
        if form != "directory":
            made.git("add", "--all")
            made.git("commit", "--quiet", "--message", "Add bob")
        # The poll is every 30 s: what comes sooner was told by the watch.
        made.until("user/bob", "Ready", seconds=10)
        assert made.stop() == 0


def test_a_source_that_is_gone_changes_nothing_and_is_told(tmp_path: Path) -> None:
    with installation() as made:
        made.commit("Add alice", {"alice.yaml": USER.format("alice")})
        made.start()
        made.until("user/alice", "Ready", seconds=30)
        made.repo.rename(made.home / "elsewhere")
        made.stop(signal.SIGKILL)
        made.start()
        deadline = time.monotonic() + 30
        while not (made.object("summary") or {}).get("source"):
            assert time.monotonic() < deadline, made.trail()
            time.sleep(0.2)
        assert (made.object("user/alice") or {})["state"] == "Ready"


@pytest.mark.parametrize(
    ("line", "said", "code"),
    [
        ('url = "ext::sh -c true"', "[source]", 6),
        ('url = "https://user:hunter2@host/repo"', "source.url", 2),
    ],
)
def test_a_source_that_is_not_allowed_is_refused_and_never_repeated(line: str, said: str, code: int) -> None:
    with installation() as made:
        _with_source(made, line)
        told = made.rayops("once", code=code)
        assert said in told
        assert "hunter2" not in told
