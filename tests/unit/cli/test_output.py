# SPDX-License-Identifier: Apache-2.0
"""What is written to stdout."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placement.cli.output import indented

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()


@given(st.recursive(SCALARS, lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(st.text(), inner)))
def test_json_is_that_of_the_standard_library(value):
    """Empty and nested lists and mappings, any text, every scalar."""
    assert indented(value) == json.dumps(value, sort_keys=True, indent=2, allow_nan=False)


@pytest.mark.parametrize("value", [{1: [2, {3: 4}]}, {"a": {2: {}, 10: [[]]}}])
def test_keys_that_are_no_text_are_written_as_it_does(value):
    assert indented(value) == json.dumps(value, sort_keys=True, indent=2, allow_nan=False)


@pytest.mark.parametrize("value", [math.nan, [1.0, math.inf], {"a": [[math.nan]]}])
def test_what_is_no_json_is_refused(value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        indented(value)
