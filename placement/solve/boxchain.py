# SPDX-License-Identifier: Apache-2.0
# B box   D dimension of the grid   L level, innermost first
"""Boxes of a grid, one inside the next, one for each level of a hierarchy: the cheapest chain, by an exact shortest path.

A level of capacity c holds a box with extents b, prod(b) <= c; the next level tiles it with whole copies: each extent divides
the next one, or the next one is the whole dimension. The cost of a level depends on its box alone, so the cheapest chain over
*all* mixed-radix factorisations is a shortest path over boxes. Exact as long as `cost` is. The next best chains are read off
backwards: what a box costs with the best chain inside it says exactly what any end of a chain costs at least.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from placement.solve._array import Bools, Floats, Ints

Chain = tuple[float, tuple[tuple[int, ...], ...]]


@dataclass(frozen=True)
class _Level:
    """Boxes of one level that hold whole boxes of the one inside, their own costs, and with the best chain inside them."""

    box_BD: Ints
    cost_B: Floats
    best_B: Floats
    nests_BI: Bools


def box_chains(
    sizes: Sequence[int], capacities: Sequence[int], cost: Callable[[int, Ints], Floats], *, keep: int = 8, slack: float = 4.0
) -> list[Chain]:
    """The `keep` cheapest chains (cost, boxes by level), ties in order of the boxes.

    `cost(level, boxes_BD)` returns (B,). Boxes smaller than capacity / slack are left out.

    >>> import numpy as np
    >>> box_chains([4, 4], [4], lambda level, b: 1 / b[:, 0] + 1 / b[:, 1], keep=1)
    [(1.0, ((2, 2),))]
    """
    inner_ID: Ints = np.ones((1, len(sizes)), np.int64)
    best_I: Floats = np.zeros(1)
    levels: list[_Level] = []
    for level, capacity in enumerate(capacities):
        box_BD = boxes(sizes, capacity, slack)
        nests_BI = _nests(inner_ID, box_BD, sizes)
        if not nests_BI.any():  # no larger box nests: the level makes do with those of the level inside
            box_BD = inner_ID
            nests_BI = _nests(inner_ID, box_BD, sizes)
        kept = nests_BI.any(axis=1)
        box_BD, nests_BI = box_BD[kept], nests_BI[kept]
        cost_B = cost(level, box_BD)
        best_B = cost_B + np.where(nests_BI, best_I, np.inf).min(axis=1)
        levels.append(_Level(box_BD, cost_B, best_B, nests_BI))
        inner_ID, best_I = box_BD, best_B
    return _cheapest(levels, keep)


def _cheapest(levels: Sequence[_Level], keep: int) -> list[Chain]:
    """Chains by cost, from the outermost box inwards; `todo` holds ends of chains and the least that they come to."""
    if not levels:
        return [(0.0, ())]
    found: list[Chain] = []
    todo: list[tuple[float, int, tuple[int, ...]]] = [
        (float(levels[-1].best_B[b]), len(levels) - 1, (b,)) for b in _least(levels[-1].best_B, keep)
    ]
    heapq.heapify(todo)
    while todo and len(found) < keep:
        total, level, picked = heapq.heappop(todo)
        if level == 0:
            found.append(_chain(levels, picked))
            continue
        inside_I = np.where(levels[level].nests_BI[picked[0]], levels[level - 1].best_B, np.inf)
        spent = total - float(inside_I.min())
        for i in _least(inside_I, keep):
            heapq.heappush(todo, (spent + float(inside_I[i]), level - 1, (i, *picked)))
    return sorted(found)


def _least(value_B: Floats, keep: int) -> list[int]:
    """Indices of the smallest finite values, ties in order."""
    first = np.argsort(value_B, kind="stable")[:keep]
    return [int(b) for b in first if np.isfinite(value_B[b])]


def _chain(levels: Sequence[_Level], picked: Sequence[int]) -> Chain:
    total = sum(float(level.cost_B[b]) for level, b in zip(levels, picked, strict=True))
    return total, tuple(tuple(level.box_BD[b].tolist()) for level, b in zip(levels, picked, strict=True))


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


def _nests(inner_ID: Ints, box_BD: Ints, sizes: Sequence[int]) -> Bools:
    """Which inner boxes each box may hold: looked up by extents, of which there are few. (B, I)"""
    found = np.ones((len(box_BD), len(inner_ID)), bool)
    for d, size in enumerate(sizes):
        extent_X, which_B = np.unique(np.asarray(box_BD[:, d], np.int64), return_inverse=True)
        inner_Y, which_I = np.unique(np.asarray(inner_ID[:, d], np.int64), return_inverse=True)
        outer_X1 = extent_X[:, None]
        fits_XY = ((outer_X1 % inner_Y == 0) | (outer_X1 == size)) & (outer_X1 >= inner_Y)
        found &= fits_XY[:, which_I][which_B]
    return found
