# SPDX-License-Identifier: Apache-2.0
"""Units of tight clusters dealt again to leafs, row after row."""

from __future__ import annotations

import numpy as np
import pytest

from placement.cost.traffic import tier_bytes
from placement.ir import Cluster, Job, Placement, Term, Traffic
from placement.passes.place import BYTES, place
from placement.passes.rows import in_rows
from tests import clusters

JOB = Job(seq_len=1, global_batch=1, ragged=True)


def test_rows_get_whole_groups_that_alternate() -> None:
    """Two rows of five units, leafs of 3, 3, 2 and 2 seats in a pod: 3 + 2 each, and none has ends of two rows."""
    leaf_D, pod_D = np.arange(4), np.zeros(4, int)
    before_U = np.repeat([0, 1, 2, 3], [3, 3, 2, 2])
    after_U = in_rows(before_U, leaf_D, pod_D, np.array([-1, -2, 1, 2]), 5)
    assert after_U.tolist() == [1, 1, 1, 3, 3, 0, 0, 0, 2, 2]


def test_rows_that_nothing_fills_exactly_share_groups() -> None:
    leaf_D, pod_D = np.arange(2), np.zeros(2, int)
    assert in_rows(np.array([0, 0, 1, 1]), leaf_D, pod_D, np.zeros(2, int), 3).tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("seed", range(20))
def test_seats_of_domains_and_pods_of_units_stay(seed: int) -> None:
    """Whatever the damage: each domain seats as many units as before, and each unit stays in its pod."""
    rng = np.random.default_rng(seed)
    leaf_D = np.sort(rng.integers(0, 8, 24))
    pod_D = leaf_D // 4
    domain_U = rng.integers(0, 24, 40)
    free_J = rng.integers(-3, 4, 8)
    after_U = in_rows(domain_U, leaf_D, pod_D, free_J, int(rng.choice([5, 10, 40])))
    assert np.bincount(after_U, minlength=24).tolist() == np.bincount(domain_U, minlength=24).tolist()
    assert pod_D[after_U].tolist() == pod_D[domain_U].tolist()


def torn(cluster: Cluster, found: Placement, unit: int, tier: int) -> list[set[int]]:
    """Groups of a tier that each unit has ranks in."""
    group_R = cluster.tiers[tier].group_N[found.gpu_R // cluster.gpus_per_node]
    return [set(row.tolist()) for row in group_R.reshape(-1, unit)]


def test_a_tail_lies_where_its_neighbour_on_the_ring_is() -> None:
    """Ring of ten groups of four, racks of four, four and two in four leafs: each pair of leafs holds five groups in a row.

    By hand: one group of each five is cut in two. Every leaf holds an arc of each of the four rings, so that one edge an arc
    and ring leaves: 4 leafs x 4 rings x 3 B. The two cut groups lose 4 pairs each, 2 B a pair.
    """
    rooms = [4, 4, 2] * 4
    dead = [(n, slot) for n, room in enumerate(rooms) for slot in range(room, 4)]
    cluster = clusters.regular(4, 1, (3, 4), failed_gpus=dead)
    strategy = clusters.strategy(ep=4, dp=40)
    traffic = Traffic((Term("ep", "clique", np.array([3.0])), Term("edp", "ring", np.array([3.0]))))
    found = place(cluster, strategy, traffic, JOB, aim=BYTES, cell=1)
    parted = [leafs for leafs in torn(cluster, found, 4, 1) if len(leafs) > 1]
    assert len(parted) == 2
    moved = tier_bytes(cluster, strategy, found, traffic)
    assert moved["edp"]["leaf"] == pytest.approx(4 * 4 * 3)
    assert moved["ep"]["leaf"] == pytest.approx(2 * 4 * 2)
