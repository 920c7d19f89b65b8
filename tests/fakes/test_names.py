"""What a fake does was seen on the real part: every test that a fake names is there, and runs on both."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.fakes.gate import Mishap
from tests.fakes.ray import Fault

HERE = Path(__file__).parent
TESTS = HERE.parent
NAME = re.compile(r"\btest_[a-z0-9_]+\b(?!\.py)")
FAKES = [path for path in sorted(HERE.glob("*.py")) if not path.name.startswith(("test_", "__"))]
# These are asked for nothing: a clock and a program of the gate's own tests.
WITHOUT_RULES = {"clock.py", "gate_program.py", "slot.py", "signer.py"}


def texts(path: Path) -> Iterator[str]:
    """Return every docstring and every comment of a module."""
    source = path.read_text()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (text := ast.get_docstring(node)):
            yield text
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {token.start[0]: token.string for token in tokens if token.type == tokenize.COMMENT}
    for line, text in comments.items():
        # A comment of several lines is one.
        if line - 1 not in comments:
            yield "\n".join([text, *(comments[at] for at in range(line + 1, _end(comments, line)))])


def _end(comments: dict[int, str], line: int) -> int:
    while line in comments:
        line += 1
    return line


@cache
def sides() -> dict[str, set[str]]:
    """Return of every test of a part whether it runs on the fake, on the real one, or on both."""
    found: dict[str, set[str]] = {}
    for folder, seen_on in (("fakes", {"fake"}), ("node", {"real"}), ("remote", {"real"}), ("contract", set())):
        for path in (TESTS / folder).glob("test_*.py"):
            tree = ast.parse(path.read_text())
            both = fixtures_of_both(tree)
            for node in tree.body:
                if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                    arguments = {argument.arg for argument in node.args.args}
                    here = seen_on or ({"fake", "real"} if arguments & both else set())
                    found.setdefault(node.name, set()).update(here)
    return found


def fixtures_of_both(tree: ast.Module) -> set[str]:
    """Return the fixtures of a contract that are a fake and something else, or a pair of both."""
    found = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and any("fixture" in ast.unparse(d) for d in node.decorator_list):
            names = {c.value for d in node.decorator_list for c in ast.walk(d) if isinstance(c, ast.Constant)}
            if ("fake" in names and len(names) > 1) or "Pair" in ast.unparse(node.returns or node):
                found.add(node.name)
    return found


def test_contracts_run_on_both_sides() -> None:
    lonely = {
        f"{path.name}::{node.name}"
        for path in (TESTS / "contract").glob("test_*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_") and sides()[node.name] == set()
    }
    # Without a fixture: it draws one of each for every example.
    assert lonely == {"test_files.py::test_fake_and_disk_tell_the_same_story"}


@pytest.mark.parametrize("path", FAKES, ids=lambda path: path.stem)
def test_what_a_fake_names_is_seen_on_the_fake_and_on_the_real_part(path: Path) -> None:
    wrong = {}
    for names in filter(None, map(NAME.findall, texts(path))):
        seen_on = {side for name in names for side in sides().get(name, {"nowhere"})}
        if seen_on != {"fake", "real"}:
            wrong[*names] = seen_on
    assert not wrong


@pytest.mark.parametrize("path", [each for each in FAKES if each.name not in WITHOUT_RULES], ids=lambda p: p.stem)
def test_every_fake_names_where_it_was_seen(path: Path) -> None:
    assert any(NAME.search(text) for text in texts(path))


@pytest.mark.parametrize(("path", "kinds"), [(HERE / "ray.py", Fault), (HERE / "gate.py", Mishap)])
def test_every_mishap_names_where_it_was_seen(path: Path, kinds: type[Fault] | type[Mishap]) -> None:
    lines = path.read_text().splitlines()
    unnamed = [
        kind.name
        for kind in kinds
        if not NAME.search("\n".join(lines[at - 1 : at + 1] if (at := _line(lines, kind.name)) else ""))
    ]
    assert not unnamed


def _line(lines: list[str], name: str) -> int:
    return next((number for number, line in enumerate(lines) if line.startswith(f"    {name} = ")), 0)
