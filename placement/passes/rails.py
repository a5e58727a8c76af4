# SPDX-License-Identifier: Apache-2.0
"""Rails: communicators that leave an NVLink domain should find their peers on the same NIC index."""

from __future__ import annotations

import numpy as np

from placement.ir import AXES, Cluster, Placement, Strategy
from placement.ir._array import Ints


def rail_conflicts(cluster: Cluster, strategy: Strategy, placement: Placement) -> dict[str, int]:
    """Communicators of each axis that leave a domain and whose members use other rails in one domain than in another.

    Those need a path between rails, or an extra NVLink hop (NCCL: PXN) for every message.
    """
    node_R = placement.gpu_R // cluster.gpus_per_node
    domain_R = cluster.tiers[0].group_N.astype(np.int64)[node_R]
    rail_R = cluster.rail_G[placement.gpu_R % cluster.gpus_per_node]
    return {axis: _conflicts(strategy, axis, domain_R, rail_R) for axis in AXES if strategy.size(axis) > 1}


def _conflicts(strategy: Strategy, axis: str, domain_R: Ints, rail_R: Ints) -> int:
    domain_HnX = domain_R.reshape(-1, strategy.size(axis), strategy.stride(axis))
    leaves_HX = (domain_HnX != domain_HnX[:, :1]).any(axis=1)
    if not leaves_HX.any():
        return 0
    rail_HnX = rail_R.reshape(domain_HnX.shape)
    domain_GN = np.moveaxis(domain_HnX, 1, 2)[leaves_HX]
    bits_GN = np.left_shift(1, np.moveaxis(rail_HnX, 1, 2)[leaves_HX].astype(np.int64))
    if bool((bits_GN == bits_GN[:, :1]).all()):
        return 0
    order = np.argsort(domain_GN, axis=1, kind="stable")
    domain_GN, bits_GN = np.take_along_axis(domain_GN, order, 1), np.take_along_axis(bits_GN, order, 1)
    first = np.ones(domain_GN.shape, bool)
    first[:, 1:] = domain_GN[:, 1:] != domain_GN[:, :-1]
    start_K = np.flatnonzero(first)
    rails_K = np.bitwise_or.reduceat(bits_GN.ravel(), start_K)
    row_K = start_K // domain_GN.shape[1]
    return len(np.unique(row_K[rails_K != rails_K[np.searchsorted(row_K, row_K)]]))
