# SPDX-License-Identifier: Apache-2.0
"""Gradient rings of weights that are sharded over data-parallel neighbours: as many rings, of every so many-th member."""

from __future__ import annotations

import numpy as np
import pytest

from placement.cost.context import context
from placement.cost.hardware import hardware
from placement.cost.spans import spans_of
from placement.cost.step import all_params_s
from placement.cost.traffic import tier_bytes, traffic
from placement.ir import Job, Placement, Stages, Strategy
from placement.spec.catalog import efficiency
from tests import clusters
from tests.layers import chain, layer_costs

CLUSTER = clusters.regular(4, 1, (2, 4), taper=(0.25,))
PLACED = Placement(np.arange(32))


def seconds(strategy: Strategy, dense: float, expert: float, dp_cp: int, edp: int) -> float:
    """One gather of so many parameters of a GPU over its groups."""
    params, sizes = (np.array(dense), np.array(expert)), (np.array(float(dp_cp)), np.array(float(edp)))
    c, spans = context(Job(1, 1), hardware(CLUSTER)), spans_of(CLUSTER, strategy, PLACED)
    return float(all_params_s(c, efficiency(), 2.0, *params, *sizes, spans).item())


@pytest.mark.parametrize("shards", [2, 4])
def test_shards_share_wires_like_tensor_groups(shards: int) -> None:
    """Neighbours that hold parts of a weight reduce them along the same wires as neighbours of one tensor group would."""
    sharded, split = clusters.strategy(dp=32, gtp=shards), clusters.strategy(tp=shards, dp=32 // shards)
    assert seconds(sharded, 1e9, 0.0, 32 // shards, 1) == pytest.approx(seconds(split, 1e9, 0.0, 32 // shards, 1))
    assert seconds(sharded, 1e9, 0.0, 32 // shards, 1) > 1.5 * seconds(clusters.strategy(dp=32), 1e9, 0.0, 32, 1)


@pytest.mark.parametrize("shards", [2, 4])
def test_shards_of_experts_do_so_too(shards: int) -> None:
    sharded = clusters.strategy(dp=32, etp=1, ep=1, egtp=shards)
    split = clusters.strategy(dp=32, etp=shards, ep=1)
    assert seconds(sharded, 0.0, 1e9, 32, 32 // shards) == pytest.approx(seconds(split, 0.0, 1e9, 32, 32 // shards))


@pytest.mark.parametrize("shards", [2, 4])
def test_their_bytes_are_those_of_every_ring(shards: int) -> None:
    """A GPU holds 100 parameters of its shard; each of `shards` interleaved rings sends its own."""
    strategy, stages = clusters.strategy(dp=32, gtp=shards), Stages(np.array([0]), ("none",))
    moved = traffic(chain([0]), Job(1, 32), strategy, stages, layer_costs([[1, 1, 1]], dense_Y=[100]))
    domain_R, rings = CLUSTER.tiers[0].group_N[PLACED.gpu_R // 4], np.arange(32).reshape(-1, shards)
    crossing = int((domain_R[rings] != domain_R[np.roll(rings, -1, axis=0)]).sum())
    optimizer, members = Job(1, 32).optimizer, len(rings)
    sent = 100 * (optimizer.grad_reduce_bytes + optimizer.param_gather_bytes) * (members - 1) / members
    assert crossing == 8 * shards
    assert tier_bytes(CLUSTER, strategy, PLACED, moved)["dp"]["nvlink"] == pytest.approx(crossing * sent)
