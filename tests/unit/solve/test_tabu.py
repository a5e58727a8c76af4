# SPDX-License-Identifier: Apache-2.0
"""Robust tabu against all permutations, and the bookkeeping of its gains against costs computed anew."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from placement.solve.tabu import _Walk, assignment_cost, robust_tabu


@pytest.mark.parametrize("seed", range(8))
def test_small_problems_are_solved(seed: int) -> None:
    """Asymmetric matrices with diagonals, n = 6: the best of 720 assignments."""
    rng = np.random.default_rng(seed)
    flow, far = rng.random((6, 6)), rng.random((6, 6))
    best = min(assignment_cost(flow, far, np.array(p)) for p in itertools.permutations(range(6)))
    assert robust_tabu(flow, far, np.arange(6), steps=400, seed=seed)[0] == pytest.approx(best)


def test_gains_stay_true_over_exchanges() -> None:
    """What every exchange would add, after ten of them."""
    rng = np.random.default_rng(0)
    flow, far, place = rng.random((7, 7)), rng.random((7, 7)), rng.permutation(7)
    walk = _Walk(flow, far[np.ix_(place, place)])
    for _ in range(10):
        x, y = rng.choice(7, 2, replace=False)
        place[[x, y]] = place[[y, x]]
        walk.exchange(int(x), int(y))
    now = assignment_cost(flow, far, place)
    for x, y in itertools.combinations(range(7), 2):
        other = place.copy()
        other[[x, y]] = other[[y, x]]
        assert walk.gain_XY[x, y] == pytest.approx(assignment_cost(flow, far, other) - now)


def test_never_worse_than_the_start_and_repeatable() -> None:
    """One step from the optimum, and the same seed twice."""
    flow = np.ones((5, 5)) - np.eye(5)
    assert robust_tabu(flow, flow, np.arange(5), steps=1)[0] == 20
    rng = np.random.default_rng(1)
    a, b = rng.random((9, 9)), rng.random((9, 9))
    one, two = (robust_tabu(a, b, np.arange(9), steps=50, seed=3)[1].tolist() for _ in range(2))
    assert one == two
