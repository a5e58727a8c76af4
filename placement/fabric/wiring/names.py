# SPDX-License-Identifier: Apache-2.0
# N name   F number field
"""Names as a grid: `A09-P1-IBLEAF-04-02` is the shape `a#-p#-ibleaf-#-#` at (9, 1, 4, 2)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from placement.ir._array import Ints

_NUMBER = re.compile(r"\d{1,15}")


@dataclass(frozen=True)
class Grid:
    """Shape and numbers of names. `shape_N` index into `shapes` (lower case, `#` for a number); unused fields are -1."""

    names: tuple[str, ...]
    shapes: tuple[str, ...]
    shape_N: Ints
    field_NF: Ints

    @cached_property
    def count_S(self) -> Ints:
        return np.bincount(self.shape_N, minlength=len(self.shapes))


def grid(names: Sequence[str]) -> Grid:
    """Take names apart. Names are compared without regard to case."""
    shapes: dict[str, int] = {}
    shape, rows = [], []
    for name in names:
        rows.append([int(n) for n in _NUMBER.findall(name)])
        shape.append(shapes.setdefault(_NUMBER.sub("#", name.lower()), len(shapes)))
    wide = max((len(r) for r in rows), default=0)
    field_NF = np.full((len(rows), wide), -1, np.int64)
    for index, row in enumerate(rows):
        field_NF[index, : len(row)] = row
    return Grid(tuple(names), tuple(shapes), np.array(shape, np.int64), field_NF)


def letters(name: str) -> str:
    """The shape of a name without its first letters' case: `A09-x7` -> `a#-x#`."""
    return _NUMBER.sub("#", name.lower())


def numbers(name: str) -> list[int]:
    """The numbers of a name, left to right."""
    return [int(n) for n in _NUMBER.findall(name)]


def renumbered(model: str, fields: Sequence[int], pads: Sequence[int] | None = None) -> str:
    """A name like `model` with other numbers, zero-padded as its own are, or to `pads` digits each.

    >>> renumbered("A09-P1-IBLEAF-04-02", (9, 1, 3, 1))
    'A09-P1-IBLEAF-03-01'
    >>> renumbered("r4n13", (4, 1), (1, 1))
    'r4n1'
    """
    values, widths = iter(fields), iter(pads or ())
    return _NUMBER.sub(lambda m: f"{next(values):0{next(widths, len(m[0]))}}", model)


def pads_of(names: Iterable[str]) -> list[int]:
    """Digits that the numbers of names of one shape have at least: 2 for `n01 ... n12`, 1 for `n1 ... n12`.

    >>> pads_of(["r1n01", "r12n10"])
    [1, 2]
    """
    widths = [[len(n) for n in _NUMBER.findall(name)] for name in names]
    return [min(column) for column in zip(*widths, strict=False)]


def gaps(names: Sequence[str]) -> list[str]:
    """Names that are missing inside a run of names that differ in one number only: `s1, s2, s4` -> `s3`. [] if there is no
    such run.
    """
    if len(names) < 3:
        return []
    shape = Counter(letters(n) for n in names).most_common(1)[0][0]
    alike = [n for n in names if letters(n) == shape]
    rows = np.array([[int(v) for v in _NUMBER.findall(n)] for n in alike])
    varying = [f for f in range(rows.shape[1]) if len(set(rows[:, f])) > 1] if rows.size else []
    if len(varying) != 1 or len(alike) < 3:
        return []
    field = varying[0]
    have = set(rows[:, field].tolist())
    holes = [v for v in range(min(have), max(have)) if v not in have]
    if len(holes) > max(1, len(have) // 4):
        return []
    pads = pads_of(alike)
    return [renumbered(alike[0], [*rows[0, :field], v, *rows[0, field + 1 :]], pads) for v in holes]


def natural(text: str) -> tuple[tuple[str, int], ...]:
    """Sort key in which `mlx5_10` follows `mlx5_9`."""
    return tuple((part, -1) if i % 2 == 0 else ("", int(part[:15])) for i, part in enumerate(re.split(r"(\d+)", text.lower())))
