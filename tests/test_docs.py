"""The pages tell the truth: every command, link, path, setting, code and reason in them is there in the program."""

import dataclasses
import re
import shlex
from argparse import Namespace
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from reconciler.cli.exit import Ended, Exit
from reconciler.cli.parser import split, verb_parser
from reconciler.cli.verbs import VERBS, verb_named
from reconciler.config import (
    DaemonSettings,
    MachineSettings,
    PathSettings,
    RaySettings,
    SourceSettings,
)
from reconciler.model.document import KINDS
from reconciler.model.duration import read_duration
from reconciler.model.plan import Reason
from reconciler.model.snapshot import SourceFault
from reconciler.model.world import Tuning
from reconciler.record.journal import Fault

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "state-repo-template/README.md", *ROOT.glob("docs/**/*.md")]
)
OPERATIONS = (ROOT / "docs/operations.md").read_text()
SECTIONS: dict[str, Any] = {
    "source": SourceSettings,
    "paths": PathSettings,
    "machines": MachineSettings,
    "ray": RaySettings,
    "daemon": DaemonSettings,
    "tuning": Tuning,
}
# Folders whose files are named in prose by their path.
TREES = ("reconciler/", "tests/", "deploy/", "docs/", "schemas/", "state-repo-template/")

by_page = pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])


def fences(text: str) -> list[tuple[str, str]]:
    """Return language and content of every fenced block."""
    return re.findall(r"^```(\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def prose(text: str) -> str:
    """Return the page without its fenced blocks."""
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def shell_lines(block: str) -> Iterator[str]:
    """Yield the commands of a block: continued lines joined, here-documents and prompts left out."""
    end = ""
    for line in block.replace("\\\n", " ").splitlines():
        if end:
            end = "" if line.strip() == end else end
            continue
        yield line.removeprefix("$ ")
        if here := re.search(r"<<-?\s*'?(\w+)'?", line):
            end = here[1]


def calls(line: str) -> Iterator[list[str]]:
    """Yield the words after `rayops` for each call of it in a shell line."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if set(word) <= set(";&|<>()"):
            if words and word.startswith((">", "<")) and words[-1].isdigit():
                words.pop()  # the 2 of `2> file`
            # What follows a redirection is a file, and what follows an operator is another command.
            yield from _call(words)
            words = ["file"] if word.startswith((">", "<")) else []
        else:
            words.append(word)


def _call(words: list[str]) -> Iterator[list[str]]:
    while words and (words[0] == "sudo" or "=" in words[0]):
        words = words[3:] if words[1:2] == ["-u"] else words[1:]
    if words and words[0] == "rayops":
        yield words[1:]


def commands(page: Path) -> list[list[str]]:
    """Return every call of `rayops` in the shell blocks of a page."""
    blocks = [content for language, content in fences(page.read_text()) if language in {"bash", "sh", "console"}]
    return [call for block in blocks for line in shell_lines(block) for call in calls(line)]


def check_call(words: list[str]) -> None:
    """Stop unless the command line would be taken."""
    before, name, after = split(words)
    verb = verb_named(name)
    assert verb is not None, f"no such verb: rayops {' '.join(words)}"
    try:
        verb_parser(verb).parse_args(list(after), Namespace())
    except Ended as end:
        raise AssertionError(f"rayops {' '.join(words)}: {end.message}") from end
    assert all(word.startswith("--config") or not word.startswith("-") for word in before)


@by_page
def test_every_command_in_a_block_would_be_taken(page: Path) -> None:
    for call in commands(page):
        check_call(call)


def test_the_pages_show_commands_at_all() -> None:
    assert {call[0] for page in PAGES for call in commands(page)} >= {"plan", "get", "why", "recover", "approve"}


@by_page
def test_every_command_in_a_sentence_has_its_verb_and_flags(page: Path) -> None:
    for span in re.findall(r"`(rayops [^`]+)`", prose(page.read_text())):
        _, name, after = split(span.split()[1:])
        for each in name.split("|"):
            verb = verb_named(each)
            assert verb is not None, f"no such verb: {span}"
            parser = verb_parser(verb)
            flags = [word.partition("=")[0] for word in after if word.startswith("-")]
            assert set(flags) <= set(parser.flags), f"no such flag: {span}"


def test_a_wrong_command_is_noticed() -> None:
    for wrong in ("plan --nowhere", "frobnicate", "wait cluster/main", "approve", "get"):
        with pytest.raises(AssertionError):
            check_call(wrong.split())
    assert list(calls("A=1 sudo -u rayops rayops plan 2> x && echo rayops sync | rayops get jobs")) == [
        ["plan"],
        ["get", "jobs"],
    ]


@by_page
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        found = (page.parent / name).resolve() if name else page
        assert found.exists(), f"{target} is not there"
        assert found.is_relative_to(ROOT), f"{target} leads out of the repo"
        assert not anchor or anchor in anchors(found), f"{target}: no such heading"


def anchors(page: Path) -> set[str]:
    """Return the anchors that forges make of a page's headings."""
    titles = re.findall(r"^#+ (.+)$", prose(page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@by_page
def test_every_path_of_this_repo_is_there(page: Path) -> None:
    for span in re.findall(r"`([^`\s]+)`", prose(page.read_text())):
        if span.startswith(TREES) and not set(span) & set("*<>{}"):
            path, _, name = span.partition("::")
            assert (ROOT / path).exists(), f"{page.name}: {span} is not there"
            text = (ROOT / path).read_text() if name else ""
            assert f"\ndef {name}(" in text or not name, f"{page.name}: there is no test {span}"


@by_page
def test_every_make_target_is_there(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = re.findall(r"`make ([a-z-]+)`", page.read_text())
    assert set(named) <= targets


def rows(text: str, heading: str) -> list[list[str]]:
    """Return the cells of the first table below a heading."""
    match = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", text, re.MULTILINE | re.DOTALL)
    assert match, f"no heading {heading}"
    lines = [line for line in match[1].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def spoken(default: object) -> str:
    """Return a default as the page writes it."""
    if default is dataclasses.MISSING:
        return "required"
    if isinstance(default, bool):
        return str(default).lower()
    return "none" if default in (None, {}) else str(default) or '""'


@pytest.mark.parametrize("section", SECTIONS)
def test_every_setting_is_explained_with_its_default(section: str) -> None:
    told = {cells[0].strip("`"): cells[1].strip("`") for cells in rows(OPERATIONS, f"`[{section}]`")}
    known = {each.name: each for each in dataclasses.fields(SECTIONS[section])}
    assert list(told) == list(known), "each setting once, in the program's order"
    for name, each in known.items():
        default = each.default_factory() if callable(each.default_factory) else each.default
        if (section, name) == ("paths", "status"):
            assert told[name] == "<shared>/status"
        elif isinstance(default, timedelta):
            assert read_duration(told[name]) == default, name
        else:
            assert told[name] == spoken(default), name


def test_no_section_of_the_settings_is_left_out() -> None:
    headings = re.findall(r"^#+ `\[(\w+)\]`$", OPERATIONS, re.MULTILINE)
    assert headings == list(SECTIONS)


def test_the_exit_codes_are_those_of_the_program() -> None:
    assert [int(cells[0]) for cells in rows(OPERATIONS, "Exit codes")] == [code.value for code in Exit]


@pytest.mark.parametrize(
    ("heading", "words"),
    [("Read-only: the ledger cannot be used", Fault), ("The source has a problem", SourceFault)],
)
def test_every_fault_has_a_next_step(heading: str, words: Any) -> None:
    table = rows(OPERATIONS, heading)
    assert {cells[0].strip("`") for cells in table} == {fault.value for fault in words}
    assert all(len(cells) == 3 and cells[2] for cells in table)


def test_reasons_for_waiting_are_the_program_s() -> None:
    named = {word for cells in rows(OPERATIONS, "A job waits") for word in re.findall(r"`(\w+)`", cells[0])}
    assert named
    assert named <= {reason.value for reason in Reason}


def test_every_attack_is_shown_by_a_test_and_no_test_is_forgotten() -> None:
    page = (ROOT / "docs/security.md").read_text()
    defended = page[page.index("## What is defended") : page.index("### What attacks")]
    table = [line for line in defended.splitlines() if line.startswith("| ") and "| shown by |" not in line]
    assert len(table) > 40
    for line in table:
        assert re.search(r"`tests/[a-z0-9_/]+\.py::test_\w+`", line), line
    for path in (ROOT / "tests/attacks").glob("test_*.py"):
        for name in re.findall(r"^def (test_\w+)\(", path.read_text(), re.MULTILINE):
            assert f"tests/attacks/{path.name}::{name}`" in page, f"{name} is in no table"


def test_every_kind_has_its_section() -> None:
    headings = re.findall(r"^## (\w+)$", (ROOT / "docs/kinds.md").read_text(), re.MULTILINE)
    assert set(headings) == set(KINDS)


def test_every_variable_that_a_program_finds_is_explained() -> None:
    code = "".join((ROOT / "reconciler/kinds/job" / name).read_text() for name in ("submit.py", "execute.py"))
    set_for_jobs = set(re.findall(r'"(RAYOPS_[A-Z_]+)":', code))
    told = set(re.findall(r"`(RAYOPS_[A-Z_]+)`", (ROOT / "docs/kinds.md").read_text()))
    assert set_for_jobs == told
    assert "RAYOPS_NODES" in told


def test_every_page_can_be_found_from_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    for page in ROOT.glob("docs/*.md"):
        assert f"(docs/{page.name})" in readme, f"the README does not lead to {page.name}"


def test_decisions_are_numbered_short_and_whole() -> None:
    pages = sorted((ROOT / "docs/decisions").glob("*.md"))
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    for page in pages:
        text = page.read_text()
        assert text.startswith(f"# {int(page.name[:4])}. "), page.name
        assert all(f"**{part}.**" in text for part in ("Context", "Choice", "Consequence")), page.name
        assert len(text.splitlines()) <= 40, f"{page.name} is longer than a screen"


def test_verbs_are_counted_in_the_changelog_or_the_pages() -> None:
    told = "\n".join(page.read_text() for page in PAGES)
    for verb in VERBS:
        if not verb.hidden:
            assert re.search(rf"\b{verb.name}\b", told), f"no page names `rayops {verb.name}`"


def test_the_promises_are_judged_where_the_page_says() -> None:
    rows = re.findall(r"^\| (I\d+) [^|]*\| ([^|]*) \|", (ROOT / "docs/testing.md").read_text(), re.MULTILINE)
    told = {(promise, place) for promise, places in rows for place in re.findall(r"`(\w+\.py)`", places)}
    judged = {
        (promise, module.name)
        for module in (ROOT / "tests/simulator").glob("*.py")
        if module.name not in {"__main__.py", "bugs.py", "run.py"}
        for promise in re.findall(r"\bI\d+\b", module.read_text())
    }
    assert told == judged
