"""What editors, people and new repos get agrees with the loader."""

import copy
from pathlib import Path
from typing import Any

import orjson
import pytest

from reconciler.desired.load import load_tree
from reconciler.desired.reference import page
from reconciler.desired.schema import export, schemas
from reconciler.model.document import KINDS
from tests.model.test_spec import CHANGES, document, with_field

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "state-repo-template"


def listed(value: Any) -> Any:
    """Tuples become lists, as in a file."""
    return orjson.loads(orjson.dumps(value))


def test_the_schemas_are_fresh() -> None:
    for name, text in schemas().items():
        assert (ROOT / "schemas" / name).read_bytes() == text, "run python -m reconciler.desired.schema"


def test_the_reference_is_fresh() -> None:
    assert (ROOT / "docs" / "kinds.md").read_text() == page(), "run python -m reconciler.desired.reference"


def test_the_schemas_are_written_into_a_folder(tmp_path: Path) -> None:
    names = export(tmp_path / "new")
    assert {path.name for path in (tmp_path / "new").iterdir()} == set(names) == set(schemas())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("whole", ["rayops", "own"])
def test_what_the_loader_takes_the_schema_takes(kind: str, whole: str) -> None:
    jsonschema: Any = pytest.importorskip("jsonschema")
    name = "rayops.json" if whole == "rayops" else f"{kind.lower()}.json"
    checker = jsonschema.Draft202012Validator(orjson.loads(schemas()[name]))
    for path, value in CHANGES[kind].items():
        checker.validate(listed(with_field(document(kind), path, value)))
    for spoilt in ({"unknown": 1}, {"suspend": "yes"}):
        broken = copy.deepcopy(document(kind))
        broken["spec"] |= spoilt
        assert not checker.is_valid(listed(broken))


@pytest.mark.parametrize("name", schemas())
def test_every_field_explains_itself(name: str) -> None:
    schema = orjson.loads(schemas()[name])
    for record, definition in schema["$defs"].items():
        for field, shape in definition.get("properties", {}).items():
            reference = shape.get("$ref", "#/$defs/").rpartition("/")[2]
            inherited = schema["$defs"].get(reference, {}).get("description")
            is_frame = field in {"apiVersion", "kind", "metadata", "spec"}
            assert shape.get("description") or inherited or is_frame, f"{record}.{field}"


def template() -> dict[str, bytes]:
    return {str(path.relative_to(TEMPLATE)): path.read_bytes() for path in TEMPLATE.rglob("*") if path.is_file()}


def test_the_template_loads_without_error_or_problem() -> None:
    desired = load_tree(template())
    assert desired.errors == ()
    assert not desired.problems
    assert {who.kind for who in desired.objects} == set(KINDS)


def test_each_file_of_the_template_names_its_schema() -> None:
    for who, loaded in load_tree(template()).objects.items():
        first_line = template()[loaded.path].decode().splitlines()[0]
        folder = "../" * loaded.path.count("/")
        assert first_line == f"# yaml-language-server: $schema={folder}.schemas/{who.kind.lower()}.json"


def test_the_pipelines_of_the_template_validate_and_know_no_secret() -> None:
    for path in (".github/workflows/validate.yaml", ".gitea/workflows/validate.yaml", ".gitlab-ci.yml"):
        text = template()[path].decode()
        assert "validate ." in text
        assert "secrets." not in text
        assert "pull_request_target" not in text
