"""What every document shares: strictness, and which of its fields decide what runs."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Annotated, Any, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from reconciler.model.json import digest


class Strict(BaseModel):
    """A frozen record that refuses unknown fields and wrong types.

    Python code uses snake_case names. The loader validates with `by_alias=True, by_name=False`, so that files
    know the camelCase names only.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        extra="forbid",
        frozen=True,
        # Error texts end up in status files and logs; an offending value may be a secret.
        hide_input_in_errors=True,
        serialize_by_alias=True,
        strict=True,
        use_attribute_docstrings=True,
        validate_by_alias=True,
        validate_by_name=True,
    )


@dataclass(frozen=True, slots=True)
class Steering:
    """Marks a field that decides when, how long or how often something runs, but not what runs."""


STEERING = Steering()


class ObjectSpec(Strict):
    """What all specs have."""

    suspend: Annotated[bool, STEERING] = False
    """RayOps takes no action on this object while this is true. What runs, runs on."""


# pydantic's own shape of a nested exclusion: a field name to True, or to the exclusion inside that field.
Exclusion: TypeAlias = dict[Any, Any]


def what_runs(spec: Strict) -> dict[str, Any]:
    """Return `spec` as JSON with steering fields and defaults left out."""
    found: dict[str, Any] = _writer(type(spec))(spec)
    return found


@cache
def _writer(kind: type[Strict]) -> Callable[[Strict], Any]:
    # What `model_dump` calls in the end: tens of thousands of specs notice the way there.
    write = kind.__pydantic_serializer__.to_python
    return partial(write, mode="json", by_alias=True, exclude=steering_fields(kind), exclude_defaults=True)


def spec_digest(document: Any) -> str:
    """Return the SHA-256 of what `document` runs: its kind and spec, without name, labels and steering fields.

    A document keeps its digest when it is renamed, when keys change order, and when a default is written out.
    """
    return digest({"kind": document.kind, "spec": what_runs(document.spec)})


@cache
def steering_fields(kind: type[Strict]) -> Exclusion:
    """Return the fields of `kind`, at any depth, that do not change what runs."""
    found: Exclusion = {}
    for name, field in kind.model_fields.items():
        if any(isinstance(mark, Steering) for mark in field.metadata):
            found[name] = True
        elif inside := _steering_inside(field.annotation):
            found[name] = inside
    return found


def _steering_inside(annotation: Any) -> Exclusion:
    """Return the exclusion inside a field's type: a record, one of several, or a list of them."""
    if isinstance(annotation, type) and issubclass(annotation, Strict):
        return steering_fields(annotation)
    inside: Exclusion = {}
    for part in get_args(annotation):
        inside |= _steering_inside(part)
    is_list = getattr(annotation, "__origin__", None) is tuple
    return {"__all__": inside} if inside and is_list else inside
