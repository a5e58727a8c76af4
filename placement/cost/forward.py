# SPDX-License-Identifier: Apache-2.0
# A axis   R rank   H slice of ranks along which an axis runs   n member   K piece: (communicator, NVLink domain)
"""Messages between rails that no switch joins: over NVLink to a member on the other rail, which sends them (NCCL's PXN).

Source: NVIDIA/nccl src/graph/paths.cc (`ncclTopoComputePaths`, `ncclTopoGetIntermediateRank`): GPUs receive on their own NIC;
the sender's bytes go through a GPU of the same communicator and the same host that is local to a NIC of that rail.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from placement.cost.crossings import boundaries
from placement.ir import AXES, Cluster, Placement, Strategy
from placement.ir._array import Floats, Ints

RINGS = ("tp", "cp", "gtp", "dp", "etp", "egtp", "edp")


@dataclass(frozen=True)
class Forwarding:
    """What rails that are apart cost. All zero where every communicator finds its peers on the same rails.

    `hop_A` bytes that the busiest forwarder passes on over NVLink, for each byte of payload that a rank sends; `nic_spB_A`
    seconds per byte at the NIC that it uses; `broken_A` communicators (pp: messages) without such a path.
    """

    hop_A: Floats
    nic_spB_A: Floats
    broken_A: Ints


def forwarding(cluster: Cluster, strategy: Strategy, placement: Placement) -> Forwarding:
    """Hops of every axis; nothing is looked at where rails are joined."""
    hop_A, nic_A, broken_A = np.zeros(len(AXES)), np.zeros(len(AXES)), np.zeros(len(AXES), np.int64)
    if not cluster.rails_connected:
        for a, axis in enumerate(AXES):
            if strategy.size(axis) > 1 and not _straight(strategy.stride(axis), cluster, placement):
                paths = _messages(cluster, strategy, placement) if axis == "pp" else _rings(cluster, strategy, placement, axis)
                hop_A[a], nic_A[a], broken_A[a] = paths
    return Forwarding(hop_A, nic_A, broken_A)


def _straight(stride: int, cluster: Cluster, placement: Placement) -> bool:
    """Whether ranks this far apart sit on the same slot of their hosts anyway: whole hosts in order, and whole hosts apart."""
    slots = cluster.gpus_per_node
    if stride % slots:
        return False
    slot_R = placement.gpu_R % slots
    return bool((slot_R[: len(slot_R) // slots * slots].reshape(-1, slots) == np.arange(slots)).all())


def _rings(cluster: Cluster, strategy: Strategy, placement: Placement, axis: str) -> tuple[float, float, int]:
    """Rings that leave a domain do so on rails that all their domains have. Members on other rails hand over to those, so k
    members carry what all could: each forwards and sends 1 / k of the payload. All-to-all between unequal rails has no path
    from every member to every peer.
    """
    shape = (-1, strategy.size(axis), strategy.stride(axis))
    domain_HnX = cluster.tiers[0].group_N[placement.gpu_R // cluster.gpus_per_node].reshape(shape)
    bit_HnX = np.left_shift(1, cluster.rail_G[placement.gpu_R % cluster.gpus_per_node].astype(np.int64)).reshape(shape)
    odd_HX = (bit_HnX != bit_HnX[:, :1]).any(axis=1) & (domain_HnX != domain_HnX[:, :1]).any(axis=1)
    if not odd_HX.any():
        return 0.0, 0.0, 0
    domain_QM, bit_QM = np.moveaxis(domain_HnX, 1, 2)[odd_HX], np.moveaxis(bit_HnX, 1, 2)[odd_HX]
    order = np.argsort(domain_QM, axis=1, kind="stable")
    domain_QM, bit_QM = np.take_along_axis(domain_QM, order, 1), np.take_along_axis(bit_QM, order, 1)
    first = np.ones(domain_QM.shape, bool)
    first[:, 1:] = domain_QM[:, 1:] != domain_QM[:, :-1]
    start_K, row_K = np.flatnonzero(first), np.nonzero(first)[0]
    rails_K = np.bitwise_or.reduceat(bit_QM.ravel(), start_K)
    head_Q = np.searchsorted(row_K, np.arange(len(domain_QM)))
    common_Q, all_Q = np.bitwise_and.reduceat(rails_K, head_Q), np.bitwise_or.reduceat(rails_K, head_Q)
    lanes_K = np.add.reduceat(((bit_QM & common_Q[:, None]) > 0).ravel().astype(np.int64), start_K)
    unequal_Q = common_Q != all_Q
    broken_Q = unequal_Q & ((common_Q == 0) | (axis not in RINGS))
    lanes = int(lanes_K[(unequal_Q & ~broken_Q)[row_K]].min(initial=np.iinfo(np.int64).max))
    if not (unequal_Q & ~broken_Q).any():
        return 0.0, 0.0, int(broken_Q.sum())
    return 1.0 / lanes, 1.0 / (lanes * _slowest_nic(cluster, placement)), int(broken_Q.sum())


def _messages(cluster: Cluster, strategy: Strategy, placement: Placement) -> tuple[float, float, int]:
    """Stage boundaries: the busiest forwarder and NIC, of activations or of gradients, which run at the same time."""
    pairs = boundaries(strategy)
    ways = [_one_way(cluster, strategy, placement, way) for way in (pairs, [(b, a) for a, b in pairs])]
    hops, streams, broken = (max(w[i] for w in ways) for i in range(3))
    return float(hops), streams / _slowest_nic(cluster, placement) if hops else 0.0, broken


def _one_way(cluster: Cluster, strategy: Strategy, placement: Placement, pairs: list[tuple[int, int]]) -> tuple[int, int, int]:
    """(messages that the busiest GPU forwards, messages at the NIC of a GPU that forwards, messages without a path)."""
    gpu_PX, slots = placement.gpu_R.reshape(strategy.pp, -1).astype(np.int64), cluster.gpus_per_node
    node_PX, rail_PX = gpu_PX // slots, cluster.rail_G[gpu_PX % slots].astype(np.int64)
    domain_PX, rails = cluster.tiers[0].group_N[node_PX], int(cluster.rail_G.max()) + 1
    line_PX = np.broadcast_to(np.arange(gpu_PX.shape[1]), gpu_PX.shape)
    key_R = ((line_PX * cluster.num_nodes + node_PX) * rails + rail_PX).ravel()
    order = np.argsort(key_R, kind="stable")
    source, target = (np.array([pair[i] for pair in pairs], np.int64) for i in (0, 1))
    away = domain_PX[source] != domain_PX[target]
    own = away & (rail_PX[source] == rail_PX[target])
    want = ((line_PX[source] * cluster.num_nodes + node_PX[source]) * rails + rail_PX[target])[away & ~own]
    at = np.minimum(np.searchsorted(key_R[order], want), len(order) - 1)
    has = key_R[order][at] == want
    size = cluster.num_nodes * slots
    hops_G = np.bincount(gpu_PX.ravel()[order[at[has]]], minlength=size)
    streams_G = hops_G + np.bincount(gpu_PX[source][own], minlength=size)
    return int(hops_G.max(initial=0)), int(streams_G[hops_G > 0].max(initial=0)), int((~has).sum())


def _slowest_nic(cluster: Cluster, placement: Placement) -> float:
    """Bytes/s of the slowest adapter that ranks use."""
    return float(cluster.nic_Bps_N[placement.gpu_R // cluster.gpus_per_node].min())
