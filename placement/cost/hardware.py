# SPDX-License-Identifier: Apache-2.0
# T tier   A axis (AXES order)
"""Facts of a cluster that the cost model needs, and spans of contiguous ranks in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from placement.ir import AXES, Chip, Cluster, Spans, State, Strategy
from placement.ir._array import Floats, freeze


@dataclass(frozen=True)
class Hardware:
    """What a rank runs on. The chip is the slowest of those asked for: a synchronous job waits for it.

    `nic_Bps` per GPU, one direction, planes summed; `domain_gpus` GPUs of an NVLink domain (the largest);
    `latency_T` one message between peers that meet at a tier.
    """

    chip: Chip
    nic_Bps: float
    domain_gpus: int
    gpus_per_node: int
    latency_T: Floats
    num_planes: int = 1
    rails_connected: bool = True

    def __post_init__(self) -> None:
        freeze(self)


def hardware(cluster: Cluster, chip: int | None = None) -> Hardware:
    """Hardware facts of a cluster; of one of its chip types, or of the slowest one in use when `chip` is None."""
    healthy = cluster.state_N == State.OK
    of_chip = healthy if chip is None else healthy & (cluster.chip_N == chip)
    nodes = np.flatnonzero(of_chip if of_chip.any() else np.ones_like(healthy))
    used = np.unique(cluster.chip_N[nodes])
    slowest = min((cluster.chips[int(i)] for i in used), key=_speed)
    domains = np.bincount(cluster.tiers[0].group_N[nodes])
    return Hardware(
        chip=slowest,
        nic_Bps=float(np.median(cluster.nic_Bps_N[nodes])),
        domain_gpus=int(domains.max()) * cluster.gpus_per_node,
        gpus_per_node=cluster.gpus_per_node,
        latency_T=np.array([t.latency_s for t in cluster.tiers]),
        num_planes=cluster.num_planes,
        rails_connected=cluster.rails_connected,
    )


def _speed(chip: Chip) -> tuple[float, float, float, float, str]:
    """Order of chips from the slowest on: an H800 computes like an H100 and has less NVLink."""
    return chip.peak("bf16"), chip.nvlink_Bps, chip.hbm_Bps, chip.hbm_bytes, chip.name


def contiguous_spans(hw: Hardware, strategy: Strategy) -> Spans:
    """Spans of ranks laid on GPUs in order, on full NVLink domains below one flat network: shape (A, 2).

    A communicator of n members at stride s has clip(domain // s, 1, n) of them in a domain; where it is larger than that,
    one ring edge a communicator leaves, and (n - m) / (n - 1) of all-to-all bytes do.
    """
    n_A = np.array([strategy.size(a) for a in AXES], dtype=float)
    stride_A = np.array([strategy.stride(a) for a in AXES])
    members_A = np.clip(hw.domain_gpus // stride_A, 1, n_A)
    leaves_A = members_A < n_A
    ring_A = np.where(leaves_A, 1.0 / members_A, 0.0) / hw.nic_Bps
    clique_A = np.where(leaves_A, (n_A - members_A) / np.maximum(n_A - 1, 1), 0.0) / hw.nic_Bps
    none_A = np.zeros_like(ring_A)
    return Spans(np.stack([members_A, n_A], -1), np.stack([ring_A, none_A], -1), np.stack([clique_A, none_A], -1))
