# SPDX-License-Identifier: Apache-2.0
"""Bands of stages swept over regions of uneven room."""

from __future__ import annotations

import numpy as np
import pytest

from placement.ir import Job, Term, Traffic
from placement.passes.place import BYTES, place, score_cells
from placement.passes.sites import sites_of
from placement.passes.sweep import swept, takes
from tests import clusters

JOB = Job(seq_len=1, global_batch=1)


def test_a_band_begins_in_a_fresh_region_if_the_rest_can_be_spared() -> None:
    """Two bands of seven: four regions of four have two places to spare, one is left behind each band; of two none is."""
    assert takes([4, 4, 4, 4], 2, 7) == [(0, 0, 4), (0, 1, 3), (1, 2, 4), (1, 3, 3)]
    assert takes([4, 4, 4, 2], 2, 7) == [(0, 0, 4), (0, 1, 3), (1, 1, 1), (1, 2, 4), (1, 3, 2)]


@pytest.mark.parametrize("seed", range(12))
def test_every_cell_has_a_place_and_no_rack_overflows(seed: int) -> None:
    """Random damage: a domain for every cell at every height, within the rooms."""
    rng = np.random.default_rng(seed)
    failed = np.flatnonzero(rng.random(48) < 0.15).tolist()
    cluster, strategy = clusters.regular(2, 2, (4, 2, 3), failed_nodes=failed), clusters.strategy(tp=2, dp=8, pp=4)
    sites = sites_of(cluster, strategy, JOB)
    found = swept(strategy, sites)
    assert len(found) == 3
    for domain_C in found:
        assert len(domain_C) == 32
        assert (np.bincount(domain_C, minlength=24) <= sites.room_D).all()


def test_uneven_pods_cut_each_ring_once() -> None:
    """Pods of 7, 8, 8 and 8 racks; eleven replicas of two stages need 22.

    By hand: bands of one stage take 7 + 4 racks, skip the rest of the second pod, and take 8 + 3: each ring has two arcs, and
    every pipeline is cut. The band of both stages takes 7 + 8 + 7: three arcs each; two columns lie across the ends of pods.
    """
    cluster = clusters.regular(2, 1, (4, 2, 4), failed_nodes=[3])
    strategy = clusters.strategy(tp=2, dp=11, pp=2)
    sites = sites_of(cluster, strategy, JOB)
    pod_C = [sites.parent_TD[2][domain_C] for domain_C in swept(strategy, sites)]
    arcs = [int((p.reshape(2, 11) != np.roll(p.reshape(2, 11), 1, axis=1)).sum()) for p in pod_C]
    cut_pipelines = [int((p[:11] != p[11:]).sum()) for p in pod_C]
    assert arcs == [2 * 2, 2 * 3]
    assert cut_pipelines == [11, 2]


def test_the_chosen_placement_is_no_worse_than_any_sweep() -> None:
    """Sweeps are candidates: `place` takes nothing worse than any of them."""
    cluster = clusters.regular(2, 1, (4, 2, 4), failed_nodes=[3, 17])
    strategy = clusters.strategy(tp=2, dp=7, pp=4)
    traffic = Traffic((Term("dp", "ring", np.full(4, 29.0)), Term("pp", "path", np.full(4, 2.0))))
    sites, found = sites_of(cluster, strategy, JOB), place(cluster, strategy, traffic, JOB, aim=BYTES)
    ours_C = cluster.tiers[0].group_N[found.gpu_R[:: sites.cell] // cluster.gpus_per_node]
    ours, *others = (score_cells(cluster, strategy, traffic, sites, c, BYTES)[:2] for c in (ours_C, *swept(strategy, sites)))
    assert others
    assert all(ours <= other for other in others)
