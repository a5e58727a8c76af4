# SPDX-License-Identifier: Apache-2.0
# B box   D dimension of the grid   L level, innermost first
"""Boxes of a grid, one inside the next, one for each level of a hierarchy: the cheapest chain, by an exact shortest path.

A level of capacity c holds a box with extents b, prod(b) <= c; the next level tiles it with whole copies: each extent divides
the next one, or the next one is the whole dimension. The cost of a level depends on its box alone, so the cheapest chain over
*all* mixed-radix factorisations is a shortest path over boxes. Exact as long as `cost` is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from placement.solve._array import Bools, Floats, Ints

Chain = tuple[float, tuple[tuple[int, ...], ...]]


def box_chains(
    sizes: Sequence[int], capacities: Sequence[int], cost: Callable[[int, Ints], Floats], *, keep: int = 8, slack: float = 4.0
) -> list[Chain]:
    """The `keep` cheapest chains (cost, boxes by level), ties in order of the boxes.

    `cost(level, boxes_BD)` returns (B,). Boxes smaller than capacity / slack are left out.

    >>> import numpy as np
    >>> box_chains([4, 4], [4], lambda level, b: 1 / b[:, 0] + 1 / b[:, 1], keep=1)
    [(1.0, ((2, 2),))]
    """
    paths: dict[tuple[int, ...], list[Chain]] = {(1,) * len(sizes): [(0.0, ())]}
    for level, capacity in enumerate(capacities):
        boxes_BD = boxes(sizes, capacity, slack)
        cost_B = cost(level, boxes_BD)
        grown = _step(paths, boxes_BD, cost_B, sizes, keep)
        if not grown:  # no larger box nests: the level makes do with those of the level inside
            boxes_BD = np.array(sorted(paths))
            grown = _step(paths, boxes_BD, cost(level, boxes_BD), sizes, keep)
        paths = grown
    found = sorted(path for ends in paths.values() for path in ends)
    return found[:keep]


def boxes(sizes: Sequence[int], capacity: int, slack: float = 4.0) -> Ints:
    """Boxes of at most `capacity` points and at least a `slack`-th of the largest such, in lexicographic order. (B, D)"""
    capacity = min(capacity, int(np.prod(sizes)))
    found = np.ones((1, 0), np.int64)
    for size in sizes:
        extents = np.array(_extents(size, capacity), np.int64)
        found = np.column_stack([np.repeat(found, len(extents), axis=0), np.tile(extents, len(found))])
        found = found[found.prod(axis=1) <= capacity]
    volume_B = found.prod(axis=1)
    return np.asarray(found[volume_B * slack >= volume_B.max()])


def _extents(size: int, capacity: int) -> list[int]:
    """Divisors, and for a size with few of them the numbers 2^a 3^b, which leave a ragged end."""
    found = {d for d in range(1, min(size, capacity) + 1) if size % d == 0}
    small = {2**a * 3**b for a in range(21) for b in range(4) if 2**a * 3**b <= min(size, capacity)}
    return sorted(found | small if size > 4 else found)


def _step(
    paths: dict[tuple[int, ...], list[Chain]], boxes_BD: Ints, cost_B: Floats, sizes: Sequence[int], keep: int
) -> dict[tuple[int, ...], list[Chain]]:
    inner = np.array(sorted(paths))
    best_I = np.array([paths[tuple(i)][0][0] for i in inner.tolist()])
    grown: dict[tuple[int, ...], list[Chain]] = {}
    nests_BI = _nests(inner, boxes_BD, np.array(sizes))
    for b, box in enumerate(boxes_BD.tolist()):
        usable = np.flatnonzero(nests_BI[b])
        usable = usable[np.argsort(best_I[usable], kind="stable")][:keep]
        starts = [path for i in usable.tolist() for path in paths[tuple(inner[i].tolist())]]
        ends = [(c + float(cost_B[b]), (*chain, tuple(box))) for c, chain in starts]
        if ends:
            grown[tuple(box)] = sorted(ends)[:keep]
    return grown


def _nests(inner_ID: Ints, box_BD: Ints, size_D: Ints) -> Bools:
    """Which inner boxes each box may hold. (B, I)"""
    found = np.ones((len(box_BD), len(inner_ID)), bool)
    for d, size in enumerate(size_D.tolist()):
        box_B1, inner_I = box_BD[:, d, None], inner_ID[:, d]
        found &= ((box_B1 % inner_I == 0) | (box_B1 == size)) & (box_B1 >= inner_I)
    return found
