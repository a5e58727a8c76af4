# SPDX-License-Identifier: Apache-2.0
"""Orders of cells against sorting by hand, and what leaves groups at least against groups of any shape."""

from __future__ import annotations

import numpy as np
import pytest

from placement.passes.grid import Grid, GridTerm, least_leaving, leaving_bytes, order_cells


def sorted_by_hand(sizes: tuple[int, ...], chain: list[tuple[int, ...]], fast: tuple[int, ...]) -> list[int]:
    """Cells by their ragged end, then by box after box, outermost first, then by digits inside the innermost one."""

    def key(cell: int) -> list[int]:
        digits = [cell // int(np.prod(sizes[:d])) % size for d, size in enumerate(sizes)]
        last = chain[-1] if chain else sizes
        found = [int(any(x >= size // e * e for x, size, e in zip(digits, sizes, last, strict=True)))]
        inner = [(1,) * len(sizes), *chain]
        for box, small in reversed(list(zip([*chain, sizes], inner, strict=True))):
            found += [digits[d] % box[d] // small[d] for d in reversed(fast)]
        return found

    return sorted(range(int(np.prod(sizes))), key=key)


@pytest.mark.parametrize("seed", range(40))
def test_orders_fill_box_after_box(seed: int) -> None:
    """Random grids and nested boxes, of which some tile the grid and some do not."""
    rng = np.random.default_rng(seed)
    sizes = tuple(int(s) for s in rng.choice([1, 2, 3, 4, 6, 8], int(rng.integers(2, 4))))
    chain, inner = [], (1,) * len(sizes)
    for _ in range(int(rng.integers(0, 3))):
        inner = tuple(min(size, i * int(rng.integers(1, 4))) for i, size in zip(inner, sizes, strict=True))
        chain.append(inner)
    fast = tuple(rng.permutation(len(sizes)).tolist())
    assert order_cells(sizes, chain, fast).tolist() == sorted_by_hand(sizes, chain, fast)


def crossing(grid: Grid, group_C: np.ndarray) -> float:
    """Bytes between groups: rings and paths along the digits of a grid of two."""
    cell = np.arange(grid.num_cells).reshape(grid.sizes[::-1])
    total = 0.0
    for term in grid.terms:
        line = np.moveaxis(cell, len(grid.sizes) - 1 - term.low, 0)
        a, b = (line, np.roll(line, -1, axis=0)) if term.kind == "ring" else (line[:-1], line[1:])
        cut = group_C[a] != group_C[b]
        total += float(cut.sum()) * term.sent_bytes / grid.num_cells * (2 if term.kind == "path" else 1)
    return total


@pytest.mark.parametrize("rooms", [(4, 4, 4, 4), (8, 8), (6, 5, 5), (7, 4, 3, 2), (12, 4)])
def test_no_groups_leave_less(rooms: tuple[int, ...]) -> None:
    """A ring of four times a path of four: no exchange of cells between groups goes below, from many starts."""
    grid = Grid((4, 4), (GridTerm("ring", 0, 1, 4, 1, 48.0), GridTerm("path", 1, 2, 4, 1, 32.0)))
    least, rng = least_leaving(grid, np.array(rooms)), np.random.default_rng(0)
    for _ in range(60):
        group_C = np.repeat(np.arange(len(rooms)), rooms)[rng.permutation(16)]
        for _ in range(120):
            a, b = rng.integers(0, 16, 2)
            other_C = group_C.copy()
            other_C[[a, b]] = group_C[[b, a]]
            if crossing(grid, other_C) <= crossing(grid, group_C):
                group_C = other_C
        assert crossing(grid, group_C) >= least - 1e-9


def test_boxes_that_tile_the_grid_leave_the_least() -> None:
    """Where the best box tiles the grid the least is what leaves it, and ragged ends are counted apart."""
    grid = Grid((4, 4), (GridTerm("ring", 0, 1, 4, 1, 48.0), GridTerm("path", 1, 2, 4, 1, 32.0)))
    assert least_leaving(grid, np.full(4, 4)) == pytest.approx(float(leaving_bytes(grid, np.array([[4, 1], [2, 2]])).min()))
    three = np.array([[3, 1]])
    assert leaving_bytes(grid, three, ragged=False) < leaving_bytes(grid, three)
