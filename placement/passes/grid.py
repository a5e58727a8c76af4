# SPDX-License-Identifier: Apache-2.0
# B box   D digit of the grid   C cell
"""The grid of cells: cells of a stage in digits that every axis covers in one run, times pipeline stages; and its orders."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from placement.ir import Strategy, Traffic
from placement.ir._array import Floats, Ints
from placement.solve.boxchain import boxes


@dataclass(frozen=True)
class GridTerm:
    """A term of the traffic that leaves cells. It runs over digits low <= d < high, with `inside` members in a cell."""

    kind: str
    low: int
    high: int
    size: int
    inside: int
    sent_bytes: float  # of all ranks together, in a step


@dataclass(frozen=True)
class Grid:
    """`sizes`: cells along each digit, fastest first, the last one pipeline stages."""

    sizes: tuple[int, ...]
    terms: tuple[GridTerm, ...]

    @property
    def num_cells(self) -> int:
        return int(np.prod(self.sizes))


def grid_of(strategy: Strategy, traffic: Traffic, cell: int) -> Grid:
    """Digits from the strides of the axes that have traffic; one whose stride does not nest with the others gets none."""
    stage = strategy.stage_ranks // cell
    marks = {1, stage}
    for term in traffic.terms:
        for edge in (strategy.stride(term.axis), strategy.stride(term.axis) * strategy.size(term.axis)):
            step = edge // cell
            if edge % cell == 0 and 1 < step < stage and all(step % m == 0 or m % step == 0 for m in marks):
                marks.add(step)
    steps = sorted(marks)
    sizes = [b // a for a, b in pairwise(steps)] + [strategy.pp]
    bounds = np.array([*steps, strategy.world_size // cell])
    return Grid(tuple(sizes), tuple(t for t in (_term(strategy, term, cell, bounds) for term in traffic.terms) if t))


def leaving_bytes(grid: Grid, boxes_BD: Ints, ragged: bool = True) -> Floats:
    """Bytes that leave boxes of the grid, summed over the boxes that tile it, those at ragged ends too; else as if every cell
    were in a whole box. (B,)
    """
    count = np.ceil if ragged else np.asarray
    total_B = np.zeros(len(boxes_BD))
    for term in grid.terms:
        extent_BD = boxes_BD[:, term.low : term.high]
        size_D = np.array(grid.sizes[term.low : term.high])
        full_B = extent_BD.prod(axis=1) == size_D.prod()
        if term.kind == "clique":
            members_B = np.minimum(extent_BD.prod(axis=1) * term.inside, term.size)
            total_B += term.sent_bytes * (term.size - members_B) / max(term.size - 1, 1)
        elif term.kind == "path":
            total_B += 2 * term.sent_bytes / term.size * (count(term.size / extent_BD[:, 0]) - 1)
        else:
            arcs_B = count(size_D / extent_BD).prod(axis=1) * _arcs(extent_BD, size_D)
            total_B += np.where(full_B, 0.0, term.sent_bytes / term.size * arcs_B)
    return total_B


def least_leaving(grid: Grid, room_J: Ints) -> float:
    """Bytes that leave groups that hold `room_J` cells, if the largest were full and no shape beats boxes.

    What leaves a set grows ever more slowly with its size, so between two boxes that are better than all smaller ones no set
    leaves less than their mean.
    """
    box_BD = boxes(grid.sizes, min(2 * int(room_J.max()), grid.num_cells), math.inf)
    volume_B, each_B = box_BD.prod(axis=1), leaving_bytes(grid, box_BD, ragged=False) / grid.num_cells
    order = np.lexsort((each_B, volume_B))
    volume_B, each_B = volume_B[order], each_B[order]
    better = each_B < np.minimum.accumulate(np.concatenate([[np.inf], each_B]))[:-1]
    sizes, leaving = [*volume_B[better], grid.num_cells], [*(each_B * volume_B)[better], 0.0]
    room_J = np.asarray(np.sort(room_J[room_J > 0])[::-1], np.int64)
    used_J = np.diff(np.minimum(np.cumsum(room_J), grid.num_cells), prepend=0)
    return float((np.interp(room_J, sizes, leaving) / room_J) @ used_J)


def order_cells(sizes: Sequence[int], chain: Sequence[Sequence[int]], fast: Sequence[int]) -> Ints:
    """Cells in the order that fills box after box of a chain.

    `fast`: digits in order of speed inside a box. Ends of digits that no box divides come last, in an order of their own.
    """
    whole = _whole_boxes(sizes, chain, fast)
    if whole is not None:
        return whole
    rest_C = np.arange(int(np.prod(sizes)))
    coord_DC = []
    for size in sizes:
        coord_DC.append(rest_C % size)
        rest_C = rest_C // size
    key_C, radix = np.zeros(len(coord_DC[0]), np.int64), 1  # one number for all keys, the first the least: sorted once
    inner: Sequence[int] = (1,) * len(sizes)
    for box in (*chain, sizes):
        for d in (d for d in fast if box[d] > inner[d]):
            key_C += coord_DC[d] % box[d] // inner[d] * radix
            radix *= -(-box[d] // inner[d])
        inner = box
    return np.argsort(key_C + _ends(coord_DC, sizes, chain) * radix, kind="stable")


def _whole_boxes(sizes: Sequence[int], chain: Sequence[Sequence[int]], fast: Sequence[int]) -> Ints | None:
    """The same order where every box holds whole ones and tiles the grid: axes of an array change places, nothing is sorted."""
    pieces: list[list[tuple[int, int]]] = [[] for _ in sizes]  # of each digit, innermost first: (place in the order, extent)
    inner: Sequence[int] = (1,) * len(sizes)
    place = 0
    for box in (*chain, sizes):
        for d in (d for d in fast if box[d] > inner[d]):
            if box[d] % inner[d]:
                return None
            pieces[d].append((place, box[d] // inner[d]))
            place += 1
        inner = tuple(max(a, b) for a, b in zip(inner, box, strict=True))
    if any(math.prod(e for _, e in piece) != size for piece, size in zip(pieces, sizes, strict=True)):
        return None
    axes = [axis for piece in reversed(pieces) for axis in reversed(piece)]  # slowest first, as the cells are numbered
    grid = np.arange(math.prod(sizes)).reshape([extent for _, extent in axes])
    return np.ascontiguousarray(grid.transpose(sorted(range(len(axes)), key=lambda i: -axes[i][0]))).reshape(-1)


def _ends(coord_DC: Sequence[Ints], sizes: Sequence[int], chain: Sequence[Sequence[int]]) -> Ints:
    """1 for cells beyond the last whole box of some digit, else 0. (C,)"""
    end_C = np.zeros(len(coord_DC[0]), np.int64)
    for coord_C, size, extent in zip(coord_DC, sizes, chain[-1] if chain else sizes, strict=True):
        end_C |= coord_C >= size // extent * extent
    return end_C


def unpad(value_C: Ints, padded: Sequence[int], sizes: Sequence[int]) -> Ints:
    """Values of the cells of a grid from those of a larger one."""
    if tuple(padded) == tuple(sizes):
        return value_C
    whole = np.asarray(value_C.reshape(tuple(reversed(padded))), np.int64)
    return np.ascontiguousarray(whole[tuple(slice(size) for size in reversed(sizes))]).reshape(-1).astype(np.int32)


def _arcs(extent_BD: Ints, size_D: Ints) -> Floats:
    """Runs of consecutive members in one box: the product of the extents above the first digit that is not whole."""
    arcs_B = np.ones(len(extent_BD))
    whole_B = np.ones(len(extent_BD), bool)
    for d in range(extent_BD.shape[1]):
        arcs_B *= np.where(whole_B, 1, extent_BD[:, d])
        whole_B &= extent_BD[:, d] == size_D[d]
    return arcs_B


def _term(strategy: Strategy, term: object, cell: int, bounds: Ints) -> GridTerm | None:
    axis, kind, bytes_P = term.axis, term.kind, term.bytes_P  # type: ignore[attr-defined]
    n, stride = strategy.size(axis), strategy.stride(axis)
    if cell % (n * stride) == 0 or n == 1:
        return None
    inside = max(cell // stride, 1)
    low = int(np.searchsorted(bounds, max(stride // cell, 1), side="right")) - 1
    high = max(int(np.searchsorted(bounds, n * stride // cell, side="left")), low + 1)
    high = min(high, len(bounds) - 1)
    return GridTerm(kind, low, high, n, min(inside, n), float(bytes_P.sum()) * strategy.stage_ranks)
