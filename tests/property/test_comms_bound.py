# SPDX-License-Identifier: Apache-2.0
"""Bounds of several towers against exact optima: 480 random jobs with bridges, pairs, bare ranks and dead GPUs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from placement.cost.comms import loads
from placement.ir import Cluster
from placement.ir.comms import Comms
from placement.passes.comms_bound import bound_comms
from placement.solve.exchange import links
from placement.solve.graphbound import by_degree, by_eigenvalues, eigenvalues
from tests import exact
from tests.property import comms_cases
from tests.property import mapping_cases as cases

BATCHES, EACH = 8, 60


def instances(seed: int, count: int = EACH) -> Iterator[tuple[np.random.Generator, Cluster, Comms]]:
    rng = np.random.default_rng(7000 + seed)
    found = 0
    while found < count:
        cluster = cases.random_cluster(rng, deep=True)
        usable = int(cluster.usable_NG.sum())
        if usable < 4:
            continue
        comms = comms_cases.random_comms(rng, int(rng.integers(4, min(usable, 8) + 1)))
        if comms_cases.pair_bytes(comms).any():
            found += 1
            yield rng, cluster, comms


@pytest.mark.parametrize("seed", range(BATCHES))
def test_no_bound_is_above_the_optimum(seed: int) -> None:
    """Of each tier and of all together; the optimum by subsets of ranks."""
    ratio, ways = [], set()
    for _, cluster, comms in instances(seed):
        weight = comms_cases.pair_bytes(comms)
        stays_S, total = comms_cases.inside(weight), float(weight.sum() / 2)
        found = bound_comms(cluster, comms)
        best = exact.least_of(cluster, stays_S, total, np.ones(len(cluster.tiers)))
        assert found.joint <= best * (1 + 1e-9) + 1e-9
        for t, tier in enumerate(cluster.tiers):
            alone = exact.least_of(cluster, stays_S, total, np.eye(len(cluster.tiers))[t])
            assert found.lower[tier.name] <= alone * (1 + 1e-9) + 1e-9
        ways |= set(found.method.values())
        ratio.append(found.joint / best if best > 0 else 1.0)
    assert {"towers apart", "shared room", "eigenvalues"} <= ways  # each of them decides somewhere
    assert np.median(ratio) > 0.6  # the campaign would also pass with bounds of nothing


@pytest.mark.parametrize("seed", range(2))
def test_general_graphs(seed: int) -> None:
    """Degrees and eigenvalues by themselves, on the pairs of a job, whatever its towers are."""
    seen = {by_degree: 0, by_eigenvalues: 0}
    for _, cluster, comms in instances(50 + seed, 80):
        weight = comms_cases.pair_bytes(comms)
        a, b = np.nonzero(np.triu(weight, 1))
        graph = links(len(weight), [(a, b, weight[a, b])])
        stays_S, total = comms_cases.inside(weight), float(weight.sum() / 2)
        for t, tier in enumerate(cluster.tiers):
            room_J = np.bincount(tier.group_N, weights=cluster.usable_NG.sum(axis=1), minlength=tier.num_groups).astype(int)
            best = exact.least_of(cluster, stays_S, total, np.eye(len(cluster.tiers))[t])
            for bound, value in (
                (by_degree, by_degree(graph, min(int(room_J.max()), len(weight)))),
                (by_eigenvalues, by_eigenvalues(eigenvalues(graph), room_J)),
            ):
                assert value <= best * (1 + 1e-9) + 1e-9
                seen[bound] += value > 0.1 * total
    assert min(seen.values()) > 20


@pytest.mark.parametrize("seed", range(2))
def test_loads_are_what_the_pairs_say(seed: int) -> None:
    """Exact loads of random placements against the matrix of pairs."""
    for rng, cluster, comms in instances(90 + seed):
        weight = comms_cases.pair_bytes(comms)
        gpu_R = rng.permutation(np.flatnonzero(cluster.usable_NG.ravel()))[: comms.world_size]
        found = loads(cluster, comms, gpu_R)
        for t, tier in enumerate(cluster.tiers):
            group_R = tier.group_N[gpu_R // cluster.gpus_per_node]
            left = float((weight * (group_R[:, None] != group_R)).sum() / 2)
            assert found.bytes_T[t] == pytest.approx(left)
