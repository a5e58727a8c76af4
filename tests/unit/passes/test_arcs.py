# SPDX-License-Identifier: Apache-2.0
"""Layouts by arcs: by hand, over random damage, and that `place` is never worse for them."""

from __future__ import annotations

import numpy as np
import pytest

from placement.diag import Infeasible
from placement.ir import Cluster, Job, Placement, Strategy, Term, Traffic
from placement.ir._array import Ints
from placement.passes import place as placing
from placement.passes.arcs import arced
from placement.passes.place import BYTES, Aim, place, score_cells
from placement.passes.sites import Sites, expand, launcher_default, sites_of
from placement.passes.sweep import swept
from tests import clusters
from tests.property import mapping_cases as cases

JOB = Job(seq_len=1, global_batch=1)
NINE = [0, 2, 4, 16, 17, 20, 26, 27, 36, 44]  # of nine leafs of five: rooms 2, 5, 5, 3, 4, 3, 5, 4, 4


def rings(stages: int, path: float = 2.0) -> Traffic:
    return Traffic((Term("dp", "ring", np.full(stages, 29.0)), Term("pp", "path", np.full(stages, path))))


def num_arcs(sites: Sites, tier: int, domain_C: Ints, stages: int) -> int:
    group_PC = sites.parent_TD[tier][domain_C].reshape(stages, -1)
    return int((group_PC != np.roll(group_PC, 1, axis=1)).sum())


def cells_of(cluster: Cluster, sites: Sites, found: Placement) -> Ints:
    return np.asarray(cluster.tiers[0].group_N[found.gpu_R[:: sites.cell] // cluster.gpus_per_node])


def without_arcs(
    monkeypatch: pytest.MonkeyPatch, cluster: Cluster, strategy: Strategy, traffic: Traffic, aim: Aim
) -> Placement:
    with monkeypatch.context() as patch:
        patch.setattr(placing, "arced", lambda *_: [])
        return place(cluster, strategy, traffic, JOB, aim=aim)


def any_order(sites: Sites) -> Ints:
    """Cells in order of domains: what arcs are compared with."""
    return np.asarray(np.repeat(np.arange(len(sites.room_D)), sites.room_D), np.int64)


def test_three_rings_of_nine_take_a_five_and_a_four_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rooms 2, 5, 5, 3, 4, 3, 5, 4, 4 for three rings of nine: by hand two arcs each. Boxes, bands and exchanges find seven."""
    cluster, strategy, traffic = (
        clusters.regular(2, 1, (5, 9), failed_nodes=NINE),
        clusters.strategy(tp=2, dp=9, pp=3),
        rings(3),
    )
    sites = sites_of(cluster, strategy, JOB)
    before = cells_of(cluster, sites, without_arcs(monkeypatch, cluster, strategy, traffic, BYTES))
    after = cells_of(cluster, sites, place(cluster, strategy, traffic, JOB, aim=BYTES))
    assert [num_arcs(sites, 1, c, 3) for c in (before, after)] == [7, 6]
    assert min(num_arcs(sites, 1, c, 3) for c in swept(strategy, sites)) > 7
    assert score_cells(cluster, strategy, traffic, sites, after, BYTES) < score_cells(
        cluster, strategy, traffic, sites, before, BYTES
    )


def test_bands_take_the_regions_that_hold_them() -> None:
    """Pods of 16, 16, 10 and 10 racks, and two bands of 24 racks: 16 + 10 hold one, so each ring has two arcs.

    In the order of the pods the second band gets what is left of the second pod, a third one, and some of the last.
    """
    failed = [*range(32, 38), *range(48, 54)]
    cluster, strategy = clusters.regular(2, 1, (4, 4, 4), failed_nodes=failed), clusters.strategy(tp=2, dp=12, pp=4)
    sites = sites_of(cluster, strategy, JOB)
    assert np.bincount(sites.parent_TD[2], weights=sites.room_D).tolist() == [16, 16, 10, 10]
    (domain_C,) = arced(cluster, strategy, rings(4, path=4.0), sites, any_order(sites)[:48])
    two_bands = swept(strategy, sites)[1]
    assert [num_arcs(sites, 2, c, 4) for c in (domain_C, two_bands)] == [4 * 2, 2 * 2 + 2 * 3]


@pytest.mark.parametrize("seed", range(20))
def test_every_cell_has_a_place_and_nothing_overflows(seed: int) -> None:
    """Random damage, cells of one or two to a node, one or three nodes to a domain: whole nodes, within the rooms."""
    rng = np.random.default_rng(seed)
    per_domain, tp = int(rng.choice([1, 3])), int(rng.choice([1, 2]))
    domains = (4, 3, 3)
    failed = np.flatnonzero(rng.random(36 * per_domain) < 0.12).tolist()
    cluster = clusters.regular(2, per_domain, domains, failed_nodes=failed)
    room = int(cluster.whole_N.sum()) * 2
    strategy = clusters.strategy(tp=tp, dp=room // 4 // 2 * 2 // tp - 2 // tp, pp=4)
    sites = sites_of(cluster, strategy, JOB)
    num = strategy.world_size // sites.cell
    found = arced(cluster, strategy, rings(4), sites, any_order(sites)[:num])
    assert found
    for domain_C in found:
        assert len(domain_C) == num
        assert (np.bincount(domain_C, minlength=len(sites.room_D)) <= sites.room_D).all()
        assert len(np.unique(expand(sites, domain_C).gpu_R)) == strategy.world_size
        again = arced(cluster, strategy, rings(4), sites, any_order(sites)[:num])[0]
        assert again.tobytes() == domain_C.tobytes()


def test_nothing_is_laid_where_boxes_fit_or_nothing_else_does() -> None:
    """Alike groups that tile the rings; one chip and another; no place to spare; no ring that goes round a stage."""

    def laid(cluster: Cluster, strategy: Strategy, traffic: Traffic) -> list[Ints]:
        sites = sites_of(cluster, strategy, JOB)
        return arced(cluster, strategy, traffic, sites, any_order(sites)[: strategy.world_size // sites.cell])

    nine = clusters.strategy(tp=2, dp=9, pp=3)
    assert laid(clusters.regular(2, 1, (5, 9), failed_nodes=NINE), nine, rings(3))
    assert not laid(clusters.regular(2, 1, (4, 9)), clusters.strategy(tp=2, dp=8, pp=4), rings(4))
    assert not laid(clusters.regular(2, 1, (5, 9), failed_nodes=NINE, chip_of_domain=[0] * 20 + [1] * 25), nine, rings(3))
    assert not laid(clusters.regular(2, 1, (5, 9), failed_nodes=NINE), clusters.strategy(tp=2, dp=7, pp=5), rings(5))
    assert not laid(clusters.regular(2, 1, (5, 9), failed_nodes=NINE), nine, Traffic(rings(3).terms[1:]))


@pytest.mark.parametrize("seed", range(24))
def test_place_is_never_worse_for_arcs(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random clusters, strategies and traffic, both aims: the score with arcs is at most the one without."""
    rng = np.random.default_rng(seed)
    cluster = _damaged(rng) if seed % 2 else cases.random_cluster(rng, most=60, deep=True)
    usable = int(cluster.usable_NG.sum())
    strategy = cases.random_strategy(rng, int(rng.integers(2, usable + 1)))
    traffic, aim = cases.random_traffic(rng, strategy), (placing.STEP_TIME, BYTES)[seed // 2 % 2]
    if seed % 2:
        strategy = clusters.strategy(tp=2, dp=usable // 2 // 3 - 1, pp=3)
        traffic = rings(3)
    try:
        found = place(cluster, strategy, traffic, JOB, aim=aim)
    except Infeasible:
        return
    before = without_arcs(monkeypatch, cluster, strategy, traffic, aim)
    default = launcher_default(cluster, strategy, JOB)
    assert len(np.unique(found.gpu_R)) == len(default.gpu_R)
    ours, theirs = (_value(cluster, strategy, traffic, p, aim) for p in (found, before))
    assert ours <= theirs


def _damaged(rng: np.random.Generator) -> Cluster:
    shape = (int(rng.integers(3, 6)), int(rng.integers(5, 12)))
    return clusters.regular(2, 1, shape, failed_nodes=np.flatnonzero(rng.random(shape[0] * shape[1]) < 0.2).tolist())


def _value(cluster: Cluster, strategy: Strategy, traffic: Traffic, found: Placement, aim: Aim) -> tuple[float, ...]:
    """(parted groups, mixed stages, weighted seconds): what `place` makes least where all nodes are as fast."""
    sites = sites_of(cluster, strategy, JOB)
    domain_C = cells_of(cluster, sites, found)
    return (sites.num_parted(domain_C), *score_cells(cluster, strategy, traffic, sites, domain_C, aim)[:2])
