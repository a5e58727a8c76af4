# SPDX-License-Identifier: Apache-2.0
# N node   J domain
"""A cluster that nobody described: as many GPUs as a published run had, in order, on full NVLink domains."""

from __future__ import annotations

import numpy as np

from placement.ir import Chip, Cluster, FabricDesign, State, Tier

NVLINK_LATENCY_S, NETWORK_LATENCY_S = 1.0e-6, 4.0e-6  # RDMA and NVLink latencies of public test logs (OCI GB300)


def synthetic_cluster(chip: Chip, num_gpus: int, domain: int, nic_Bps: float) -> Cluster:
    """GPUs in order, in full NVLink domains of `domain`, joined by one flat network."""
    per_node = next(
        n for n in (8 if domain <= 8 else 4, 4, 2, 1) if num_gpus % n == 0 and (domain % n == 0 or num_gpus <= domain)
    )
    nodes = num_gpus // per_node
    group_N = np.arange(nodes) // max(1, domain // per_node)
    size_J = np.bincount(group_N) * per_node
    ones, zeros = np.ones(nodes), np.zeros(nodes, dtype=np.int64)
    tiers = (
        Tier("nvlink", NVLINK_LATENCY_S, group_N, np.asarray(size_J * nic_Bps, float)),
        Tier("network", NETWORK_LATENCY_S, zeros, np.array([np.inf])),
    )
    return Cluster(
        name=f"{num_gpus} x {chip.name}", chips=(chip,), gpus_per_node=per_node, tiers=tiers, chip_N=zeros,
        state_N=np.full(nodes, State.OK), gpu_ok_NG=np.ones((nodes, per_node), dtype=bool), nic_Bps_N=nic_Bps * ones,
        speed_N=ones, host_N=np.char.add("node", np.char.zfill(np.arange(nodes).astype(str), 6)),
        domain_name_J=np.char.add("domain", np.arange(len(size_J)).astype(str)), rail_G=np.arange(per_node), num_planes=1,
        rails_connected=True, design=FabricDesign({}, {}),
    )  # fmt: skip
