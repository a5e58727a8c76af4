# SPDX-License-Identifier: Apache-2.0
"""Lower bounds where the optimum is known by hand."""

from __future__ import annotations

import numpy as np
import pytest

from placement.ir import Job, Placement, Term, Traffic
from placement.passes.bound import certify
from placement.passes.place import place
from placement.solve.layercake import Crossing, best_sum, clique, merge, path, ring
from placement.solve.tolls import arcs
from tests import clusters


def test_a_ring_over_four_nodes_is_certified_optimal() -> None:
    """tp=2 heavy, dp=4 of 3 B: every node must send on both rings, every leaf once on each: 24 B and 12 B."""
    cluster, strategy = clusters.tiny(), clusters.strategy(tp=2, dp=4)
    moved = Traffic((Term("tp", "ring", np.array([100.0])), Term("dp", "ring", np.array([3.0]))))
    certificate = certify(cluster, strategy, Placement(np.arange(8)), moved)
    assert certificate.lower_bytes == {"nvlink": pytest.approx(24), "leaf": pytest.approx(12), "core": 0}
    assert certificate.method == {"nvlink": "layer-cake", "leaf": "layer-cake", "core": "none"}
    assert certificate.gap == pytest.approx(0, abs=1e-9)


def test_a_bad_placement_shows_its_gap() -> None:
    """The same ranks with tensor groups torn apart: far above the same bound."""
    cluster, strategy = clusters.tiny(), clusters.strategy(tp=2, dp=4)
    moved = Traffic((Term("tp", "ring", np.array([100.0])), Term("dp", "ring", np.array([3.0]))))
    torn = Placement(np.array([0, 2, 1, 3, 4, 6, 5, 7]))
    assert certify(cluster, strategy, torn, moved).gap > 10


def test_spares_do_not_break_the_bound() -> None:
    """dp=2 on four nodes: both replicas fit one leaf, so nothing has to leave a leaf."""
    cluster, strategy = clusters.tiny(), clusters.strategy(tp=2, dp=2)
    moved = Traffic((Term("tp", "ring", np.array([100.0])), Term("dp", "ring", np.array([3.0]))))
    placement = place(cluster, strategy, moved, Job(seq_len=1, global_batch=1))
    certificate = certify(cluster, strategy, placement, moved)
    assert certificate.lower_bytes == {"nvlink": pytest.approx(12), "leaf": 0, "core": 0}
    assert certificate.gap == pytest.approx(0, abs=1e-9)


def test_profiles_of_simple_graphs() -> None:
    """Edges that k vertices hold: ring, path, clique, and a ring with unequal edges."""
    assert ring(4, 1.0).tolist() == [0, 0, 1, 2, 4]
    assert path(4, 1.0).tolist() == [0, 0, 1, 2, 3]
    assert clique(4, 1.0).tolist() == [0, 0, 1, 3, 6]
    assert arcs(np.array([5.0, 1, 5, 1])).tolist() == [0, 0, 5, 6, 12]


def test_a_grid_holds_squares() -> None:
    """4 x 4 grid graph: 4 vertices hold 4 edges (a square), 6 hold 7, 16 hold 24 (Harper, Bollobas and Leader)."""
    grid_S = merge(merge(np.zeros(2), 4, [Crossing(path(4, 1.0), 1)], 16), 4, [Crossing(path(4, 1.0), 4)], 16)
    assert grid_S[[1, 2, 4, 6, 9, 16]].tolist() == [0, 1, 4, 7, 12, 24]


@pytest.mark.parametrize("counted", [True, False])
def test_profiles_of_several_graphs_are_merged_at_once(counted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """As each by itself, to the last bit; slices are counted, or too many to be."""
    from placement.solve import layercake

    monkeypatch.setattr(layercake, "COUNTED_STEPS", layercake.COUNTED_STEPS if counted else 0)
    weight_X = np.random.default_rng(0).random((3, 2))
    inner_XS = np.cumsum(np.random.default_rng(1).random((3, 9)), axis=1)
    inner_XS -= inner_XS[:, :1]
    merged_XS = merge(inner_XS, 6, [Crossing(ring(6, weight_X[:, 0]), 4), Crossing(path(6, weight_X[:, 1]), 8)], 40)
    for inner_S, weights, merged_S in zip(inner_XS, weight_X.tolist(), merged_XS, strict=True):
        alone = [Crossing(ring(6, weights[0]), 4), Crossing(path(6, weights[1]), 8)]
        assert np.array_equal(merge(inner_S, 6, alone, 40), merged_S)


def test_large_profiles_agree_with_counted_ones() -> None:
    """The version for many slices bounds the exact recursion from above, and equals it where no ring closes."""
    from placement.solve import layercake

    inner_S = clique(6, 2.0)
    for crossing, exact in ((Crossing(path(40, 3.0), 6), True), (Crossing(ring(40, 3.0), 6), False)):
        counted_S = layercake._counted(inner_S, 40, [crossing], 60)
        loose_S = layercake._uncounted(inner_S, 40, [crossing], 60)
        assert (loose_S >= counted_S - 1e-9).all()
        if exact:
            np.testing.assert_allclose(loose_S[:40], counted_S[:40])


def test_best_sum_with_spares() -> None:
    """Three groups of 4, 6 ranks, cliques: one group full and one with two; by enumeration and by prices."""
    profile_S = clique(4, 1.0)
    assert best_sum(profile_S, np.array([4, 4, 4]), 6) == 7
    many = np.full(1000, 4)
    assert best_sum(profile_S, many, 4000) == 6000
    assert best_sum(profile_S, many, 3000) == pytest.approx(4500)
