# SPDX-License-Identifier: Apache-2.0
"""Rails: communicators that leave an NVLink domain should find their peers on the same NIC index."""

from __future__ import annotations

from placement.cost.forward import forwarding
from placement.ir import AXES, Cluster, Placement, Strategy

RAILS = "no path between rails"  # why a strategy is rejected


def rail_conflicts(cluster: Cluster, strategy: Strategy, placement: Placement) -> dict[str, int]:
    """Of each axis, what has no path on rails that are apart: communicators whose domains share no rail, and messages between
    stages that no member on the sender's host could forward.
    """
    broken_A = forwarding(cluster, strategy, placement).broken_A
    return {axis: int(n) for axis, n in zip(AXES, broken_A.tolist(), strict=True) if strategy.size(axis) > 1}
