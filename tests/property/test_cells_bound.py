# SPDX-License-Identifier: Apache-2.0
"""Bounds for placements that keep cells: the smaller job of cells moves the same bytes, and its bounds hold."""

from __future__ import annotations

import numpy as np
import pytest

from placement.cost.cells import cell_size
from placement.cost.traffic import tier_bytes
from placement.ir import Cluster, Placement, Strategy
from placement.passes.bound import certify, lower_bytes
from tests import clusters
from tests.property import mapping_cases as cases


def kept(rng: np.random.Generator, cluster: Cluster, strategy: Strategy) -> Placement | None:
    """Cells at random in domains."""
    cell = cell_size(cluster, strategy, True)
    domain_G = cluster.tiers[0].group_N[np.arange(cluster.usable_NG.size) // cluster.gpus_per_node]
    slots = []
    for d in range(cluster.tiers[0].num_groups):
        free = rng.permutation(np.flatnonzero(cluster.usable_NG.ravel() & (domain_G == d)))
        slots += [free[i : i + cell] for i in range(0, len(free) - cell + 1, cell)]
    need = strategy.world_size // cell
    return Placement(np.concatenate([slots[i] for i in rng.permutation(len(slots))[:need]])) if len(slots) >= need else None


@pytest.mark.parametrize("seed", range(10))
def test_no_placement_of_cells_is_below(seed: int) -> None:
    """Each tier and all together; no weaker than the bound for any placement, and somewhere stronger."""
    rng, seen, stronger = np.random.default_rng(seed), 0, 0
    while seen < 25:
        cluster = cases.random_cluster(rng, most=24, deep=True)
        usable = int(cluster.usable_NG.sum())
        if usable < 4:
            continue
        strategy = cases.random_strategy(rng, int(rng.integers(3, usable + 1)))
        traffic, placement = cases.random_traffic(rng, strategy), kept(rng, cluster, strategy)
        if placement is None or not traffic.terms or cell_size(cluster, strategy, True) < 2:
            continue
        seen += 1
        found = certify(cluster, strategy, placement, traffic, ragged=True)
        if not found.cell:
            continue
        for tier in cluster.tiers:
            low, cells, plan = (part[tier.name] for part in (found.lower_bytes, found.kept_bytes, found.plan_bytes))
            assert low <= cells <= plan * (1 + 1e-9) + 1e-9
        joint = max(found.joint_bytes, sum(found.lower_bytes.values()))
        cells = max(found.kept_joint, sum(found.kept_bytes.values()))
        assert joint <= cells <= sum(found.plan_bytes.values()) * (1 + 1e-9) + 1e-9
        stronger += cells > joint * (1 + 1e-9)
    assert stronger


def test_cells_of_a_clique_count_every_pair() -> None:
    """ep 4 over two domains of two GPUs, cells of two: 4 of 6 pairs leave, by hand 2/3 of the bytes."""
    cluster, strategy = clusters.tiny(), clusters.strategy(ep=4, dp=4)
    from placement.ir import Term, Traffic

    moved = Traffic((Term("ep", "clique", np.array([3.0])),))
    found = certify(cluster, strategy, Placement(np.arange(4)), moved)
    assert found.cell == 2
    assert found.kept_bytes["nvlink"] == pytest.approx(8)
    assert sum(tier_bytes(cluster, strategy, Placement(np.arange(4)), moved)["ep"].values()) == pytest.approx(8)
    assert lower_bytes(cluster, strategy, moved).lower["nvlink"] == pytest.approx(8)
