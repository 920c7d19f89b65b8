"""Attacks on people who read: hostile names, messages and logs, as the command line shows them on a terminal."""

import json
import os
import pty
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.attacks.stage import MACHINES, Stage, document, job, stage
from tests.e2e.installation import ROOT

MiB = 1 << 20
# Moves the cursor, hides an address behind a word, sets the title, answers, draws a row of its own, turns the line.
EVIL = (
    "<img src=x onerror=alert(1)> javascript:alert(1) `@all` \x1b[2J\x1b[1;1H\x1b]8;;http://evil.example\x1b\\here"
    "\x1b]8;;\x1b\\\x1b]0;title\x07\x1b[6n\x9b31m\x1bPq\x1b\\\r\nrl/fake Running\x08\u202e\u200b"
)
# What the command line itself writes to a terminal: colours, and nothing else.
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
OBEYED = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069]")
SUBMISSION = "a.first-01234567-1"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage(tmp_path_factory.mktemp("display")) as made:
        made.commit({**MACHINES, "teams/a/jobs/first.yaml": job("first")})
        yield made


def terminal(site: Stage, *words: str) -> str:
    """Return what a call shows on a real terminal."""
    ours, theirs = pty.openpty()
    shown = bytearray()

    def read() -> None:
        try:
            while piece := os.read(ours, 1 << 16):
                shown.extend(piece)
        except OSError:
            return  # the other side is closed

    reader = threading.Thread(target=read)
    reader.start()
    try:
        subprocess.run(
            [sys.executable, "-m", "reconciler", "--config", str(site.made.home / "rayops.toml"), *words],
            cwd=ROOT,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
            timeout=60,
            check=False,
        )
    finally:
        os.close(theirs)
        reader.join()
        os.close(ours)
    # The terminal itself turns each line end into CR and LF.
    return shown.decode().replace("\r\n", "\n")


def spoilt(value: Any, key: str = "") -> Any:
    """Return a status document in which every text that is no identity is hostile."""
    if isinstance(value, dict):
        return {name: spoilt(inside, name) for name, inside in value.items()}
    if isinstance(value, list):
        return [spoilt(inside, key) for inside in value]
    return value + EVIL if isinstance(value, str) and key not in {"name", "team", "kind", "path", "at"} else value


def test_hostile_status_cannot_draw_on_a_terminal(site: Stage) -> None:
    """Whoever writes to the share puts HTML, cursor movements and links behind words into every text of status."""
    path = site.made.status / "job/a/first.json"
    document = spoilt(json.loads(path.read_text()))
    document["metadata"]["labels"] = {"x": EVIL, EVIL: "x"}
    document["detail"]["attempts"] = [{"number": 1, "submissionId": EVIL, "state": EVIL, "nodes": [EVIL]}]
    path.write_text(json.dumps(document))
    event = {"at": "2030-01-01T00:00:00Z", "object": "job/a/first", "type": EVIL, "reason": EVIL, "message": EVIL}
    (site.made.status / "history/2030-01-01.jsonl").write_text(json.dumps(event) + "\n")
    calls = (("get", "jobs", "-o", "wide"), ("describe", "job/a/first"), ("why", "job/a/first"), ("history",))
    for words in (*calls, ("get", "job/a/first", "-o", "yaml"), ("logs", "a/first")):
        shown = terminal(site, *words)
        assert shown
        assert OBEYED.findall(COLOUR.sub("", shown)) == [], words
        assert not re.search(r"^rl/fake", shown, re.MULTILINE), words


def test_a_hostile_log_cannot_draw_on_a_terminal(site: Stage) -> None:
    """A job prints escapes, links behind words and one line of 10 MB; people read its log on a terminal."""
    path = site.made.status / "job/a/first.json"
    status = json.loads(path.read_text())
    status["detail"]["attempts"] = [{"number": 1, "submissionId": SUBMISSION, "state": "Succeeded"}]
    path.write_text(json.dumps(status))
    log = site.made.shared / "jobs" / SUBMISSION / "logs/driver.log"
    log.parent.mkdir(parents=True)
    log.write_text(f"begin\n{EVIL * 50}\nend\n", newline="")
    shown = terminal(site, "logs", "a/first")
    assert (shown[:6], shown[-4:]) == ("begin\n", "end\n")
    assert OBEYED.findall(shown) == []
    log.write_bytes(b"begin\n" + b"x" * (10 * MiB) + b"\nend\n")
    assert len(terminal(site, "logs", "a/first")) == 10 * MiB + 11
    assert terminal(site, "logs", "a/first", "--tail", "1") == "end\n"
    assert len(terminal(site, "describe", "job/a/first")) < MiB


def test_a_log_that_is_a_link_is_not_shown(site: Stage) -> None:
    """A job puts a link to somebody's secret in the place of its log, and waits for him to read it."""
    secret = site.made.home / "secret"
    secret.write_text("s3cr3t-canary")
    log = site.made.shared / "jobs" / SUBMISSION / "logs/driver.log"
    log.unlink()
    log.symlink_to(secret)
    for words in (("logs", "a/first"), ("describe", "job/a/first")):
        assert "s3cr3t-canary" not in site.made.rayops(*words, code=None)


def test_no_name_forges_a_record(site: Stage) -> None:
    """Log injection: names of files and documents with a line end and a record of their own behind it."""
    forged = 'x\n{"actor":"admin","event":"approved"}\n'
    site.commit(
        {
            f"users/{forged}.yaml": "a: [",
            "users/name.yaml": document("User", json.dumps(forged), "{}"),
            "users/shown.yaml": document("User", "shown", f"{{displayName: {json.dumps(forged)}}}"),
            "users/noted.yaml": document(
                "User", "noted", "{}", metadata=f", annotations: {{x: {json.dumps(forged)}}}"
            ),
            "<img src=x onerror=alert(1)>.yaml": "a: [",
        }
    )
    assert len(site.errors()) == 4
    texts = [site.made.home / "daemon.log", *site.made.status.glob("history/*.jsonl")]
    records = [json.loads(line) for path in texts for line in path.read_text().splitlines()]
    assert records
    assert not any("actor" in record for record in records)
    comment = site.made.rayops("plan", "-o", "markdown", code=2)
    assert "- :x: `<img src=x onerror=alert(1)>.yaml" in comment
    assert not any(line.startswith("{") for line in comment.splitlines())
