# SPDX-License-Identifier: Apache-2.0
"""Exchanges of units between groups: what they find, and what they leave alone."""

from __future__ import annotations

import numpy as np
import pytest

from placement.solve.exchange import Links, crossing, exchange, links

HERE = np.zeros(8, np.int64)


def two_teams() -> Links:
    """Units 0, 2, 4, 6 and 1, 3, 5, 7 have much in common; neighbours a little."""
    pairs = [(a, b, 5.0) for team in ((0, 2, 4, 6), (1, 3, 5, 7)) for a in team for b in team if a < b]
    pairs += [(u, u + 1, 1.0) for u in range(7)]
    a, b, w = (np.array(part) for part in zip(*pairs, strict=True))
    return links(8, [(a, b, w.astype(float))])


def test_teams_come_together() -> None:
    """From halves that tear both teams apart to one group for each: only the seven weak links cross."""
    graph, group = two_teams(), np.repeat([0, 1], 4)
    place = exchange(graph, group, HERE, HERE, steps=50)
    assert sorted(place.tolist()) == list(range(8))
    assert crossing(graph, group[place]) == 7 < crossing(graph, group)


def test_kinds_and_regions_stay() -> None:
    """Units of different kinds, or in different regions, never change places."""
    graph, group, kind = two_teams(), np.repeat([0, 1], 4), np.arange(8) % 2
    assert (kind[exchange(graph, group, kind, HERE, steps=50)] == kind).all()
    region = np.repeat([0, 1], 4)
    assert exchange(graph, group, HERE, region, steps=50).tolist() == list(range(8))


@pytest.mark.parametrize("seed", range(6))
def test_never_worse(seed: int) -> None:
    """Random graphs: what crosses groups afterwards is no more than before; links add up parallel edges and drop loops."""
    rng = np.random.default_rng(seed)
    a, b, w = rng.integers(0, 20, 60), rng.integers(0, 20, 60), rng.random(60)
    graph, group = links(20, [(a, b, w)]), np.repeat(np.arange(4), 5)
    assert graph.weight_V.sum() == pytest.approx(2 * w[a != b].sum())
    zero = np.zeros(20, np.int64)
    assert crossing(graph, group[exchange(graph, group, zero, zero, steps=200)]) <= crossing(graph, group) + 1e-12


def test_regions_that_are_alike_are_changed_alike() -> None:
    """Three copies of the torn teams, the last with a weaker link: all come together, the first two in the same way."""
    graph, weaker = two_teams(), two_teams()
    a = np.repeat(np.arange(8), np.diff(graph.first_U))
    weaker.weight_V[weaker.weight_V == 1.0] = 0.5
    parts = [(a + 8 * r, g.unit_V + 8 * r, g.weight_V / 2) for r, g in enumerate((graph, graph, weaker))]
    joined = (np.array([0, 8]), np.array([8, 16]), np.array([100.0, 100.0]))  # between regions: plays no part
    whole, group, region = links(24, [*parts, joined]), np.tile(np.repeat([0, 1], 4), 3), np.repeat(np.arange(3), 8)
    place = exchange(whole, group + 2 * region, np.zeros(24, np.int64), region, steps=100)
    assert (place[8:16] == place[:8] + 8).all() and (place // 8 == region).all()
    assert crossing(whole, (group + 2 * region)[place]) == 7 + 7 + 3.5 + 200


def test_weights_of_many_parallel_edges_add_up() -> None:
    """Against a table of all pairs, more units than sixteen bits number."""
    rng = np.random.default_rng(0)
    for size in (12, 70_000):
        a, b, w = rng.integers(0, 12, 300), rng.integers(0, 12, 300), rng.random(300)
        table = np.zeros((12, 12))
        np.add.at(table, (a, b), w)
        table = table + table.T
        graph = links(size, [(a + size - 12, b + size - 12, w)])
        for unit in range(12):
            near, weight = graph.of(unit + size - 12)
            others = np.flatnonzero((table[unit] > 0) & (np.arange(12) != unit))
            assert (near - size + 12).tolist() == others.tolist() and weight == pytest.approx(table[unit, others])
