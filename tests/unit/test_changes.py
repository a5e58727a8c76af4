# SPDX-License-Identifier: Apache-2.0
"""What differs between two input files, with the lines that say so."""

from pathlib import Path

import pytest

from placement.spec.changes import file_changes

CASES = [
    ("a: 1\n", "a: 1\n", []),
    ("a: 1\n", "# moved\na: 2\n", [("a", "1", "2", "b.yaml:2:1")]),
    ("a: {b: 1, c: 2}\n", "a: {b: 1}\n", [("a.c", "2", None, "a.yaml:1:11")]),
    ("a: [x, y]\n", "a: [y, z, x]\n", [("a", None, "z", "b.yaml:1:8")]),
    ("a:\n- {n: 1, s: 2}\n- k\n", "a:\n- k\n- {n: 1, s: 3}\n", [("a.s", "2", "3", "b.yaml:3:10")]),
    ("a: [x, x]\n", "a: [x]\n", [("a", "x", None, "a.yaml:1:8")]),
    ("a: [1]\n", "a: {b: null}\n", [("a", "[1]", "{b: null}", "b.yaml:1:1")]),
    ("a: [\n", "a: 1\n", []),
]  # fmt: skip


@pytest.mark.parametrize(("before", "after", "expected"), CASES)
def test_changes(tmp_path: Path, before: str, after: str, expected: list[tuple[str, ...]]) -> None:
    """Keys that changed, appeared or went, items of lists by value and not by place; damaged files have none."""
    (tmp_path / "a.yaml").write_text(before, encoding="utf-8")
    (tmp_path / "b.yaml").write_text(after, encoding="utf-8")
    found = file_changes(tmp_path / "a.yaml", tmp_path / "b.yaml")
    assert [(c.key, c.before, c.after, c.where.rpartition("/")[2]) for c in found] == expected
