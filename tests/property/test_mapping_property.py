# SPDX-License-Identifier: Apache-2.0
"""Claims about spans, placements and bounds on random small clusters, against enumeration and slow re-derivations."""

from __future__ import annotations

import numpy as np
import pytest

from placement.cost.cells import DEGREE_KEYS, cell_size, kept_cell
from placement.cost.spans import ideal_spans, spans_of
from placement.cost.traffic import link_loads, tier_bytes
from placement.diag import Infeasible
from placement.ir import Cluster, Job, Placement, Strategy
from placement.passes.bound import certify, lower_bytes, tier_bound
from placement.passes.place import launcher_default, place, score
from tests import oracles
from tests.property import mapping_cases as cases

JOB = Job(seq_len=1, global_batch=1)
SEEDS = range(12)


def draw(seed: int, count: int, most: int = 16) -> list[tuple[np.random.Generator, Cluster, Strategy]]:
    rng = np.random.default_rng(seed)
    found = []
    while len(found) < count:
        cluster = cases.random_cluster(rng, most=most)
        usable = int(cluster.usable_NG.sum())
        if usable >= 2:
            found.append((rng, cluster, cases.random_strategy(rng, int(rng.integers(2, usable + 1)))))
    return found


@pytest.mark.parametrize("seed", SEEDS)
def test_spans_equal_the_slow_oracle(seed: int) -> None:
    """spans_of is exact on every placement, random or structured."""
    for rng, cluster, strategy in draw(seed, 10):
        placement = cases.random_placement(rng, cluster, strategy)
        spans = spans_of(cluster, strategy, placement)
        slow = oracles.spans(cluster, strategy, placement)
        for ours, theirs in zip((spans.members, spans.ring_spB, spans.a2a_spB), slow, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_tier_bytes_equal_the_slow_oracle(seed: int) -> None:
    """Bytes that leave each tier equal a count over pairs of ranks, and the link loads add up to them."""
    for rng, cluster, strategy in draw(seed, 10):
        placement, traffic = cases.random_placement(rng, cluster, strategy), cases.random_traffic(rng, strategy)
        by_axis = tier_bytes(cluster, strategy, placement, traffic)
        loads = link_loads(cluster, strategy, placement, traffic)
        for tier, expected in zip(cluster.tiers, oracles.leaving(cluster, strategy, placement, traffic), strict=True):
            assert sum(axis[tier.name] for axis in by_axis.values()) == pytest.approx(expected)
            assert loads[tier.name].sum() == pytest.approx(expected)


@pytest.mark.parametrize("seed", SEEDS)
def test_ideal_spans_never_cost_more_than_any_placement(seed: int) -> None:
    """Without the rule on cells, no placement at all beats the ideal spans; with it, none that keeps cells in domains."""
    for rng, cluster, strategy in draw(seed, 25):
        degrees = {k: np.array([strategy.size(k)]) for k in DEGREE_KEYS}
        placement = cases.random_placement(rng, cluster, strategy)
        _assert_optimistic(ideal_spans(cluster, degrees, cells=False), spans_of(cluster, strategy, placement))
        for maker in (_random_cells, _placed):
            found = maker(rng, cluster, strategy)
            if found is not None:
                kept_S = np.array([kept_cell(cluster, strategy, JOB)])  # where whole cells do not fit, `place` parts them
                cell_S = kept_S if maker is _placed else None
                _assert_optimistic(ideal_spans(cluster, degrees, cell_S=cell_S), spans_of(cluster, strategy, found))


@pytest.mark.parametrize("seed", SEEDS)
def test_place_is_legal_and_never_worse_than_the_launcher(seed: int) -> None:
    """Injective, on healthy whole nodes, cells inside domains, slots ascending with ranks; no worse than the launcher's order
    where that keeps cells together."""
    for rng, cluster, strategy in draw(seed, 20, most=40):
        traffic = cases.random_traffic(rng, strategy)
        try:
            placement = place(cluster, strategy, traffic, JOB)
        except Infeasible:
            continue
        _assert_legal(cluster, strategy, placement)
        default = launcher_default(cluster, strategy, JOB)
        if _cells_together(cluster, strategy, default):
            ours, theirs = (score(cluster, strategy, traffic, p) for p in (placement, default))
            assert ours <= theirs and ours[3] <= theirs[3]


@pytest.mark.parametrize("seed", SEEDS)
def test_bounds_hold_for_the_enumerated_optimum(seed: int) -> None:
    """No assignment of up to 8 ranks to groups, dead GPUs and spares included, lets fewer bytes leave than the bound."""
    for rng, cluster, strategy in draw(seed, 12, most=9):
        if strategy.world_size > 8:
            continue
        traffic = cases.random_traffic(rng, strategy)
        for tier in cluster.tiers:
            gpus_N = cluster.usable_NG.sum(axis=1)
            room_J = np.bincount(tier.group_N, weights=gpus_N, minlength=tier.num_groups).astype(np.int64)
            if tier.num_groups <= 4 or strategy.world_size <= 5:
                assert tier_bound(strategy, traffic, room_J) <= oracles.least_leaving(strategy, traffic, room_J) * (1 + 1e-9)


@pytest.mark.parametrize("seed", SEEDS)
def test_joint_bounds_hold_for_the_enumerated_optimum(seed: int) -> None:
    """Nor does any assignment let fewer bytes leave all tiers together than the joint bound."""
    for rng, cluster, strategy in draw(seed, 12, most=9):
        inner, num = cluster.tiers[0], cluster.tiers[0].num_groups
        if strategy.world_size > 8 or (num > 4 and strategy.world_size > 5):
            continue
        traffic = cases.random_traffic(rng, strategy)
        room_J = np.bincount(inner.group_N, weights=cluster.usable_NG.sum(axis=1), minlength=num).astype(np.int64)
        parents = []
        for tier in cluster.tiers[1:]:
            parent_J = np.zeros(num, np.int64)
            parent_J[inner.group_N] = tier.group_N
            parents.append(parent_J)
        joint = lower_bytes(cluster, strategy, traffic).joint
        assert joint <= oracles.least_leaving(strategy, traffic, room_J, tuple(parents)) * (1 + 1e-9)


@pytest.mark.parametrize("seed", SEEDS)
def test_certificates_hold_for_random_placements(seed: int) -> None:
    """The certificate of a placement stays below its own bytes on every tier, also where nothing can be enumerated."""
    for rng, cluster, strategy in draw(seed, 10, most=60):
        traffic = cases.random_traffic(rng, strategy)
        certificate = certify(cluster, strategy, cases.random_placement(rng, cluster, strategy), traffic)
        for tier in cluster.tiers:
            assert certificate.lower_bytes[tier.name] <= certificate.plan_bytes[tier.name] * (1 + 1e-9)
        assert certificate.gap >= -1e-9


def _assert_optimistic(ideal: object, real: object) -> None:
    assert (ideal.members[0] >= real.members).all()  # type: ignore[attr-defined]
    assert (ideal.ring_spB[0] <= real.ring_spB * (1 + 1e-12)).all()  # type: ignore[attr-defined]
    assert (ideal.a2a_spB[0] <= real.a2a_spB * (1 + 1e-12)).all()  # type: ignore[attr-defined]


def _random_cells(rng: np.random.Generator, cluster: Cluster, strategy: Strategy) -> Placement | None:
    """Cells thrown at random into domains, ranks of a cell at random GPUs of it."""
    cell = cell_size(cluster, strategy)
    domain_G = cluster.tiers[0].group_N[np.arange(cluster.usable_NG.size) // cluster.gpus_per_node]
    whole_G = np.repeat(cluster.whole_N, cluster.gpus_per_node)
    slots = []
    for d in range(cluster.tiers[0].num_groups):
        free = rng.permutation(np.flatnonzero(whole_G & (domain_G == d)))
        slots += [free[i : i + cell] for i in range(0, len(free) - cell + 1, cell)]
    need = strategy.world_size // cell
    if len(slots) < need:
        return None
    return Placement(np.concatenate([slots[i] for i in rng.permutation(len(slots))[:need]]))


def _placed(rng: np.random.Generator, cluster: Cluster, strategy: Strategy) -> Placement | None:
    try:
        return place(cluster, strategy, cases.random_traffic(rng, strategy), JOB)
    except Infeasible:
        return None


def _cells_together(cluster: Cluster, strategy: Strategy, placement: Placement, cell: int = 0) -> bool:
    cell = cell or cell_size(cluster, strategy)
    domain_CR = cluster.tiers[0].group_N[placement.gpu_R // cluster.gpus_per_node].reshape(-1, cell)
    return bool((domain_CR == domain_CR[:, :1]).all())


def _assert_legal(cluster: Cluster, strategy: Strategy, placement: Placement) -> None:
    gpu_R = placement.gpu_R
    assert len(np.unique(gpu_R)) == strategy.world_size == len(gpu_R)
    assert cluster.usable_NG.ravel()[gpu_R].all()
    assert _cells_together(cluster, strategy, placement, kept_cell(cluster, strategy, JOB))
    used_N = np.bincount(gpu_R // cluster.gpus_per_node, minlength=cluster.num_nodes)
    if strategy.world_size >= cluster.gpus_per_node:
        assert set(used_N.tolist()) <= {0, cluster.gpus_per_node}
    for node in np.flatnonzero(used_N):
        ranks = np.flatnonzero(gpu_R // cluster.gpus_per_node == node)
        assert (np.diff(gpu_R[ranks]) > 0).all()
