# SPDX-License-Identifier: Apache-2.0
"""Hops between rails: the referee's member-by-member count against the compiler's arrays, on random placements."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from placement.cost.crossings import boundaries
from placement.cost.forward import forwarding
from placement.ir import AXES, Placement
from placement.verify import forward
from placement.verify.case import Degrees
from placement.verify.links import place_in_group
from tests import clusters

SHAPES = (
    {"dp": 6}, {"dp": 8}, {"pp": 6}, {"tp": 2, "pp": 4}, {"tp": 2, "dp": 4}, {"cp": 2, "dp": 2, "pp": 3},
    {"dp": 4, "pp": 2, "gtp": 2}, {"dp": 8, "ep": 4}, {"pp": 2, "vpp": 2, "schedule": "interleaved", "dp": 3},
)  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_both_count_alike(shape: dict[str, int | str]) -> None:
    """Forwarded shares, NIC seconds and what has no path, of 60 placements on 3 domains of 2 hosts of 4 GPUs each."""
    cluster, strategy = clusters.regular(4, 2, (3,), rails_connected=False), clusters.strategy(**shape)  # type: ignore[arg-type]
    names = ("tp", "cp", "ep", "etp", "dp", "pp", "vpp", "gtp", "egtp", "micro_batch", "num_microbatches", "schedule")
    facts = {n: getattr(strategy, n) for n in names}
    d = Degrees(**facts, recompute="none", sharding="zero1")
    random, hops, broken = np.random.default_rng(7), 0, 0
    for _ in range(60):
        # few GPUs, so that hosts hold several members
        pool = random.permutation(24)[: strategy.world_size + int(random.integers(0, 3))]
        gpu_R = random.permutation(pool)[: strategy.world_size]
        placement = Placement(np.sort(gpu_R) if random.random() < 0.5 else gpu_R)
        node_R = placement.gpu_R // 4
        case = SimpleNamespace(cluster=cluster, gpu_R=placement.gpu_R, node_R=node_R, degrees=d)
        mine = forwarding(cluster, strategy, placement)
        for a, axis in enumerate(AXES):
            if strategy.size(axis) == 1:
                continue
            if axis == "pp":
                theirs = forward.messages(case, node_R, boundaries(strategy))  # type: ignore[arg-type]
                assert bool(mine.broken_A[a]) == bool(forward.lost(case, node_R, boundaries(strategy)))  # type: ignore[arg-type]
            else:
                first_R = place_in_group(d, axis)[1]
                theirs = forward.rings(case, node_R, axis, first_R)  # type: ignore[arg-type]
                assert mine.broken_A[a] == len(forward.stranded(case, node_R, axis, first_R))  # type: ignore[arg-type]
            assert (mine.hop_A[a], mine.nic_spB_A[a]) == pytest.approx(theirs)
            hops, broken = hops + bool(mine.hop_A[a]), broken + bool(mine.broken_A[a])
    assert broken and (hops or shape in ({"tp": 2, "dp": 4}, {"cp": 2, "dp": 2, "pp": 3}, {"dp": 8, "ep": 4}))
