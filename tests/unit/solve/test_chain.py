# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from placement.solve.chain import min_max_chain, min_sum_chain, share_units


def random_costs(seed: int, parts: int, items: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    cost = rng.integers(1, 20, (parts, items + 1, items + 1)).astype(float)
    cost[rng.random(cost.shape) < 0.15] = np.inf
    return np.where(np.triu(np.ones(cost.shape[1:], dtype=bool), 1), cost, np.inf)


def all_cuts(parts: int, items: int) -> list[tuple[int, ...]]:
    return [(0, *c, items) for c in combinations(range(1, items), parts - 1)]


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(4, 8))
def test_cutting_a_chain_is_exact(seed: int, parts: int, items: int) -> None:
    """The largest cost, and then the least sum under it, equal those of all cuts by brute force, any costs."""
    cost = random_costs(seed, parts, items)
    worst = {c: max(cost[p, c[p], c[p + 1]] for p in range(parts)) for c in all_cuts(parts, items)}
    found, best = min_max_chain(cost), min(worst.values())
    if best == np.inf:
        assert found is None
        return
    assert found is not None
    assert found[0] == best == worst[tuple(found[1].tolist())]
    weight = random_costs(seed + 1, parts, items)
    weight[~np.isfinite(weight)] = 50.0
    cuts = tuple(min_sum_chain(cost, best, weight).tolist())
    sums = {c: sum(weight[p, c[p], c[p + 1]] for p in range(parts)) for c, w in worst.items() if w <= best}
    assert sums[cuts] == min(sums.values())


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(0, 7))
def test_sharing_units_is_exact(seed: int, groups: int, total: int) -> None:
    """The sorted loads are the least in order, by brute force, for any ascending loads and capacities."""
    rng = np.random.default_rng(seed)
    load = np.cumsum(rng.integers(0, 5, (groups, 5)), axis=1).astype(float)
    load[np.arange(5) > rng.integers(0, 6, groups)[:, None]] = np.inf
    ways = [
        u
        for u in product(range(5), repeat=groups)
        if sum(u) == total and all(np.isfinite(load[g, u[g]]) for g in range(groups))
    ]
    got = share_units(load, total, np.arange(groups))
    if not ways:
        assert got is None
        return
    assert got is not None
    assert got.sum() == total
    assert max(load[g, got[g]] for g in range(groups)) == min(max(load[g, u[g]] for g in range(groups)) for u in ways)


@pytest.mark.parametrize(("order", "units"), [([0, 1, 2], [2, 1, 1]), ([2, 1, 0], [1, 1, 2]), ([1, 0, 2], [1, 2, 1])])
def test_the_odd_unit_goes_to_the_first_in_order(order: list[int], units: list[int]) -> None:
    """Of equal groups the one that stands first gets the unit that is left."""
    load = np.tile(np.arange(5.0), (3, 1))
    assert share_units(load, 4, np.array(order)).tolist() == units  # type: ignore[union-attr]
