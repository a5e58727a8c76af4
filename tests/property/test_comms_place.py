# SPDX-License-Identifier: Apache-2.0
"""Placements of several towers on random clusters: whole nodes, whole cells, never worse than the launcher, near the best."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from placement.diag import Infeasible
from placement.ir import Cluster, Strategy, Term, Traffic
from placement.ir.comms import Comms, Tower
from placement.passes.comms_bound import bound_comms
from placement.passes.comms_place import Mapped, place_comms
from tests import clusters, exact
from tests.property import comms_cases

BATCHES, EACH = 6, 20


def cases(seed: int, most: int) -> Iterator[tuple[Cluster, Comms, Mapped]]:
    """Jobs of whole nodes on clusters with failures; those that fit."""
    rng = np.random.default_rng(500 + seed)
    found = 0
    while found < EACH:
        slots, nodes = int(rng.choice([1, 2, 4])), int(rng.integers(1, 4))
        groups = [int(rng.integers(1, 4)) for _ in range(int(rng.integers(1, 4)))]
        total = nodes * int(np.prod(groups))
        if not total >= 3 or total * slots > most:
            continue
        dead = [int(n) for n in rng.choice(total, int(rng.integers(0, 2)), replace=False)]
        cluster = clusters.regular(slots, nodes, groups, failed_nodes=dead, taper=[float(rng.uniform(0.2, 1))])
        comms = comms_cases.whole_node_comms(rng, slots, int(cluster.whole_N.sum()))
        try:
            mapped = place_comms(cluster, comms)
        except Infeasible:
            continue
        found += 1
        yield cluster, comms, mapped


@pytest.mark.parametrize("seed", range(BATCHES))
def test_rules_are_kept(seed: int) -> None:
    """An injection onto healthy GPUs, whole nodes, cells in one domain, and no worse than any way that was tried."""
    for cluster, comms, mapped in cases(seed, 48):
        gpu_R = mapped.best.placement.gpu_R
        assert len(np.unique(gpu_R)) == comms.world_size
        node_R = gpu_R // cluster.gpus_per_node
        assert cluster.whole_N[node_R].all()
        assert set(np.bincount(node_R)) <= {0, cluster.gpus_per_node}
        domain_R = cluster.tiers[0].group_N[node_R]
        for cell in range(int(mapped.units.cell_R.max()) + 1):
            assert len(set(domain_R[mapped.units.cell_R == cell].tolist())) == 1
        assert mapped.best.loads.score[0] <= min(score for _, score in mapped.tried)
        if mapped.kept:
            assert mapped.best.loads.score <= mapped.launcher.loads.score
        bound = bound_comms(cluster, comms)
        assert bound.joint <= float(mapped.best.loads.bytes_T.sum()) * (1 + 1e-9) + 1e-6


def test_small_jobs_come_near_the_best_of_all() -> None:
    """Bytes of all tiers against exact optima over every placement, which need not keep cells or whole nodes."""
    ratio = []
    for seed in range(3):
        for cluster, comms, mapped in cases(50 + seed, 8):
            weight = comms_cases.pair_bytes(comms)
            best = exact.least_of(cluster, comms_cases.inside(weight), float(weight.sum() / 2), np.ones(len(cluster.tiers)))
            if best > 1e-9 * weight.sum():
                ratio.append(float(mapped.best.loads.bytes_T.sum()) / best)
    assert min(ratio) >= 1 - 1e-9
    assert np.median(ratio) <= 1.15


@pytest.mark.parametrize("seed", range(BATCHES))
def test_near_the_bound_no_partition_is_missed(seed: int) -> None:
    """Where the graph is not cut because the best placement is within a hundredth of the bound, cutting gains nothing."""
    left_out = 0
    for cluster, comms, mapped in cases(seed, 96):
        bound = bound_comms(cluster, comms).joint
        short = place_comms(cluster, comms, least=lambda bound=bound: bound)  # type: ignore[misc]
        left_out += len(short.tried) < len(mapped.tried)
        assert short.best.loads.score[0] <= mapped.best.loads.score[0] * (1 + 1e-9)
    assert left_out or seed


def test_cells_that_fill_no_nodes_of_a_domain() -> None:
    """Cells of three ranks fit domains of two nodes of two, but the six that fill whole nodes fit none: infeasible."""
    strategy = Strategy(
        tp=3, cp=1, ep=1, etp=1, dp=2, pp=1, vpp=1, micro_batch=1, num_microbatches=1, schedule="1f1b", recompute="none",
        sharding="zero1",
    )  # fmt: skip
    tower = Tower("odd", 6, strategy, Traffic((Term("tp", "ring", np.array([1e9])),)))
    with pytest.raises(Infeasible):
        place_comms(clusters.regular(2, 2, [3], taper=[1.0]), Comms("odd", (tower,), ()))
