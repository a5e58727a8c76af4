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
