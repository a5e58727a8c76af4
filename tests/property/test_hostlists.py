# SPDX-License-Identifier: Apache-2.0
"""expand and fold undo each other."""

from __future__ import annotations

import string

from hypothesis import given
from hypothesis import strategies as st

from placement.hostlist import expand, fold

WORDS = st.text(alphabet=string.ascii_lowercase + "-._", min_size=1, max_size=4)
NUMBERS = st.one_of(st.integers(0, 12).map(str), st.integers(0, 120).map(lambda n: f"{n:03}"), st.integers(0, 10**20).map(str))
NAMES = st.lists(st.one_of(WORDS, NUMBERS), min_size=1, max_size=5).map("".join)


@given(st.lists(NAMES, min_size=1, max_size=40))
def test_fold_then_expand(names: list[str]) -> None:
    """Folding loses no name and adds none."""
    back = expand(fold(names)).tolist()
    assert sorted(back) == sorted(set(names))


@given(st.lists(NAMES, min_size=1, max_size=40))
def test_fold_is_a_function_of_the_set(names: list[str]) -> None:
    """Order and repetition do not change the text."""
    assert fold(names) == fold(list(reversed(names)) + names)


@given(st.integers(0, 2000), st.integers(0, 50), st.integers(1, 5), WORDS)
def test_a_range_folds_to_itself(first: int, more: int, width: int, word: str) -> None:
    """A padded range comes back as one range."""
    width = width if first < 10 ** (width - 1) or width == 1 else len(str(first))
    text = f"{word}[{first:0{width}}-{first + more:0{width}}]" if more else f"{word}{first:0{width}}"
    assert fold(expand(text)) == text
