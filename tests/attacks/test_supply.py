"""Attacks that bring their own program: no field of desired state makes the daemon run, fetch or call anything."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.attacks.stage import Stage, document, job, stage, trap
from tests.e2e.installation import ROOT

# Fields by which other systems were made to run programs or call addresses of a committer's choice.
FIELDS = (
    "exec",
    "command",
    "preStart",
    "script",
    "proxyCommand",
    "sshCommand",
    "hook",
    "webhook",
    "notify",
    "image",
)
KINDS = {
    "Cluster": "{{ray: {{version: 2.60.0}}, head: {{candidates: [{{name: h, host: h, user: x}}]}}, {0}}}",
    "NodePool": "{{cluster: main, join: ssh, perNode: {{cpus: 1}}, nodes: [], {0}}}",
    "Site": "{{{0}}}",
    "Team": "{{members: [], {0}}}",
    "User": "{{{0}}}",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage(tmp_path_factory.mktemp("supply")) as made:
        yield made


def test_no_kind_has_a_field_that_runs_something(site: Stage, tmp_path: Path) -> None:
    """Credentials and pools that name a program ran it in the controller: `exec:` and `command:` under a pool."""
    program, trace = trap(tmp_path)
    files = {}
    for kind, spec in KINDS.items():
        for field in FIELDS:
            name = "site" if kind == "Site" else f"{kind}-{field}".lower()
            files[f"{kind}/{field}.yaml"] = document(kind, name, spec.format(f"{field}: [{program}]"))
    for field in ("exec", "command", "script", "image"):
        files[f"teams/a/jobs/{field}.yaml"] = job(field, workload=f"argv: [x], {field}: [{program}]")
    site.commit(files)
    errors = site.errors()
    assert set(errors) == set(files)
    assert all("this field is not known" in said[0] for said in errors.values())
    assert not trace.exists()


def names_in(schema: Any) -> set[str]:
    """Return the names of all fields in a schema."""
    if isinstance(schema, list):
        return set().union(*map(names_in, schema)) if schema else set()
    if not isinstance(schema, dict):
        return set()
    found = set(schema.get("properties", {}))
    return found.union(*map(names_in, schema.values()))


def test_no_schema_has_a_field_that_names_a_program_or_an_address() -> None:
    """The same for every field that there is: what runs is a job's `argv`, and where, a host that ssh reaches."""
    fields = set().union(*(names_in(json.loads(path.read_text())) for path in KIND_SCHEMAS))
    assert {"argv", "host", "nodes"} <= fields
    assert not {field.lower() for field in fields} & {*map(str.lower, FIELDS), "url", "uri", "endpoint", "address"}


KIND_SCHEMAS = [path for path in (ROOT / "schemas").glob("*.json") if not path.name.startswith("status")]
