"""The reference of the kinds for people, `docs/kinds.md`: what an editor shows, as one page of tables."""

from collections.abc import Iterator, Mapping
from typing import Any

from reconciler.desired.schema import AsWritten
from reconciler.model import ids, quantity, text
from reconciler.model.document import KINDS
from reconciler.model.spec import Strict, steering_fields

INTRODUCTION = """\
# Kinds

Each file holds one document: `apiVersion: rayops/v1`, a `kind`, `metadata` and a `spec`. The name in the document
is the identity of the object; its path is not, except that what belongs to a team is in `teams/<team>/`. Fields
without a default are required. Fields marked with ° steer: they decide when, how long or how often something runs,
and changing them restarts nothing.

`metadata` of every kind has `name` (a-z, 0-9, `-`; at most 42 characters), `labels` and `annotations`; a Job has
`team` too. A *duration* is written like `90s`, `15m`, `2h` or `1d12h`; *memory* like `512MiB` or `500GiB`.

This page is generated from `reconciler/model/`: `python -m reconciler.desired.reference`.
"""

# Job is the last kind, so this stands in its section.
PROGRAM = """
### What a job's program finds

It is started once, on the first of its nodes, with the variables that Ray sets there: `ray.init()` without an
address joins the job's cluster. Only a label keeps its work on its own nodes:
`label_selector={"rayops-node": node}`. Beside `workload.env` there are

| variable | what |
|---|---|
| `RAYOPS_NODES`, `RAYOPS_NODE_COUNT` | the names of its nodes, with commas between them; how many |
| `RAYOPS_GPUS_PER_NODE` | `resources.gpusPerNode` |
| `RAYOPS_CHECKPOINT_DIR` | a folder that later attempts find again, also after an edit or a rename; see below |
| `RAYOPS_JOB_DIR` | the directory of this attempt, `jobs/<submission id>` in the shared directory |
| `RAYOPS_SHARED_ROOT` | the shared directory |
| `RAYOPS_TEAM`, `RAYOPS_JOB`, `RAYOPS_USER` | whose it is |
| `RAYOPS_ATTEMPT`, `RAYOPS_SUBMISSION_ID` | the number of the attempt, from 1; its id |
| `OMP_NUM_THREADS` | the node's CPUs for each of the GPUs, unless `workload.env` says another number |

Checkpoints go to `users/<user>/checkpoints/<team>/<job>` in the shared directory, which is made before the start.
The folder keeps its name when the job is renamed, and what comes under the old name later gets `<job>.<number>`. A
job that was removed and is back under its name finds its folder again. A rename and an edit at once make it another
job, and another `user` has another folder.

What it prints is in `rayops logs`. Exit code 0 is success, another one a failure of class `user`; what a signal
ended is `transient`, what a drain stopped `preempted`, and `lost` is what nobody saw end. Where one of its nodes
failed meanwhile, each of these but `preempted` is of class `node`, as far as Ray knows by then: it needs some
seconds, so name `node` beside the others and not alone. What its node could not even begin (`NotBegun`) is no
failure of the job: it is tried again after the same waits, however often, and none is counted.

Asked to stop, it gets TERM, and KILL after the `grace` with which its attempt began. Limits are kept by the daemon,
as they are at the moment: while it is down, or the head does not answer, nothing ends at its limit.
"""

_NAMES = {
    quantity.DURATION_PATTERN: "duration",
    quantity.MEMORY_PATTERN: "memory",
    ids.NAME_PATTERN: "name",
    text.HOST_PATTERN: "host",
    text.LOGIN_PATTERN: "login name",
    text.PATH_PATTERN: "relative path",
}
_WORDS = {"integer": "whole number", "string": "text", "boolean": "true or false", "number": "number"}


def page() -> str:
    """Return the whole page."""
    return INTRODUCTION + "".join(_section(name, kind) for name, kind in KINDS.items()) + PROGRAM


def _section(name: str, kind: type[Strict]) -> str:
    schema = kind.model_json_schema(by_alias=True, schema_generator=AsWritten)
    definitions = schema["$defs"]
    spec = _resolved(schema["properties"]["spec"], definitions)
    steering = set(steering_fields(kind).get("spec", {}))
    record: Any = kind.model_fields["spec"].annotation
    marked = {str(field.alias) for own, field in record.model_fields.items() if own in steering}
    rows = "".join(_rows(spec, definitions, "", marked))
    return (
        f"\n## {name}\n\n{schema['description']}\n\n| field | type | default | meaning |\n|---|---|---|---|\n{rows}"
    )


def _rows(
    record: Mapping[str, Any], definitions: Mapping[str, Any], prefix: str, marked: set[str]
) -> Iterator[str]:
    """Give the rows of a record's fields, each followed by those of the records inside it."""
    required = record.get("required", ())
    for name, field in record["properties"].items():
        mark = "°" if name in marked else ""
        default = "" if name in required else _default(field)
        said = str(field.get("description") or _resolved(field, definitions).get("description", ""))
        meaning = " ".join(said.split())
        yield f"| `{prefix}{name}`{mark} | {_type(field, definitions)} | {default} | {meaning} |\n"
        inner, suffix = _inside(field, definitions)
        if inner:
            yield from _rows(inner, definitions, f"{prefix}{name}{suffix}.", set())


def _default(field: Mapping[str, Any]) -> str:
    value = field.get("default")
    if value in (None, "", [], {}):
        return "none"
    if isinstance(value, dict):
        return "as below"
    if isinstance(value, list):
        return ", ".join(f"`{entry}`" for entry in value)
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _type(field: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    field = _resolved(field, definitions)
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return " or ".join(f"`{choice}`" for choice in field["enum"])
    if field["type"] == "array":
        return f"list of {_type(field['items'], definitions)}"
    if field["type"] == "object":
        return "fields" if "properties" in field else "texts by name"
    name = _NAMES.get(field.get("pattern", ""), _WORDS[field["type"]])
    bounds = [str(field[bound]) for bound in ("minimum", "maximum") if bound in field]
    return f"{name}, {' to '.join(bounds)}" if len(bounds) > 1 else name


def _inside(field: Mapping[str, Any], definitions: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    """Return the record inside a field, if any, and how its fields are addressed."""
    field = _resolved(field, definitions)
    if field.get("type") == "array":
        inner, suffix = _inside(field["items"], definitions)
        return inner, f"[]{suffix}"
    return (field, "") if "properties" in field else ({}, "")


def _resolved(field: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a field's own schema: what it refers to, and of an optional one what it is when given."""
    options = [option for option in field.get("anyOf", ()) if option.get("type") != "null"]
    if options:
        return _resolved(options[0], definitions)
    if "$ref" in field:
        return _resolved(definitions[field["$ref"].rpartition("/")[2]], definitions)
    return field


if __name__ == "__main__":
    import sys

    sys.stdout.write(page())
