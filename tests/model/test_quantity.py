"""Lengths of time and amounts of memory are read back as they were written."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from reconciler.model.quantity import Duration, Memory, write_duration, write_memory

DURATION: TypeAdapter[timedelta] = TypeAdapter(Duration)
MEMORY: TypeAdapter[int] = TypeAdapter(Memory)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("90s", 90), ("15m", 900), ("2h", 7200), ("1d", 86_400), ("1h30m", 5400), ("1d2h3m4s", 93_784), ("0s", 0)],
)
def test_a_duration_is_the_sum_of_its_parts(written: str, seconds: int) -> None:
    assert DURATION.validate_python(written) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "written",
    ["", "s", "90", 91, 1.5, True, None, "1.5h", "-1s", "1s1m", "1h 30m", "90s\n", "９s", "1w", "9" * 50 + "s"],
)
def test_anything_else_is_no_duration(written: object) -> None:
    with pytest.raises(ValidationError):
        DURATION.validate_python(written)


@pytest.mark.parametrize(
    ("written", "amount"),
    [("1KiB", 1024), ("512MiB", 512 << 20), ("500GiB", 500 << 30), ("999999TiB", 999_999 << 40)],
)
def test_memory_is_counted_in_bytes(written: str, amount: int) -> None:
    assert MEMORY.validate_python(written) == amount


@pytest.mark.parametrize(
    "written", ["", "500", "500GB", "0GiB", "1.5GiB", "-1GiB", "500 GiB", "500GiB\n", "1000000TiB", True, 1.5]
)
def test_anything_else_is_no_amount_of_memory(written: object) -> None:
    with pytest.raises(ValidationError):
        MEMORY.validate_python(written)


def test_a_file_names_the_unit_of_memory() -> None:
    assert MEMORY.validate_python(1024) == 1024
    with pytest.raises(ValidationError):
        MEMORY.validate_json("1024")


@given(st.integers(0, 10**8))
def test_a_duration_survives_being_written(seconds: int) -> None:
    span = timedelta(seconds=seconds)
    assert DURATION.validate_python(write_duration(span)) == span


@given(st.integers(1, 999_999), st.sampled_from([1 << 10, 1 << 20, 1 << 30, 1 << 40]))
def test_memory_survives_being_written(count: int, unit: int) -> None:
    assert MEMORY.validate_python(write_memory(count * unit)) == count * unit
