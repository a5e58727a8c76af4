# SPDX-License-Identifier: Apache-2.0
"""The choice of patterns by class of groups, against every choice there is."""

from __future__ import annotations

from itertools import combinations_with_replacement, product

import numpy as np
import pytest

from placement.solve.patterns import Kind, Pattern, choose

KEEP, GIVE = Pattern(1, -1, 5.0), Pattern(0, 7, 0.0)


def cost(kinds: list[Kind], rows: list[list[int]], need: int, away: float) -> float:
    """Of a choice; infinite where it seats too few or leaves tails without places."""
    taken = [(k, p, x) for k, row in zip(kinds, rows, strict=True) for p, x in zip(k.patterns, row, strict=True)]
    if sum(p.units * x for _, p, x in taken) < need or sum(p.spare * x for _, p, x in taken) < 0:
        return np.inf
    lack = [max(0, -sum(p.spare * x for k, p, x in taken if k.region == r)) for r in {k.region for k in kinds}]
    return sum(p.cost * x for _, p, x in taken) + away * sum(lack)


def best(kinds: list[Kind], need: int, away: float) -> float:
    def rows(kind: Kind) -> list[list[int]]:
        options = range(len(kind.patterns))
        return [[pick.count(i) for i in options] for pick in combinations_with_replacement(options, kind.count)]

    return min(cost(kinds, list(row), need, away) for row in product(*map(rows, kinds)))


def test_one_of_a_kind_is_given_up() -> None:
    """Eight damaged racks of eight, seven units: seven lose a place each, and the one given up has room for seven."""
    assert choose([Kind(0, 8, (KEEP, GIVE))], 7, 100.0) == [[7, 1]]
    assert choose([Kind(0, 8, (KEEP, GIVE))], 8, 100.0) is None


def test_the_poorer_kind_is_given_up() -> None:
    """A rack whose main would cost more gives way, in the region that needs its places."""
    poor = (Pattern(1, -2, 9.0), Pattern(0, 6, 0.0))
    assert choose([Kind(0, 4, (KEEP, GIVE)), Kind(0, 2, poor)], 5, 100.0) == [[4, 0], [1, 1]]


@pytest.mark.parametrize("seed", range(25))
def test_as_good_as_the_best_of_all_choices(seed: int) -> None:
    """Random kinds in two regions: the cost of the best choice within the allowed thousandth, or no choice where none fits."""
    rng = np.random.default_rng(seed)
    kinds = [
        Kind(int(rng.integers(2)), int(rng.integers(1, 4)), tuple(
            Pattern(int(rng.integers(3)), int(rng.integers(-3, 6)), float(rng.integers(20))) for _ in range(3)
        ))
        for _ in range(3)
    ]  # fmt: skip
    need, away = int(rng.integers(2, 8)), float(rng.integers(1, 6))
    least, rows = best(kinds, need, away), choose(kinds, need, away)
    assert (rows is None) == np.isinf(least)
    if rows is not None:
        assert [sum(row) for row in rows] == [k.count for k in kinds]
        assert least <= cost(kinds, rows, need, away) <= least * 1.001 + 1e-9
        assert choose(kinds, need, away) == rows
