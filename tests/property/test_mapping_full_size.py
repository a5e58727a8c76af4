# SPDX-License-Identifier: Apache-2.0
"""The real size: 3,056 racks of 72 GPUs, with the traffic of a large mixture of experts."""

from __future__ import annotations

import numpy as np
import pytest

from placement.cost.cells import DEGREE_KEYS, capacity
from placement.cost.spans import ideal_spans, spans_of
from placement.ir import Cluster, Job, Placement, Strategy, Term, Traffic
from placement.passes.bound import certify
from placement.passes.place import launcher_default, place, score
from placement.passes.rails import rail_conflicts
from tests import clusters

JOB = Job(seq_len=8192, global_batch=24_576)
GB = {"tp": 230, "cp": 5, "ep": 100, "pp": 1.5, "dp": 11, "edp": 60}


def traffic(strategy: Strategy) -> Traffic:
    kinds = {"ep": "clique", "pp": "path"}
    return Traffic(tuple(Term(a, kinds.get(a, "ring"), np.full(strategy.pp, b * 1e9)) for a, b in GB.items()))


def check(cluster: Cluster, strategy: Strategy, placement: Placement, moved: Traffic) -> None:
    assert len(np.unique(placement.gpu_R)) == strategy.world_size
    assert cluster.usable_NG.ravel()[placement.gpu_R].all()
    spans = spans_of(cluster, strategy, placement)
    assert spans.axis("ep")[0][0] == strategy.ep and spans.axis("tp")[0][0] == strategy.tp
    assert not any(rail_conflicts(cluster, strategy, placement).values())
    ideal = ideal_spans(cluster, {k: np.array([strategy.size(k)]) for k in DEGREE_KEYS})
    assert (ideal.ring_spB[0] <= spans.ring_spB * (1 + 1e-12)).all() and (ideal.members[0] >= spans.members).all()
    default = launcher_default(cluster, strategy, JOB)
    assert score(cluster, strategy, moved, placement) < score(cluster, strategy, moved, default)


@pytest.mark.full
def test_a_regular_fabric_is_within_a_percent_of_the_bound() -> None:
    """180,224 ranks in cells of 64 on 220,032 GPUs: nothing to gain on the two inner tiers, 1 % at most in all."""
    cluster, strategy = clusters.gb300_220k(), clusters.strategy(tp=2, cp=4, ep=64, dp=2048, pp=11)
    moved = traffic(strategy)
    placement = place(cluster, strategy, moved, JOB)
    check(cluster, strategy, placement, moved)
    certificate = certify(cluster, strategy, placement, moved)
    assert certificate.plan_bytes["nvlink"] == pytest.approx(certificate.lower_bytes["nvlink"])
    assert certificate.plan_bytes["leaf"] == pytest.approx(certificate.lower_bytes["leaf"])
    assert 0 <= certificate.gap < 0.01


@pytest.mark.full
def test_failed_trays_cost_two_percent_at_most() -> None:
    """2 % of the trays dead, 98 % of the cells that still fit in use."""
    dead = np.random.default_rng(0).choice(55_008, 1_100, replace=False)
    cluster = clusters.gb300_220k(failed_nodes=dead)
    dp = int(capacity(cluster, 64)) * 98 // 100 // 16 * 8
    strategy = clusters.strategy(tp=2, cp=4, ep=64, dp=dp, pp=16)
    moved = traffic(strategy)
    placement = place(cluster, strategy, moved, JOB)
    check(cluster, strategy, placement, moved)
    assert 0 <= certify(cluster, strategy, placement, moved).gap < 0.02
