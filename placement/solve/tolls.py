# SPDX-License-Identifier: Apache-2.0
# P vertex of a ring, in order   K members of a set
"""Rings and paths whose edges weigh differently: what sets of vertices hold, at prices of the vertices.

Sets A_1, A_2, ... that cover every vertex alike, together as often as they have members, pay prices mu_p back exactly: their
sum is the same for all. So m(k) = max over sets of k vertices of (weight inside - sum of mu_p) bounds what they hold, for any
prices, and the best ones are the dual of packing sets of k: min sum_p mu_p + n / k * z with z >= w(A) - mu(A) for every A of k
vertices. It is solved by cutting planes (Kelley 1960): the set that breaks a bound most is found by dynamic programming.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from placement.solve._array import Floats

TOLERANCE = 1e-6  # of the heaviest edge
CUTS = 200  # planes, at most: what is found until then are prices all the same


def arcs(weight_P: Floats, price_P: Floats | None = None) -> Floats:
    """Profile of a closed ring with unequal edges (`weight_P[p]` between p and p+1): the heaviest k vertices can hold, k =
    0..n, less their prices.

    A set of k of n vertices on a ring; 0 edges weigh nothing, so paths are rings too. Dynamic program over vertices, O(n k).
    """
    return np.asarray(np.maximum(*(_filled(weight_P, price_P, first)[0] for first in (False, True))), float)


def heaviest(weight_P: Floats, price_P: Floats, size: int) -> tuple[float, list[int]]:
    """The best set of so many vertices: its weight less prices, and its members."""
    found = [(*_filled(weight_P, price_P, first), first) for first in (False, True)]
    best_K, states, first = max(found, key=lambda f: float(f[0][size]))
    inside = bool(states[-1][1][size] + (weight_P[-1] if first else 0.0) >= states[-1][0][size])
    members, k = [], size
    for p in range(len(weight_P) - 1, -1, -1):
        if inside:
            members.append(p)
            k -= 1
        if p:
            out_K, in_K = states[p - 1]
            inside = bool(in_K[k] + (weight_P[p - 1] if inside else 0.0) >= out_K[k])
    return float(best_K[size]), members[::-1]


def _filled(weight_P: Floats, price_P: Floats | None, first: bool) -> tuple[Floats, list[tuple[Floats, Floats]]]:
    """Best value of k vertices with vertex 0 in the set or not, and for every vertex with it out and in. (K,)"""
    size = len(weight_P)
    price_P = np.zeros(size) if price_P is None else price_P
    out_K, in_K = np.full(size + 1, -np.inf), np.full(size + 1, -np.inf)
    (in_K if first else out_K)[int(first)] = -price_P[0] if first else 0.0
    states = [(out_K, in_K)]
    for p in range(1, size):
        stay_K, grown_K = np.maximum(out_K, in_K), np.full(size + 1, -np.inf)
        grown_K[1:] = np.maximum(out_K, in_K + weight_P[p - 1])[:-1] - price_P[p]
        out_K, in_K = stay_K, grown_K
        states.append((out_K, in_K))
    return np.maximum(out_K, in_K + (weight_P[-1] if first and size > 1 else 0.0)), states


def even_prices(weight_P: Floats) -> Floats:
    """Prices that make all edges count as the lightest one: half of what an edge has more, to either end. They sum to 0.

    The edge that closes the ring counts for what it has more than the others' lightest.
    """
    if len(weight_P) < 2:
        return np.zeros(len(weight_P))
    over_P = np.maximum(weight_P - weight_P[:-1].min(), 0.0)
    return _centred((over_P + np.roll(over_P, 1)) / 2.0)


def chain_prices(weight_P: Floats, size: int) -> Floats:
    """The prices that say most of sets of `size` vertices. They sum to 0."""
    from ortools.linear_solver import pywraplp

    n, heavy = len(weight_P), float(weight_P.max())
    make: Any = pywraplp.Solver
    solver = make("chain", make.GLOP_LINEAR_PROGRAMMING)
    price = [solver.NumVar(-2.0, 2.0, "") for _ in range(n)]
    most = solver.NumVar(-solver.infinity(), solver.infinity(), "")
    solver.Add(sum(price) == 0)
    solver.Minimize(most)
    found, known = even_prices(weight_P / heavy), -np.inf
    for _ in range(CUTS):
        value, members = heaviest(weight_P / heavy, found, size)
        if value <= known + TOLERANCE:
            break
        held = sum(float(weight_P[a]) / heavy for a in members if (a + 1) % n in members) if n > 1 else 0.0
        solver.Add(most + sum(price[p] for p in members) >= held)
        if solver.Solve() != solver.OPTIMAL:
            break
        found, known = np.array([x.solution_value() for x in price]), most.solution_value()
    return _centred(found * heavy)


def _centred(price_P: Floats) -> Floats:
    return np.asarray(price_P - price_P.mean(), float) if len(price_P) else price_P
