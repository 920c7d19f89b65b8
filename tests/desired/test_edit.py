"""An edit changes what it must and no other character."""

from pathlib import Path as PathOnDisk
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from reconciler.desired import yaml
from reconciler.desired.edit import add_entry, remove_field, set_field
from reconciler.desired.yaml import Refused

POOL = b"""\
# the pool of the hall
kind: NodePool   # not a Job
metadata: {name: h20}
spec:
  # who joins what
  cluster: main
  nodes:
    # first rack
    - {name: a, host: 10.0.0.1}   # new fan

    - name: b
      host: 10.0.0.2
  drain:
    - {node: a, reason: "fan"}  # until Friday
    # the second
    - node: b
      reason: ECC

# the end
"""
EDITS: list[Any] = YAML(typ="safe").load(PathOnDisk(__file__).with_name("cases") / "edits.yaml")


def edited(content: bytes, edit: dict[str, Any]) -> bytes:
    if "set" in edit:
        return set_field(content, tuple(edit["set"]), edit["value"])
    if "add" in edit:
        return add_entry(content, tuple(edit["add"]), edit["value"])
    return remove_field(content, tuple(edit["remove"]))


@pytest.mark.parametrize("edit", EDITS, ids=[edit["name"] for edit in EDITS])
@pytest.mark.parametrize("line_break", [b"\n", b"\r\n"], ids=["unix", "windows"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte order mark"])
def test_only_the_change_differs(edit: dict[str, Any], line_break: bytes, mark: bytes) -> None:
    before, after = edit["from"].encode(), edit["to"].encode()
    assert POOL.count(before) == 1
    content, expected = (mark + text.replace(b"\n", line_break) for text in (POOL, POOL.replace(before, after)))
    assert edited(content, edit) == expected


def test_the_last_entry_takes_its_list_along() -> None:
    assert remove_field(b"spec:\n  a: 1\n  drain:\n    - {node: a}\n", ("spec", "drain", 0)) == b"spec:\n  a: 1\n"


def test_a_spec_without_fields_stays_a_mapping() -> None:
    assert yaml.read(remove_field(b"spec:\n  suspend: true\n", ("spec", "suspend"))) == {"spec": {}}
    assert set_field(b"spec: {}\n", ("spec", "suspend"), value=True) == b"spec: {suspend: true}\n"


def test_an_empty_value_is_filled() -> None:
    assert set_field(b"spec:\n  rerun:\n  a: 1\n", ("spec", "rerun"), 2) == b"spec:\n  rerun: 2\n  a: 1\n"


def test_setting_and_removing_again_gives_the_same_bytes() -> None:
    assert remove_field(set_field(POOL, ("spec", "suspend"), value=True), ("spec", "suspend")) == POOL
    assert remove_field(add_entry(POOL, ("spec", "drain"), {"node": "c"}), ("spec", "drain", 0)) == POOL


def test_a_file_that_is_not_read_strictly_is_not_edited() -> None:
    with pytest.raises(Refused):
        set_field(b"spec: &a {b: 1}", ("spec", "b"), 2)


names = st.sampled_from(["a", "b", "c-d", "no", "x y"])
values = st.recursive(
    st.booleans() | st.integers(0, 9) | names,
    lambda inside: (
        st.lists(inside, min_size=1, max_size=3) | st.dictionaries(names, inside, min_size=1, max_size=3)
    ),
    max_leaves=8,
)


def block(value: Any, indent: int = 0) -> str:
    """Write a value in block style, as people do."""
    pad = " " * indent
    if isinstance(value, dict):
        return "\n" + "\n".join(f'{pad}"{key}":{block(inside, indent + 2)}  # c' for key, inside in value.items())
    if isinstance(value, list):
        return "\n" + "\n".join(f"{pad}-{block(inside, indent + 2)}" for inside in value)
    return f' "{value}"' if isinstance(value, str) else f" {str(value).lower()}"


@given(st.dictionaries(names, values, min_size=1, max_size=3), values, st.data())
@settings(deadline=None, max_examples=200)
def test_every_field_of_any_document_can_be_set_and_removed(document: Any, value: Any, data: st.DataObject) -> None:
    content = block(document).encode()
    assert yaml.read(content) == document
    node = data.draw(st.sampled_from([node for node in yaml.nodes(content) if node.path]))
    set_field(content, node.path, value)  # an edit checks itself: what was meant is what is read
    remove_field(content, node.path)
