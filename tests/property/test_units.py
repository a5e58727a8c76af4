# SPDX-License-Identifier: Apache-2.0
"""Units: scaling laws that hold for every number."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placement.units import DIMENSIONS, UnitError, format_Bps, format_bytes, format_time, parse_quantity

NUMBERS = st.floats(1e-3, 1e3)


@given(NUMBERS, st.sampled_from([(d, u) for d, kind in DIMENSIONS.items() for u in kind.units]))
def test_value_is_number_times_unit(number: float, unit: tuple[str, str]) -> None:
    """Every unit of every dimension is a factor, with or without a space before it."""
    dimension, name = unit
    factor = DIMENSIONS[dimension].units[name]
    if number * factor > DIMENSIONS[dimension].most:
        return
    assert parse_quantity(f"{number!r} {name}", dimension) == pytest.approx(number * factor, rel=1e-12)
    assert parse_quantity(f"{number!r}{name}", dimension) == parse_quantity(f"{number!r} {name}", dimension)


@given(st.floats(1e-9, 1e17))
def test_formats_read_back(value: float) -> None:
    """What is printed reads back within the three digits that are shown."""
    assert parse_quantity(format_Bps(value), "bandwidth") == pytest.approx(value, rel=6e-3, abs=0.006)
    assert parse_quantity(format_bytes(value), "bytes") == pytest.approx(value, rel=6e-3, abs=0.006)


@given(st.floats(1e-8, 1e9))
def test_times_read_back(value: float) -> None:
    """Times from nanoseconds to years read back."""
    assert parse_quantity(format_time(value), "time") == pytest.approx(value, rel=6e-3)


@given(st.text(max_size=30), st.sampled_from(sorted(DIMENSIONS)))
def test_any_text_is_a_number_or_a_unit_error(text: str, dimension: str) -> None:
    """No text makes anything but a finite, non-negative number or a UnitError."""
    try:
        value = parse_quantity(text, dimension)
    except UnitError:
        return
    assert 0 <= value <= DIMENSIONS[dimension].most
