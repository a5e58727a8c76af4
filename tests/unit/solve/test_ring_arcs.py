# SPDX-License-Identifier: Apache-2.0
"""Rings cut into arcs: against every way there is, by hand, and what a solution must keep."""

from __future__ import annotations

from collections import defaultdict
from itertools import product

import numpy as np
import pytest

from placement.solve.arcs import Cut, Kind, Prices, Ring, cut
from placement.solve.turns import Arc, turns

ENOUGH = 20.0  # deterministic seconds: the proof is always found
CASES = [(seed, case) for seed in range(12) for case in range(10)]


def drawn(seed: int, case: int) -> tuple[list[Ring], list[Kind], Prices]:
    """Two or three rings in one or two regions of up to three groups of two sizes; a third of the time of other weights."""
    rng = np.random.default_rng([seed, case])
    num = int(rng.integers(2, 4))
    regions = tuple(int(j) for j in rng.permutation(int(rng.integers(1, 3))))
    kinds = [
        Kind(j, int(room), int(rng.integers(1, 3)))
        for j in sorted(regions)
        for room in rng.choice([1, 2, 3, 4, 5], int(rng.integers(1, 3)), replace=False)
    ]
    room = sum(k.room * k.count for k in kinds)
    length = max(1, room // num - int(rng.integers(2)))
    weights = rng.integers(1, 4, num) if rng.random() < 0.3 else np.ones(num, int)
    rings = [Ring(length, regions, int(w)) for w in weights]
    apart = None if rng.random() < 0.5 else int(rng.integers(1, 3))
    return rings, kinds, Prices(1.0, float(rng.choice([0.0, 0.25, 1.0])), apart)


def region_table(rings: list[Ring], kinds: list[Kind], region: int) -> np.ndarray:
    """Least weight of arcs with which the rings hold (at least) so many members each in a region. (length + 1, ...) by ring."""
    num, length = len(rings), rings[0].length
    rooms = [k.room for k in kinds if k.region == region for _ in range(k.count)]
    options = [(), *((r,) for r in range(num)), *((r, r + 1) for r in range(num - 1))]
    table = np.full((length + 1,) * num, np.inf)
    for held in product(options, repeat=len(rooms)):
        pairs = [pair for pair in held if len(pair) == 2]
        if len(set(pairs)) < len(pairs):
            continue
        price = sum(rings[r].weight for rings_held in held for r in rings_held)
        alone = np.zeros(num, int)
        for who, room in zip(held, rooms, strict=True):
            alone[list(who)] += room if len(who) == 1 else 0
        shared = [room for who, room in zip(held, rooms, strict=True) if len(who) == 2]
        for split in product(*(range(room + 1) for room in shared)):
            have = alone.copy()
            for pair, first, room in zip(pairs, split, shared, strict=True):
                have[list(pair)] += (first, room - first)
            at = tuple(np.minimum(have, length))
            table[at] = min(table[at], price)
    for axis in range(num):
        table = np.flip(np.minimum.accumulate(np.flip(table, axis), axis), axis)
    return table


def least(rings: list[Ring], kinds: list[Kind], prices: Prices) -> float:
    """Of every way to lay the rings; infinite where there is none."""
    regions, length = rings[0].regions, rings[0].length
    tables = [region_table(rings, kinds, j) for j in regions]
    if len(regions) == 1:
        return prices.arc * float(tables[0][(length,) * len(rings)])
    best = np.inf
    for first in product(range(length + 1), repeat=len(rings)):
        apart = np.abs(np.diff(first))
        if prices.apart is None or int(apart.max()) <= prices.apart:
            arcs = tables[0][first] + tables[1][tuple(length - np.array(first))]
            best = min(best, prices.arc * float(arcs) + prices.skew * int(apart.sum()))
    return best


def cost(rings: list[Ring], kinds: list[Kind], prices: Prices, found: Cut) -> float:
    """Of a solution, counted again; asserts that it keeps the rules."""
    inside: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    part = [dict.fromkeys(ring.regions, 0) for ring in rings]
    for r, arcs in enumerate(found.arcs):
        seen = [kinds[a.kind].region for a in arcs]
        assert seen == sorted(seen, key=rings[r].regions.index)
        assert sum(a.members for a in arcs) == rings[r].length
        for a in arcs:
            assert a.members > 0 and 0 <= a.group < kinds[a.kind].count
            inside[a.kind, a.group].append((r, a.members))
            part[r][kinds[a.kind].region] += a.members
    pairs = []
    for (k, _), held in inside.items():
        assert sum(n for _, n in held) <= kinds[k].room
        assert len(held) == 1 or (len(held) == 2 and held[1][0] == held[0][0] + 1)
        pairs += [(held[0][0], kinds[k].region)] * (len(held) - 1)
    assert len(set(pairs)) == len(pairs)
    skew = 0
    for r in range(1, len(rings)):
        for n in range(1, len(rings[r].regions)):
            apart = abs(sum((part[r][j] - part[r - 1][j]) for j in rings[r].regions[:n]))
            assert prices.apart is None or apart <= prices.apart
            skew += apart
    return prices.arc * sum(rings[r].weight * len(arcs) for r, arcs in enumerate(found.arcs)) + prices.skew * skew


@pytest.mark.parametrize(("seed", "case"), CASES)
def test_as_good_as_the_best_of_all_ways(seed: int, case: int) -> None:
    """120 random rows of rings: the cost is the least of all ways, is proven, and what is read out keeps the rules."""
    rings, kinds, prices = drawn(seed, case)
    best, found = least(rings, kinds, prices), cut(rings, kinds, prices, ENOUGH)
    assert (found is None) == np.isinf(best)
    if found is not None:
        assert found.proven
        assert found.cost == pytest.approx(best, abs=1e-5)
        assert cost(rings, kinds, prices, found) == pytest.approx(best, abs=1e-5)
        assert cut(rings, kinds, prices, ENOUGH) == found


def test_rings_of_seven_in_fours_and_threes() -> None:
    """Four of each: every ring takes one of both, though fours first would leave threes for rings of three arcs."""
    found = cut([Ring(7, (0,))] * 4, [Kind(0, 4, 4), Kind(0, 3, 4)], Prices(), ENOUGH)
    assert found is not None
    assert [sorted(a.members for a in arcs) for arcs in found.arcs] == [[3, 4]] * 4


def test_a_group_that_two_share_is_at_the_same_end_of_both() -> None:
    """Two rings of three in groups of two: each has one of its own and half of the third; they meet where both end."""
    found = cut([Ring(3, (0,))] * 2, [Kind(0, 2, 3)], Prices(), ENOUGH)
    assert found is not None
    assert found.arcs == ((Arc(0, 0, 2), Arc(0, 1, 1)), (Arc(0, 2, 2), Arc(0, 1, 1)))


def test_a_place_out_of_line_is_bought_while_it_costs_less_than_an_arc() -> None:
    """Rings of six in regions with groups of (4, 2) and (2, 4): one goes 4 + 2 and the other 2 + 4, two members apart; in line,
    both have three in the first region, and 4 + 2 is shared."""
    rings, kinds = [Ring(6, (0, 1))] * 2, [Kind(0, 4, 1), Kind(0, 2, 1), Kind(1, 4, 1), Kind(1, 2, 1)]
    cheap, dear = cut(rings, kinds, Prices(1.0, 0.25), ENOUGH), cut(rings, kinds, Prices(1.0, 5.0), ENOUGH)
    assert cheap is not None and dear is not None
    assert (sum(map(len, cheap.arcs)), cheap.cost) == (4, pytest.approx(4.5, abs=1e-5))
    assert (sum(map(len, dear.arcs)), dear.cost) == (6, pytest.approx(6.0, abs=1e-5))


def test_rings_without_common_regions_are_laid_apart() -> None:
    """Kinds keep their numbers, and a ring for which nothing is left ends it."""
    kinds = [Kind(0, 2, 2), Kind(1, 3, 1)]
    found = cut([Ring(4, (0,)), Ring(3, (1,))], kinds, Prices(), ENOUGH)
    assert found is not None and found.arcs == ((Arc(0, 0, 2), Arc(0, 1, 2)), (Arc(1, 0, 3),))
    assert cut([Ring(4, (0,)), Ring(4, (1,))], kinds, Prices(), ENOUGH) is None
    assert cut([Ring(1, (2,))], kinds, Prices(), ENOUGH) is None


def test_a_cluster_of_its_real_size_is_proven_within_the_effort() -> None:
    """16 rings of 187 in 382 leafs, 22 of which lost a rack: a ring needs 24 arcs at least, and none needs more."""
    found = cut([Ring(187, (0,))] * 16, [Kind(0, 8, 360), Kind(0, 7, 22)], Prices())
    assert found is not None and found.proven
    assert sum(map(len, found.arcs)) == 16 * 24


def test_turns_begin_where_the_ring_before_ended() -> None:
    """Two rings of three go round regions of two and five: by turns each has one member in the first."""
    found = turns([Ring(3, (0, 1))] * 2, [Kind(0, 2, 1), Kind(1, 3, 1), Kind(1, 2, 1)])
    assert found == [[Arc(0, 0, 1), Arc(1, 0, 2)], [Arc(0, 0, 1), Arc(1, 0, 1), Arc(2, 0, 1)]]
    assert turns([Ring(4, (0, 1))] * 2, [Kind(0, 2, 1), Kind(1, 3, 1), Kind(1, 2, 1)]) is None
