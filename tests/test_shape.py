"""The shape of the house: sizes, names, docstrings, and that each kind is complete."""

import ast
import re
import tomllib
from pathlib import Path
from typing import get_args

import pytest
from ruamel.yaml import YAML

from reconciler.kind import Kind
from reconciler.kinds import ALL
from reconciler.model.document import KINDS
from reconciler.model.effect import Effect
from tests.kinds import ledger_words, observed_words
from tests.kinds.shorthand import compared, told, world_of

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "reconciler").rglob("*.py"))
LONGEST = 300
VAGUE = re.compile(r"utils?|helpers?|managers?|handlers?|misc|common", re.IGNORECASE)
PAGE = ROOT / "docs" / "adding-a-kind.md"

# What a package is called where it is imported, if not by its own name.
IMPORTED_AS = {"gitpython": "git", "ruamel.yaml": "ruamel.yaml", "ruamel.yaml.clib": "_ruamel_yaml"}


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("module", MODULES, ids=named)
def test_a_module_is_short_and_says_what_it_is_for(module: Path) -> None:
    text = module.read_text()
    assert len(text.splitlines()) <= LONGEST
    assert ast.get_docstring(ast.parse(text))


@pytest.mark.parametrize("module", MODULES, ids=named)
def test_names_are_words_of_the_domain(module: Path) -> None:
    tree = ast.parse(module.read_text())
    names = [node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef | ast.FunctionDef)]
    words = [*module.relative_to(ROOT).with_suffix("").parts, *names]
    assert not [word for word in words if VAGUE.search("_".join(_words(word)))]


def test_a_vague_name_would_be_found() -> None:
    assert VAGUE.search("_".join(_words("JobManager")))
    assert not VAGUE.fullmatch("managed")


def _words(name: str) -> list[str]:
    """Return the words of a name that are vague as a whole word: `Manager` in `JobManager`, not in `managed`."""
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)
    return [word for word in words if VAGUE.fullmatch(word)]


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.name)
def test_a_kind_is_complete(kind: Kind) -> None:
    name = kind.name.lower()
    folder = ROOT / "reconciler" / "kinds" / name
    wanted = [
        ROOT / "reconciler" / "model" / f"{name}.py",
        folder / "__init__.py",
        folder / "status.py",
        ROOT / "schemas" / f"{name}.json",
    ]
    if kind.effects:
        wanted += [folder / "plan.py", folder / "execute.py", folder / "observe.py"]
    if (folder / "plan.py").exists():
        wanted.append(ROOT / "tests" / "kinds" / name / "cases")
    assert not [named(path) for path in wanted if not path.exists()]
    assert f"\n## {kind.name}\n" in (ROOT / "docs" / "kinds.md").read_text()
    assert kind.name in _kinds_in_the_template()


def test_every_kind_of_document_has_its_folder() -> None:
    assert {kind.name for kind in ALL} == set(KINDS)
    folders = {path.name for path in (ROOT / "reconciler" / "kinds").iterdir() if (path / "__init__.py").exists()}
    assert folders == {kind.name.lower() for kind in ALL}


def test_every_effect_is_carried_out_by_one_kind() -> None:
    effects = [effect for kind in ALL for effect in kind.effects]
    assert sorted(each.__name__ for each in effects) == sorted(each.__name__ for each in get_args(Effect))
    assert all(effect in kind.effects for kind in ALL for effect in kind.settle)


def _kinds_in_the_template() -> set[str]:
    files = sorted((ROOT / "state-repo-template").rglob("*.yaml"))
    documents = [YAML(typ="safe").load(file) for file in files]
    return {each["kind"] for each in documents if isinstance(each, dict) and "kind" in each}


def test_the_page_about_kinds_names_files_that_are_there() -> None:
    rows = re.findall(r"^\| `([^`]+)` \|", PAGE.read_text(), re.MULTILINE)
    paths = [row for row in rows if row.startswith(("reconciler/", "schemas/", "docs/", "tests/", "state-repo"))]
    assert len(paths) > 10
    missing = [path for path in paths if not any(_found(path, kind.name.lower()) for kind in ALL)]
    assert not missing


def _found(path: str, kind: str) -> bool:
    return any(ROOT.glob(path.replace("<kind>", kind).rstrip("/")))


def test_the_page_about_kinds_lists_every_file_of_a_kind() -> None:
    text = PAGE.read_text()
    common = {"__init__.py", "status.py", "observe.py", "case.py", "parts.py", "plan.py", "execute.py", "settle.py"}
    assert all(f"<kind>/{name}`" in text for name in common)
    for kind in ("cluster", "nodepool"):
        files = {path.name for path in (ROOT / "reconciler" / "kinds" / kind).glob("*.py")}
        assert files <= common


def test_the_words_of_cases_are_all_explained() -> None:
    text = PAGE.read_text()
    keys = [*ledger_words.READERS, *observed_words.READERS]
    assert not [key for key in keys if f"| `{key}/" not in text]


def test_the_example_on_the_page_holds() -> None:
    example = re.search(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert example is not None
    (case,) = YAML(typ="safe").load(example.group(1))
    (cluster,) = [kind for kind in ALL if kind.name == "Cluster"]
    compared(case, [told(decision) for decision in cluster.plan(world_of(case))])


def test_every_dependency_is_used() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = [re.split(r"[\[<>=!~; ]", each)[0].lower() for each in project["dependencies"]]
    text = "\n".join(module.read_text() for module in MODULES)
    used = [name for name in names if _is_imported(IMPORTED_AS.get(name, name), text)]
    assert used == names


def _is_imported(name: str, text: str) -> bool:
    return re.search(rf"^\s*(import|from) {re.escape(name)}\b", text, re.MULTILINE) is not None
