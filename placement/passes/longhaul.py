# SPDX-License-Identifier: Apache-2.0
"""What a plan sends over links that are far thinner than the adapters behind them, such as those between halls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from placement.ir import Cluster

THIN = 8.0  # bytes/s of the adapters of a group to one of its uplink, from which on a plan says what it sends there
NAMES = {
    "dp": "data parallelism",
    "pp": "pipeline parallelism",
    "ep": "expert parallelism",
    "edp": "data parallelism of experts",
}


def across(cluster: Cluster, bytes_tier: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    """A sentence for each thin tier that traffic crosses: which axes do, most bytes first."""
    for tier in cluster.tiers[1:-1]:
        adapters_J = np.bincount(tier.group_N, cluster.nic_Bps_N, tier.num_groups) * cluster.gpus_per_node
        taper = float((adapters_J / np.maximum(tier.uplink_Bps_J, 1.0)).max())
        sent = sorted(((tiers.get(tier.name, 0.0), axis) for axis, tiers in bytes_tier.items()), reverse=True)
        moved = [f"{NAMES.get(axis, axis)} ({amount / 1e9:,.1f} GB a step)" for amount, axis in sent if amount > 0]
        if moved and taper >= THIN:
            thin = f"the links of a {tier.name} are {taper:,.0f} times thinner than its adapters"
            yield f"{thin}; over them goes {', '.join(moved)}"
