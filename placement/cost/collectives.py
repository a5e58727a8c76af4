# SPDX-License-Identifier: Apache-2.0
# T tier (0 = NVLink domain)   ... any leading shape
"""Time of one collective on the tiers that its communicator really spans. Alone, on warm channels: overlap is for the caller.

alpha-beta with a bandwidth for every tier: the NVLink part and the network part of a collective run as one pipeline, so the
slower decides and the other adds a little (power mean). Checked against the NCCL measurements in hardware.yaml.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from placement.ir import Efficiency
from placement.ir._array import Floats


@dataclass(frozen=True)
class Links:
    """Rates that a communicator sees, broadcastable: line rates in bytes/s and direction, GPUs of a domain."""

    nvlink_Bps: Floats
    nic_Bps: Floats
    domain: Floats
    nvls: Floats  # 1 where the NVLink switch reduces
    fast: Floats  # 1 from Blackwell on (fifth NVLink generation)


def ring_s(
    links: Links, eff: Efficiency, size: Floats, members_T: Floats, ring_spB_T: Floats, payload_B: Floats,
    hop: Floats | float = 0.0,
) -> Floats:  # fmt: skip
    """All-gather or reduce-scatter of `payload_B` (the whole tensor, the same on every member): seconds.

    Each of n ring edges carries payload (n - 1) / n (Thakur et al. 2005). NCCL has no hierarchical form of either. `hop` of it
    also passes through a GPU on another rail.
    """
    carried = payload_B * (size - 1) / np.maximum(size, 1)
    nvlink = (np.where(members_T[..., 0] > 1, 1.0, 0.0) + hop) * carried / (links.nvlink_Bps * eff["nvlink_ring"])
    network = carried * _ring_network(links, eff, size, members_T, ring_spB_T)
    return np.where(size > 1, join(nvlink, network) + ring_start_s(eff, size, members_T), 0.0)


def ring_start_s(eff: Efficiency, size: Floats, members_T: Floats) -> Floats:
    """`ring_s` of nothing: what it takes before the first byte."""
    return np.where(size > 1, 0.5 * latency_s(eff, size, members_T[..., 0]), 0.0)


def all_reduce_s(
    links: Links, eff: Efficiency, size: Floats, members_T: Floats, ring_spB_T: Floats, payload_B: Floats
) -> Floats:
    """All-reduce of `payload_B`: in the NVLink switch where it reduces (NVLS), by ring or tree between domains; seconds.

    NVLS moves the payload once up and once down whatever the size. NCCL's double binary tree carries half of the payload a
    tree: a host inside one receives from two children and its parent, and as a leaf of the other once more, 2 payloads in all;
    1.5 of three hosts and 1 of two. The ring moves 2 (n - 1) / n over fewer NICs; NCCL takes the better. Trees join hosts of at
    most 8 GPUs (not NVL72).
    """
    local = members_T[..., 0]
    ring = 2.0 * payload_B * (size - 1) / np.maximum(size, 1)
    switch = payload_B / (links.nvlink_Bps * np.where(links.fast > 0, eff["nvls_blackwell"], eff["nvls_hopper"]))
    nvlink = np.where(local > 1, np.where(links.nvls > 0, np.minimum(switch, ring / (links.nvlink_Bps * eff["nvlink_ring"])),
                                          ring / (links.nvlink_Bps * eff["nvlink_ring"])), 0.0)  # fmt: skip
    hosts = size / local
    by_tree = payload_B * (2.0 - 1.0 / np.maximum(hosts - 1.0, 1.0)) / (local * links.nic_Bps * eff["nic_ring"])
    by_ring = ring * _ring_network(links, eff, size, members_T, ring_spB_T)
    network = np.where((by_ring > 0) & (links.domain <= 8), np.minimum(by_tree, by_ring), by_ring)
    return np.where(size > 1, join(nvlink, network) + latency_s(eff, size, local), 0.0)


def all_to_all_s(links: Links, eff: Efficiency, size: Floats, members_T: Floats, a2a_spB_T: Floats, sent_B: Floats) -> Floats:
    """Plain all-to-all in which every member sends `sent_B` in total, its own share included: seconds."""
    away = sent_B * (size - 1) / np.maximum(size, 1)
    local = members_T[..., 0]
    inside = away * (local - 1) / np.maximum(size - 1, 1)
    nvlink = inside / (links.nvlink_Bps * eff["nvlink_a2a"])
    network = away * np.max(a2a_spB_T, axis=-1, initial=0.0) / clique_efficiency(links, eff)
    return np.where(size > 1, join(nvlink, network) + 0.5 * latency_s(eff, local, local), 0.0)


def point_to_point_s(links: Links, eff: Efficiency, spB_T: Floats, sent_B: Floats, hop: Floats | float = 0.0) -> Floats:
    """Each rank sends to the next stage. Where no boundary leaves a domain it runs on NVLink: seconds.

    A message that leaves uses the NIC of its GPU, however few others do; where many share an uplink, that decides. A message to
    another rail goes through a GPU there, which passes on `hop` of them; both ways run as a pipeline.
    """
    away = spB_T.max(axis=-1) > 0
    nvlink = sent_B / (links.nvlink_Bps * eff["nvlink_ring"])
    network = sent_B * np.maximum(spB_T.max(axis=-1), 1.0 / links.nic_Bps) / eff["nic_ring"]
    return np.where(away, np.where(np.asarray(hop) > 0, join(hop * nvlink, network), network), nvlink)


def clique_efficiency(links: Links, eff: Efficiency) -> Floats:
    """Share of NIC line rate that an all-to-all reaches, falling with the size of the domain.

    Eight GPUs: DeepEP and NCCL come near line rate (43 to 58 of 50 GB/s on H800, with forwarding). A rack of 72: 24 of 100 GB/s
    (GB300, two racks, busbw 47.7): every GPU has nine times as many remote peers, on rails that are not its own.
    """
    return eff["nic_a2a"] * np.minimum(1.0, 8.0 / links.domain) ** eff["nic_a2a_fanout"]


def latency_s(eff: Efficiency, size: Floats, local: Floats) -> Floats:
    """Start-up and hops of an all-reduce: around the ring twice, plus the domain; half of it for a gather or a scatter.

    The hops of very long rings saturate (trees and PAT take over): no measurement beyond 1,440 GPUs.
    """
    hops = 2.0 * (size - 1) * eff["hop_s"]
    ring = hops / (1.0 + hops / eff["hop_cap_s"])
    return eff["collective_start_s"] + ring + 2.0 * (local - 1) * eff["domain_hop_s"]


def join(nvlink: Floats, network: Floats) -> Floats:
    """Two stages of one pipeline: between the maximum and the sum (power mean of order 3)."""
    return np.asarray(np.cbrt(nvlink**3 + network**3))


def _ring_network(links: Links, eff: Efficiency, size: Floats, members_T: Floats, ring_spB_T: Floats) -> Floats:
    """Seconds per byte of ring payload outside the domain.

    NCCL's rings of one communicator leave a domain through a limited number of NICs (measured: 9 of 72 on GB200, 8 on GB300).
    """
    local = members_T[..., 0]
    own = 1.0 / (np.minimum(local, eff["ring_nics"]) * links.nic_Bps)
    away = size > local
    return np.where(away, np.maximum(ring_spB_T.max(axis=-1), own), 0.0) / eff["nic_ring"]
