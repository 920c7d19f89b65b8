"""Arbitrary records of the ledger, drawn from the types themselves so that a new field is never forgotten."""

import dataclasses
import types
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, Union, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from reconciler.model.ledger import META_KEY, RECORD_TYPES, Change, Table

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_LEAVES: dict[Any, st.SearchStrategy[Any]] = {
    bool: st.booleans(),
    int: st.integers(min_value=-(2**63), max_value=2**63 - 1),
    float: st.floats(allow_nan=False, allow_infinity=False),
    str: st.text(max_size=20),
    type(None): st.none(),
    datetime: st.timedeltas(timedelta(0), timedelta(days=40_000)).map(lambda span: _EPOCH + span),
}


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Return any value of a type that the ledger uses."""
    if kind in _LEAVES:
        return _LEAVES[kind]
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in {Union, types.UnionType}:
        return st.one_of([values(each) for each in arguments])
    if origin is tuple and arguments[-1] is Ellipsis:
        return st.lists(values(arguments[0]), max_size=3).map(tuple)
    if origin is tuple:
        return st.tuples(*(values(each) for each in arguments))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return st.sampled_from(kind)
    assert isinstance(kind, type), kind
    assert dataclasses.is_dataclass(kind), kind
    hints = get_type_hints(kind)
    return st.builds(kind, **{f.name: values(hints[f.name]) for f in dataclasses.fields(kind)})


@st.composite
def one_change(draw: st.DrawFn, tables: Sequence[Table] = tuple(Table)) -> Change:
    """Return a change that sets any record, or removes one."""
    table = draw(st.sampled_from(tables))
    if table is Table.META:
        return Change(table, META_KEY, draw(values(RECORD_TYPES[table])))
    record = draw(st.none() | values(RECORD_TYPES[table]))
    # Few keys, so that changes meet.
    return Change(table, draw(st.sampled_from(["a", "b/c", "job/rl/ppo", "ключ\n\u2028"])), record)


def changes(tables: Sequence[Table] = tuple(Table)) -> st.SearchStrategy[list[Change]]:
    """Return the changes of one commit."""
    return st.lists(one_change(tables), min_size=1, max_size=4)
