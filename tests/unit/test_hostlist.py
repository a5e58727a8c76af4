# SPDX-License-Identifier: Apache-2.0
"""Host lists as Slurm writes them."""

from __future__ import annotations

import numpy as np
import pytest

from placement.hostlist import HostlistError, expand, fold

LISTS = [
    ("n0", ["n0"]),
    ("n[08-11],login", ["n08", "n09", "n10", "n11", "login"]),
    ("n[8-11]", ["n8", "n9", "n10", "n11"]),
    (
        "rack[1-2]-tray[01,03-04]",
        ["rack1-tray01", "rack1-tray03", "rack1-tray04", "rack2-tray01", "rack2-tray03", "rack2-tray04"],
    ),
    ("a[1-2]b , c", ["a1b", "a2b", "c"]),
    ("host:[0-1]", ["host:0", "host:1"]),
]


@pytest.mark.parametrize(("text", "names"), LISTS)
def test_expand(text: str, names: list[str]) -> None:
    """Names come in the order written, padded as the first number of a range is."""
    assert expand(text).tolist() == names


FOLDS = [
    ([], ""),
    (["n2", "n1", "n1"], "n[1-2]"),
    (["n9", "n10", "n11"], "n[9-11]"),
    (["n99", "n100", "n8", "n9", "n10"], "n[8-10,99-100]"),
    (["n09", "n10", "n9"], "n9,n[09-10]"),
    (["a1-b1", "a1-b2", "a2-b1", "a2-b2", "a3-b1"], "a3-b1,a[1-2]-b[1-2]"),
    (["x", "y"], "x,y"),
]


@pytest.mark.parametrize(("names", "text"), FOLDS)
def test_fold(names: list[str], text: str) -> None:
    """A set of names folds to the ranges a person would write."""
    assert fold(names) == text


def test_fold_cuts_for_people() -> None:
    """A long list is cut at a comma and says how many names it stands for."""
    assert fold([f"a{i}x{i}" for i in range(100)], most=20) == "a0x0,a10x10,a11x11,… (100 in all)"


def test_real_size_is_one_line() -> None:
    """55,008 trays are one host list, both ways; one missing tray splits it in three."""
    text = "rack[0001-3056]-tray[01-18]"
    names = expand(text)
    assert len(names) == 55_008
    assert fold(names) == text
    assert fold(np.delete(names, 18)) == "rack0002-tray[02-18],rack[0001,0003-3056]-tray[01-18]"


ERRORS = [
    ("n[1-", "a bracket is not closed in `n[1-`; write ranges as `n[00-15,20]`"),
    ("n1-2]", "brackets do not match in `n1-2]`; write ranges as `n[00-15,20]`"),
    ("n[1-[2]]", "brackets do not match in `n[1-[2]]`; write ranges as `n[00-15,20]`"),
    ("n[3-1]", "the range 3-1 runs backwards; write `1-3`"),
    ("n[a-b]", "`a-b` is not a range in `n[a-b]`; write ranges as `n[00-15,20]`"),
    ("n[]", "`` is not a range in `n[]`; write ranges as `n[00-15,20]`"),
    ("a,,b", "an empty name in `a,,b`; remove the extra comma"),
    ("", "an empty name in ``"),
    ("n[0-99999999999]", "the list names 100,000,000,000 objects, more than 4,000,000"),
    ("n[0-9999]x[0-9999]", "the list names 100,000,000 objects, more than 4,000,000"),
]


@pytest.mark.parametrize(("text", "message"), ERRORS)
def test_whole_messages(text: str, message: str) -> None:
    """A list that cannot be read says why; a gigantic one is refused before it is made."""
    with pytest.raises(HostlistError) as caught:
        expand(text)
    assert str(caught.value) == message
