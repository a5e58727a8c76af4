# SPDX-License-Identifier: Apache-2.0
"""Sets across unequal stages, and prices of their members, against enumeration."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest

from placement.solve.stages import most_inside, stage_prices
from placement.solve.tolls import arcs, chain_prices, even_prices, heaviest


def held(spread: tuple[int, ...], held_PS: np.ndarray, weight_P: np.ndarray) -> float:
    lines = sum(w * min(a, b) for w, a, b in zip(weight_P, spread, spread[1:], strict=False))
    return float(sum(held_PS[p, s] for p, s in enumerate(spread)) + lines)


@pytest.mark.parametrize("seed", range(6))
def test_the_best_of_all_spreads(seed: int) -> None:
    """Every way to spread up to 7 members over 4 stages of 3."""
    rng = np.random.default_rng(seed)
    held_PS, weight_P = rng.normal(0, 1, (4, 4)), rng.uniform(0, 2, 3)
    best_S = np.full(8, -np.inf)
    for spread in product(range(4), repeat=4):
        if sum(spread) <= 7:
            best_S[sum(spread)] = max(best_S[sum(spread)], held(spread, held_PS, weight_P))
    assert most_inside(held_PS, weight_P, 7) == pytest.approx(best_S)


def test_prices_close_the_gap_between_stages() -> None:
    """Four stages of three in three groups of four: a heavy stage is kept whole, and no other borrows its prices.

    Stages weigh 1, 1, 9, 1 a member if whole and nothing in parts; one of the light ones is parted among the others' groups.
    """
    held_PS = np.zeros((4, 4))
    held_PS[:, 3] = 3 * np.array([1.0, 1, 9, 1])
    price_P = stage_prices(held_PS, np.zeros(3), 3, np.array([4, 4, 4]), np.zeros(4), 40)
    inside_S = most_inside(held_PS - price_P[:, None] * np.arange(4), np.zeros(3), 4)
    assert 3 * price_P.sum() + 3 * inside_S.max() == pytest.approx(3 + 3 + 27, rel=1e-4)


@pytest.mark.parametrize("size", [2, 3, 5, 7])
def test_heaviest_sets_of_a_ring(size: int) -> None:
    """Weight inside less prices of every set of vertices, rings and paths; the set that is named is one of the best."""
    rng = np.random.default_rng(size)
    for k in range(1, size):
        for closed in (0.0, 1.0):
            weight_P, price_P = rng.uniform(0, 9, size), rng.normal(0, 3, size)
            weight_P[-1] *= closed

            def value(members: tuple[int, ...], weight_P: np.ndarray = weight_P, price_P: np.ndarray = price_P) -> float:
                inside = sum(float(weight_P[a]) for a in members if (a + 1) % size in members)
                return inside - float(price_P[list(members)].sum())

            best, members = heaviest(weight_P, price_P, k)
            assert best == pytest.approx(max(map(value, combinations(range(size), k))))
            assert value(tuple(members)) == pytest.approx(best) and len(members) == k
            assert arcs(weight_P, price_P)[k] == pytest.approx(best)


def test_pairs_cannot_all_take_the_heavy_boundary() -> None:
    """Boundaries 10 10 1 1 10 10 1: groups of two stages hold 22 of 43 at most, whatever the lightest one says (36)."""
    weight_P = np.array([10.0, 10, 1, 1, 10, 10, 1, 0])
    held_of = [arcs(weight_P, p)[2] * 8 / 2 for p in (chain_prices(weight_P, 2), even_prices(weight_P))]
    assert held_of == pytest.approx([22, 36], rel=1e-4)
    assert even_prices(weight_P).sum() == pytest.approx(0) and not even_prices(np.array([3.0, 3, 3, 0])).any()
    assert chain_prices(weight_P, 1) == pytest.approx(np.zeros(8), abs=1e-6)
