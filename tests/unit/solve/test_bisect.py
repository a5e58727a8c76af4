# SPDX-License-Identifier: Apache-2.0
"""Bisections: rooms are kept exactly, small graphs are cut as well as they can be, large ones near their structure."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from placement.solve.bisect import Task, bisect, cut
from placement.solve.exchange import links


def task(edges: list[tuple[int, int, float]], size_V: list[int], left: int, right: int) -> Task:
    a, b, w = (np.array(x) for x in zip(*edges, strict=True))
    sizes = np.unique(size_V)[::-1]
    need_VK = np.where(np.array(size_V)[:, None] >= sizes, np.array(size_V)[:, None], 0)
    return Task(links(len(size_V), [(a, b, w)]), need_VK, np.full(len(sizes), left), np.full(len(sizes), right))


def test_two_cliques_with_one_edge_between_them():
    """By hand: the cut is the edge."""
    edges = [(*p, 1.0) for half in ((0, 2, 4, 6), (1, 3, 5, 7)) for p in itertools.combinations(half, 2)] + [(0, 1, 0.5)]
    found = task(edges, [1] * 8, 4, 4)
    side_V = bisect(found)
    assert side_V is not None
    assert cut(found.graph, side_V) == 0.5


@pytest.mark.parametrize("size", [9, 13])
def test_small_graphs_against_all_cuts(size):
    """Vertices of one or two sizes in tight rooms: rooms kept always, the best of all cuts up to 9, near it above."""
    ratio = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        size_V = rng.choice([1, 2], size).tolist() if seed % 2 else [1] * size
        edges = [(a, b, float(rng.uniform(1, 10))) for a, b in itertools.combinations(range(size), 2) if rng.random() < 0.4]
        left = sum(size_V) // 2 + int(rng.integers(0, 3))
        found = task(edges, size_V, left, sum(size_V) - left + int(rng.integers(0, 2)))
        side_V = bisect(found)
        assert side_V is not None
        for side, room_K in ((0, found.left_K), (1, found.right_K)):
            assert (found.need_VK[side_V == side].sum(axis=0) <= room_K).all()
        ratio.append(cut(found.graph, side_V) / least(found))
    assert min(ratio) > 1 - 1e-9
    assert max(ratio) < (1 + 1e-9 if size <= 9 else 1.3)
    assert np.median(ratio) < 1 + 1e-9


def least(found):
    """The least of all cuts that keep the rooms."""
    best, size = np.inf, len(found.need_VK)
    for bits in range(1 << size):
        side_V = np.array([bits >> v & 1 for v in range(size)])
        right_K = side_V @ found.need_VK
        if (right_K <= found.right_K).all() and (found.need_VK.sum(axis=0) - right_K <= found.left_K).all():
            best = min(best, cut(found.graph, side_V))
    return best


def test_rooms_that_hold_no_start():
    """Three pieces of 4 do not fit twice 6, though 12 do."""
    assert bisect(task([(0, 1, 1.0), (1, 2, 1.0)], [4, 4, 4], 6, 6)) is None


def test_a_torus_is_cut_across():
    """1,024 vertices in 64 x 16: the best cut takes 2 x 16 edges; coarsening and moves come within half of it."""
    at = np.arange(1024).reshape(64, 16)
    edges = [(int(a), int(b), 1.0) for axis in (0, 1) for a, b in zip(at.ravel(), np.roll(at, -1, axis).ravel(), strict=True)]
    rng = np.random.default_rng(0)
    shuffled = rng.permutation(1024)
    found = task([(int(shuffled[a]), int(shuffled[b]), w) for a, b, w in edges], [1] * 1024, 512, 512)
    side_V = bisect(found)
    assert side_V is not None
    assert side_V.sum() == 512
    assert 32 <= cut(found.graph, side_V) <= 48
